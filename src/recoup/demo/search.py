"""What the demo's application does all day: a question goes in, the nearest documents come out."""

import contextlib
from pathlib import Path

from recoup.demo.embedding import Embedder
from recoup.demo.stack import COLLECTION, DOCUMENTS, VECTORS
from recoup.model.structs import Struct

QUESTION = "How do I read a compressed archive file?"
"""The question that the demo asks before the damage, after it, and after the restore."""


class Answer(Struct):
    """One hit.

    Attributes:
        title: the document's title, as kept with its vector.
        score: cosine similarity to the question, four decimals.
        text: first line of the document; None when the text is lost.
    """

    title: str
    score: float
    text: str | None


class Answers(Struct):
    """What a search showed.

    Attributes:
        hits: best first.
        problem: what the application would see as its error; empty when all texts were found.
    """

    hits: tuple[Answer, ...]
    problem: str = ""


def ask(folder: Path, embedder: Embedder, question: str = QUESTION, limit: int = 3) -> Answers:
    """The documents nearest to `question`: vectors from Qdrant, texts from DuckDB.

    Args:
        folder: the stack's.
        embedder: the one that made the vectors.
        question: in plain words.
        limit: how many answers.
    """
    nearest = _nearest(folder / VECTORS, embedder, question, limit)
    texts, problem = _texts(folder / DOCUMENTS, [number for number, _, _ in nearest])
    hits = tuple(Answer(title, round(score, 4), texts.get(number)) for number, title, score in nearest)
    return Answers(hits, problem or ("" if hits else "nothing found"))


def _nearest(folder: Path, embedder: Embedder, question: str, limit: int) -> list[tuple[int, str, float]]:
    from qdrant_client import QdrantClient

    vector = embedder.embed([question])[0].tolist()
    with contextlib.closing(QdrantClient(path=str(folder))) as client:
        points = client.query_points(COLLECTION, query=vector, limit=limit).points
    return [(int(p.id), str(p.payload["title"]), float(p.score)) for p in points]


def _texts(path: Path, ids: list[int]) -> tuple[dict[int, str], str]:
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        try:
            rows = connection.execute(
                "SELECT id, text FROM documents WHERE id IN (SELECT unnest($1))", [ids]
            ).fetchall()
        except duckdb.CatalogException as error:
            return {}, str(error).partition("\n")[0]
    return {number: text.partition("\n")[0] for number, text in rows}, ""
