"""Makes the collections of a small operations assistant: the same on every run.

Usage: python make_data.py [COLLECTION...]     (default: both)

They go to the Qdrant server at QDRANT_URL (default http://127.0.0.1:6333).
"""

import hashlib
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import closing

from qdrant_client import QdrantClient, models

DIMENSIONS = 32
SERVICES = ("ec2", "s3", "rds", "lambda", "iam", "vpc", "eks", "sqs")
QUESTIONS = (
    "which {} resources are idle",
    "why did {} cost more this month",
    "who may delete {} resources",
    "is {} encrypted at rest",
    "what changed in {} since yesterday",
)


def main() -> None:
    """Makes the collections that the command line names; what was there under these names is made anew."""
    url, key = os.environ.get("QDRANT_URL", "http://127.0.0.1:6333"), os.environ.get("QDRANT_API_KEY") or None
    with closing(QdrantClient(url=url, api_key=key, timeout=60, check_compatibility=False)) as client:
        for name in sys.argv[1:] or list(TEXTS):
            make(client, name, TEXTS[name])
    print(f"collections made at {url}")


def chat_history() -> list[tuple[str, dict[str, str]]]:
    """Messages: what is near them is searched by vector; the text itself is sealed by the application."""
    return [
        (text, {"role": ("user", "assistant")[number % 2], "sealed": hashlib.sha256(text.encode()).hexdigest()})
        for number, text in enumerate(_messages())
    ]


def _messages() -> Iterator[str]:
    for day in range(10):
        for service in SERVICES:
            for question in QUESTIONS:
                yield f"day {day}: {question.format(service)}"


def aws_estate() -> list[tuple[str, dict[str, str]]]:
    """Resources of an account."""
    return [
        (f"{service} resource {number} in us-west-2", {"service": service, "id": f"{service}-{number:04}"})
        for service in SERVICES
        for number in range(30)
    ]


TEXTS = {"chat_history": chat_history(), "aws_estate": aws_estate()}
"""Collection to its texts and payloads."""


def make(client: QdrantClient, name: str, texts: list[tuple[str, dict[str, str]]]) -> None:
    """Makes one collection."""
    for alias in client.get_aliases().aliases:
        if alias.alias_name == name:
            client.delete_collection(alias.collection_name)
    client.delete_collection(name)
    client.create_collection(name, vectors_config=models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE))
    points = [
        models.PointStruct(id=number, vector=vector(text), payload=payload)
        for number, (text, payload) in enumerate(texts)
    ]
    client.upsert(name, points)


def vector(text: str) -> list[float]:
    """Counts of hashed pairs of letters: texts that share words are near each other."""
    counts = [0.0] * DIMENSIONS
    for first, second in itertools.pairwise(text):
        counts[(ord(first) * 31 + ord(second)) % DIMENSIONS] += 1.0
    return counts


if __name__ == "__main__":
    main()
