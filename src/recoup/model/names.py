"""Names of backup sets and of the things inside them, checked at both doors (written and read).

A name that comes from a manifest, an archive or a person is never trusted: `checked_relative` is the one gate through which
it has to pass before it becomes part of a path.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from recoup.errors import UnsafePathError

SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z", re.IGNORECASE)
"""What a source may be called: it becomes a folder name on every platform and never contains a dot."""

_SET_NAME = re.compile(
    r"backup_([0-9]{4})([0-9]{2})([0-9]{2})_([0-9]{2})([0-9]{2})([0-9]{2})(?:_([2-9]|[1-9][0-9]{1,5}))?\Z"
)
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that no undecodable byte is escaped to."""


@dataclass(frozen=True, order=True)
class SetName:
    """The name of a backup set: `backup_<YYYYMMDD_HHMMSS>` in UTC, with `_2`, `_3` ... for more within one second.

    Attributes:
        time: when the set was begun, UTC, whole seconds.
        ordinal: 1 for the first set of that second, then 2, 3 ...
    """

    time: datetime
    ordinal: int = 1

    def __str__(self) -> str:
        t = self.time if self.time.tzinfo is UTC else self.time.astimezone(UTC)
        suffix = "" if self.ordinal == 1 else f"_{self.ordinal}"
        # by hand: strftime takes longer than reading the manifest
        return f"backup_{t.year:04}{t.month:02}{t.day:02}_{t.hour:02}{t.minute:02}{t.second:02}{suffix}"

    def next(self) -> "SetName":
        """The name to try when this one is taken."""
        return SetName(self.time, self.ordinal + 1)

    @classmethod
    def at(cls, moment: datetime) -> "SetName":
        """The first name of the second in which `moment` lies."""
        return cls(moment.astimezone(UTC).replace(microsecond=0))

    @staticmethod
    def parse(text: str) -> "SetName | None":
        """The name that `text` spells exactly, or None."""
        return _parsed(text)


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> SetName | None:
    found = _SET_NAME.fullmatch(text)
    if not found:
        return None
    try:
        year, month, day, hour, minute, second = map(int, found.groups()[:6])
        time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return SetName(time, int(found[7] or 1))


def checked_relative(name: str) -> str:
    """Returns `name` when it is a safe relative POSIX path; the door for every name that was read from somewhere.

    Args:
        name: path with `/` between components, as stored in a manifest. Bytes that are not UTF-8 are surrogate-escaped.

    Raises:
        UnsafePathError: absolute, empty, with NUL, no text that a file name could be, or with an empty, `.` or `..` component.
    """
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnsafePathError(f"unsafe name {shown(name)!r}: it has a lone surrogate") from None
    if not name or "\0" in name or name.startswith("/"):
        raise UnsafePathError(f"unsafe name {shown(name)!r}: not a relative path")
    for component in name.split("/"):
        if component in ("", ".", ".."):
            raise UnsafePathError(f"unsafe name {shown(name)!r}: it has the component {component!r}")
    return name


def shown(name: str) -> str:
    """`name` fit for a terminal or a log: bytes that are not UTF-8 and control characters are replaced."""
    if name.isascii() and name.isprintable():
        return name
    text = name.encode("utf-8", "surrogatepass" if _LONE.search(name) else "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
