"""Points of a set's Qdrant collections, as a command beside the server prints them. Qdrant's engine never runs in the server."""

import json
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from recoup.errors import DamagedError, ExitCode, LockedError, RecoupError, UsageError
from recoup.model.manifest import Manifest
from recoup.model.structs import Struct
from recoup.system.subprocesses import Printing

ROWS = 50
"""Points on a page."""

PATIENCE = 60.0
"""Seconds that a look at points may take."""

DOWNLOAD_PATIENCE = 4 * 3600.0
"""Seconds that a download of all points of a collection may take."""

_KIND = "qdrant"
_SUBJECT = "collection "
_BLOCK = 256 * 1024
_KINDS: Mapping[int, type[RecoupError]] = {
    ExitCode.USAGE: UsageError,
    ExitCode.DAMAGED: DamagedError,
    ExitCode.LOCKED: LockedError,
}
_ONE = threading.BoundedSemaphore(1)


class Collection(Struct):
    """A collection of a set.

    Attributes:
        source: whose.
        name: its name.
        points: how many were counted at the backup; None where that is not recorded.
    """

    source: str
    name: str
    points: int | None


class Look(Struct):
    """Points that were found.

    Attributes:
        points: `id`, `payload`, in the order of their ids.
        next: how many points lie before the next page; None when all were looked at.
        looked_at: how many points were looked at for this page.
        ran_out: whether the time was over before all were looked at, and nothing is known of the rest.
    """

    points: tuple[dict[str, Any], ...]
    next: int | None
    looked_at: int
    ran_out: bool


def collections(manifest: Manifest) -> tuple[Collection, ...]:
    """The collections of a set that can be opened without a server."""
    found = []
    for source, record in manifest.sources.items():
        if record.kind == _KIND and record.parts and record.facts:
            for subject, values in record.facts.values.items():
                if subject.startswith(_SUBJECT):
                    points = values.get("points")
                    count = points if isinstance(points, int) else None
                    found.append(Collection(source, subject.removeprefix(_SUBJECT), count))
    return tuple(found)


def look(command: Sequence[str], text: str, begin: int, *, by_id: bool = False) -> Look:
    """The points of a page.

    Args:
        command: prints points as JSON lines.
        by_id: whether it asks for points by their ids, and fails quietly when one is not there.
        text: only points with a payload that has it, in whatever case; all with an empty one.
        begin: points that lie before this page.

    Raises:
        LockedError: somebody else looks at points now.
        RecoupError: they cannot be read.
    """
    with _alone(), _printing(command, PATIENCE) as program:
        found: list[dict[str, Any]] = []
        looked_at = 0
        for point in islice(_points(program), begin, None):
            if len(found) == ROWS:
                return Look(tuple(found), begin + looked_at, looked_at, ran_out=False)
            looked_at += 1
            if has_text(point, text):
                found.append(point)
        _demand_end(program, (0, 1) if by_id else (0,), may_run_out=True)
        return Look(tuple(found), None, looked_at, program.ran_out)


def lines(command: Sequence[str]) -> Generator[bytes]:
    """All points, a JSON object a line, in blocks.

    Args:
        command: prints points as JSON lines.

    Raises:
        RecoupError: they cannot be read to the end; what came before is not all.
    """
    with _printing(command, DOWNLOAD_PATIENCE) as program:
        block = bytearray()
        for point in _points(program):
            block += json.dumps(point, ensure_ascii=True).encode() + b"\n"
            if len(block) >= _BLOCK:
                yield bytes(block)
                block.clear()
        _demand_end(program, (0,), may_run_out=False)
        yield bytes(block)


def has_text(point: dict[str, Any], text: str) -> bool:
    """Whether a value of a point's payload has a text in it, in whatever case; True for an empty one."""
    wanted = text.casefold()
    return not wanted or any(wanted in one.casefold() for one in _texts(point.get("payload")))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif value is not None:
        yield str(value)


def _points(program: Printing) -> Iterator[dict[str, Any]]:
    """What a command prints, point by point.

    Raises:
        RecoupError: it told an error.
    """
    for line in program.lines():
        record = json.loads(line)
        if record.pop("type", "") == "error":
            kind = _KINDS.get(record.get("exit_code", 1), RecoupError)
            raise kind(str(record.get("message", "")), str(record.get("hint", "")))
        yield record


def _demand_end(program: Printing, codes: Sequence[int], *, may_run_out: bool) -> None:
    """Demands that a command printed all that it was to print.

    Raises:
        DamagedError: it ended otherwise.
    """
    if program.code() not in codes and not (program.ran_out and may_run_out):
        raise DamagedError(
            "the points could not be read to their end", "`recoup verify SET` says whether it is damaged."
        )


@contextmanager
def _printing(command: Sequence[str], patience: float) -> Iterator[Printing]:
    program = Printing(command, patience)
    try:
        yield program
    finally:
        program.close()


@contextmanager
def _alone() -> Iterator[None]:
    """One look at a time: the engine takes much memory."""
    if not _ONE.acquire(timeout=PATIENCE):
        raise LockedError("somebody else looks at points now", "Try again in a while.")
    try:
        yield
    finally:
        _ONE.release()
