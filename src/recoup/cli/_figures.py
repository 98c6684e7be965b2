"""Sizes, ages and counts for people."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


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


def counted(count: int, noun: str) -> str:
    """`1 set`, `2 sets`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
