"""Sizes, ages and counts for people."""

import re

from recoup.errors import UsageError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)([KMGT]?)(i?B)?", re.IGNORECASE)


def size(count: float | None) -> str:
    """Bytes for people: `1.2 GiB`."""
    if count is None:
        return "?"
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def age(seconds: float | None) -> str:
    """A length of time for people: `2 h ago`."""
    if seconds is None:
        return "never"
    if seconds < 0:
        return "in the future"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def duration(seconds: float) -> str:
    """A length of time: `3.2 s`, `4 min 10 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def span(seconds: float) -> str:
    """A length of time up to weeks: `3.2 s`, `4 min 10 s`, `26 h 10 min`."""
    if seconds < 3600:
        return duration(seconds)
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, noun: str) -> str:
    """`1 set`, `2 sets`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def bytes_of(text: str, option: str) -> int:
    """A size that a person typed. As with GNU's tools, `20G` and `20GiB` are binary, and `20GB` is decimal.

    Args:
        text: a number, and a unit of K, M, G or T.
        option: what it was given to, for the error.

    Raises:
        UsageError: it is no size, or nothing.
    """
    found = _SIZE.fullmatch(text.strip())
    base = 1000 if found and (found[3] or "").upper() == "B" else 1024
    size = int(float(found[1]) * base ** ("KMGT".index(found[2].upper()) + 1 if found[2] else 0)) if found else 0
    if not size:
        raise UsageError(f"{option} {text!r} is no size", "Write a number with a unit, as in 20G or 500MB.")
    return size
