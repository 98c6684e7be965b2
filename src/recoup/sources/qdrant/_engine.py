"""Qdrant's own engine, qdrant-edge, in a child process: opens unpacked shards and answers questions about them.

A damaged file can abort the process (a flipped byte in an id mapping asks for 100 GB), and an honest one may be larger than we
have room for. Neither must be our end. The engine writes into what it loads, so shards are always unpacked copies.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any

from recoup.errors import UsageError
from recoup.sources.qdrant._sampling import describe, surveyed
from recoup.sources.qdrant._shards import Shards

_VERBS: Mapping[str, Callable[..., Any]] = {
    "open": Shards.open,
    "count": Shards.count,
    "scroll": Shards.scroll,
    "get": Shards.get,
    "search": Shards.search,
    "survey": surveyed,
    "describe": describe,
    "close": Shards.close,
}


def serve() -> Generator[dict[str, Any], dict[str, Any], None]:
    """Answers questions `{"ask": verb, ...}` with `{"answer": ...}`, or `{"refused": message, "hint": ...}` to a wrong one."""
    import qdrant_edge  # noqa: F401 - before the first question, so that its time is not the question's

    shards = Shards()
    answer: dict[str, Any] = {"answer": None}
    while True:
        question = yield answer
        verb: Callable[..., Any] = _VERBS[question.pop("ask")]
        try:
            answer = {"answer": verb(shards, **question)}
        except UsageError as error:
            answer = {"refused": error.message, "hint": error.hint}
