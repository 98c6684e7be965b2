"""Makes the collections of a small vector server, and its configuration folder: the same on every run.

Usage: python make_data.py [COLLECTION...]     (default: all of them)

They go to the Qdrant server at QDRANT_URL (default http://127.0.0.1:6333), its configuration to `config` beside this script.
"""

import math
import os
import sys
from contextlib import closing
from pathlib import Path

from qdrant_client import QdrantClient, models

COLLECTIONS = {"mixtral_embeddings": 64, "minilm_general": 24, "e5_multilingual": 32, "scratch_test": 8}
"""Name to dimensions."""

POINTS = 150  # of each collection

PRODUCTION = """\
# Qdrant's own settings. The key is made up.
storage:
  storage_path: /opt/qdrant/storage
  snapshots_path: /opt/qdrant/snapshots
service:
  host: 127.0.0.1
  api_key: made-up-qdrant-key-5b2e
"""


def main() -> None:
    """Makes the collections that the command line names; what was there under these names is made anew."""
    names = sys.argv[1:] or list(COLLECTIONS)
    url, key = os.environ.get("QDRANT_URL", "http://127.0.0.1:6333"), os.environ.get("QDRANT_API_KEY") or None
    with closing(QdrantClient(url=url, api_key=key, timeout=60, check_compatibility=False)) as client:
        for name in names:
            make(client, name, COLLECTIONS.get(name, 16))
    make_config(Path(__file__).parent / "config")
    print(f"{len(names)} collections of {POINTS} points made at {url}")


def make(client: QdrantClient, name: str, dimensions: int) -> None:
    """Makes one collection with a payload index."""
    client.delete_collection(name)
    client.create_collection(name, vectors_config=models.VectorParams(size=dimensions, distance=models.Distance.COSINE))
    client.create_payload_index(name, "kind", models.PayloadSchemaType.KEYWORD)
    client.upsert(
        name,
        [
            models.PointStruct(
                id=number, vector=vector(number, dimensions), payload={"kind": "ab"[number % 2], "number": number}
            )
            for number in range(POINTS)
        ],
    )


def vector(number: int, dimensions: int) -> list[float]:
    """Made up, the same on every run, and no two alike."""
    return [math.sin((number + 1) * (place + 1) * 0.7) for place in range(dimensions)]


def make_config(folder: Path) -> None:
    """Qdrant's configuration, which only its owner reads: a key stands in it."""
    folder.mkdir(exist_ok=True)
    file = folder / "production.yaml"
    file.touch(0o600)
    file.write_text(PRODUCTION)


if __name__ == "__main__":
    main()
