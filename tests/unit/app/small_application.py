"""A small application of two sources, of which several files of tests make their stacks."""

from pathlib import Path

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
