"""A small application of two sources, of which several files of tests make their stacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import recoup

Opened = Callable[..., recoup.Stack]

SOURCES = """
version: 1
stack: small
sources:
  chat: {kind: files, path: data/chat.db}
  uploads: {kind: files, path: data/uploads}
repositories:
"""


def made(folder: Path, config: str) -> Path:
    """The application's folder, with `recoup.yaml`.

    Args:
        folder: there, and empty.
        config: what is in it: `SOURCES` and lines for the repositories.
    """
    (folder / "data/uploads").mkdir(parents=True)
    (folder / "data/uploads/note").write_text("note " * 100)
    (folder / "data/chat.db").write_text("hello " * 20)
    (folder / "recoup.yaml").write_text(config)
    return folder


def opening(root: Path, news: list[Any]) -> Opened:
    """What opens its stack, with all repositories or one of them.

    Args:
        root: its folder.
        news: gets what is told.
    """

    def opened(repository: str | None = None) -> recoup.Stack:
        return recoup.open(root / "recoup.yaml", environ={}, cwd=root, repository=repository, emit=news.append)

    return opened
