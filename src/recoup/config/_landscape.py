"""What lies in a folder and below it, as far as one can see in a moment."""

import json
import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_DEEPEST = 5  # folders below the first
_MOST_ENTRIES = 20_000

_PASSED_BY = {"node_modules", "__pycache__", "site-packages", "venv", "env", "dist", "build", "target", "lost+found"}
_MARKS_OF_OTHERS = {"pyvenv.cfg", "recoup-repository.json"}
"""Files that say that a folder is not the stack's own data: a virtual environment, a repository of ours."""

_LARGEST_META = 16 * 1024 * 1024  # bytes


@dataclass
class Landscape:
    """What a look around saw. Paths are relative to the folder; links are not followed.

    Attributes:
        files: regular files, sorted.
        folders: folders that were entered, with the names of what is in them.
        complete: False when there was more than was looked at.
        unread: folders that could not be read.
    """

    files: list[PurePosixPath] = field(default_factory=list)
    folders: dict[PurePosixPath, frozenset[str]] = field(default_factory=dict)
    complete: bool = True
    unread: list[PurePosixPath] = field(default_factory=list)

    def below(self, folder: PurePosixPath) -> list[PurePosixPath]:
        """The regular files inside a folder, at any depth."""
        return [file for file in self.files if file.is_relative_to(folder)]


def look(folder: Path) -> Landscape:
    """Looks around: at most five levels deep and at 20,000 entries, past hidden folders and what programs install."""
    seen = Landscape()
    waiting = deque([PurePosixPath()])
    left = _MOST_ENTRIES
    while waiting and left > 0:
        here = waiting.popleft()
        try:
            with os.scandir(folder / here) as entries:
                listed = sorted(
                    (entry for entry, _ in zip(entries, range(left), strict=False)), key=lambda entry: entry.name
                )
        except OSError:
            seen.unread.append(here)
            continue
        left -= len(listed)
        _take(seen, waiting, here, listed)
    seen.complete = seen.complete and left > 0
    seen.files.sort()
    return seen


def _take(
    seen: Landscape, waiting: deque[PurePosixPath], here: PurePosixPath, listed: "list[os.DirEntry[str]]"
) -> None:
    names = frozenset(entry.name for entry in listed)
    if here.parts and names & _MARKS_OF_OTHERS:
        return
    seen.folders[here] = names
    for entry in listed:
        if not _is_text(entry.name):
            continue  # YAML cannot say a name that is not UTF-8; the folder around it can be named
        if entry.is_dir(follow_symlinks=False):
            if not (entry.name.startswith((".", "restored_backup_")) or entry.name in _PASSED_BY):
                if len(here.parts) < _DEEPEST:
                    waiting.append(here / entry.name)
                else:
                    seen.complete = False
        elif entry.is_file(follow_symlinks=False):
            seen.files.append(here / entry.name)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def kind_of(file: Path) -> str:
    """`sqlite` or `duckdb` by a file's first bytes, else empty.

    SQLite: the first 16 bytes (https://sqlite.org/fileformat.html#magic_header_string). DuckDB: `DUCK` after an eight-byte
    checksum (https://duckdb.org/docs/stable/internals/storage). Never asked inside an application that has the file open:
    closing it would drop the engine's locks.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(16)
    except OSError:
        return ""
    if start == b"SQLite format 3\0":
        return "sqlite"
    return "duckdb" if start[8:12] == b"DUCK" else ""


def is_qdrant_local(folder: Path) -> bool:
    """Whether it is the folder of `QdrantClient(path=...)`: a `meta.json` that lists collections and aliases."""
    meta = folder / "meta.json"
    try:
        if meta.stat().st_size > _LARGEST_META:
            return False
        content = json.loads(meta.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"collections", "aliases"} <= content.keys()
