"""What a job wrote, as records: JSON lines of a file that may still grow, and that is read piece by piece."""

import json
import os
from pathlib import Path
from typing import Any, NoReturn

from recoup.model.structs import Struct

PIECE = 1024 * 1024
"""Bytes that are read at most at a time."""

_TEXT = "text"


class News(Struct):
    """A piece of what a job told.

    Attributes:
        records: JSON objects as `--log-json --log-progress` writes them, in order. A line that is none is
            `{"event": "text", "message": ...}`.
        end: offset in bytes to read on from.
    """

    records: tuple[dict[str, Any], ...]
    end: int


def read(file: Path, after: int, *, ended: bool) -> News:
    """What a file has behind an offset, at most `PIECE` bytes of it.

    Args:
        file: it need not be there yet.
        after: bytes.
        ended: nothing is added to it any more, so that its last line is whole without a line feed, too.
    """
    after = max(after, 0)
    try:
        with file.open("rb") as opened:
            if after >= os.fstat(opened.fileno()).st_size:  # an offset may come from a browser
                return News((), after)
            opened.seek(after)
            data = opened.read(PIECE)
    except FileNotFoundError:
        return News((), after)
    return parsed(data, after, ended=ended)


def parsed(data: bytes, after: int, *, ended: bool, piece: int = PIECE) -> News:
    """Bytes of a file as records, as far as they are whole lines.

    Args:
        data: at most `piece` bytes.
        after: offset at which they begin.
        ended: fewer than `piece` bytes are all that will ever be.
        piece: how many are read at a time.
    """
    full = len(data) >= piece
    whole = len(data) if ended and not full else data.rfind(b"\n") + 1
    if full and not whole:
        return News((_text(f"A line of more than {piece:,} bytes is not shown."),), after + len(data))
    records = tuple(_record(line) for line in data[:whole].split(b"\n") if line.strip())
    return News(records, after + whole)


def _record(line: bytes) -> dict[str, Any]:
    found = object_of(line)
    if found is None or not isinstance(found.get("event"), str):
        return _text(line.decode(errors="replace").rstrip("\r"))
    return found


def _text(message: str) -> dict[str, Any]:
    return {"event": _TEXT, "message": message}


def object_of(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, or None where it is no such, or none that could be written as JSON in UTF-8 again."""
    try:
        found = json.loads(line, parse_constant=_refuse)
        if b"\\u" in line:  # half of a surrogate pair may be escaped: that is no text
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
