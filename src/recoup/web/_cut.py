"""The cut of a set as a picture: when each source stood still. Pure."""

from datetime import datetime, timedelta

from recoup.model.manifest import Manifest
from recoup.model.structs import Struct

WIDTH = 1000.0
"""Units of the picture's time axis."""

_SHORTEST = timedelta(milliseconds=1)  # of the axis: sources that froze at once stand at its begin
_MARK = 6.0  # units that an interval has at least, to be seen


class Freeze(Struct):
    """When a source stood still.

    Attributes:
        source: its name.
        first: the moment, or the begin of the interval in which it was read (UTC).
        seconds: from the cut's begin to `first`.
        lasted: seconds; 0 for a moment.
        x: where it is on the axis, 0 to `WIDTH`.
        width: units on the axis; 0 for a moment.
    """

    source: str
    first: datetime
    seconds: float
    lasted: float
    x: float
    width: float

    @property
    def is_moment(self) -> bool:
        """False when it was read over an interval."""
        return not self.width


class Cut(Struct):
    """The picture.

    Attributes:
        rows: one for each source that was frozen, the earliest first.
        never: sources that were not: they failed or are absent.
        seconds: what the axis stands for.
        spread_ms: milliseconds between the first and the last moment; None without any.
    """

    rows: tuple[Freeze, ...]
    never: tuple[str, ...]
    seconds: float
    spread_ms: int | None

    @property
    def moments(self) -> tuple[Freeze, ...]:
        """Those that were frozen at a moment."""
        return tuple(row for row in self.rows if row.is_moment)

    @property
    def intervals(self) -> tuple[Freeze, ...]:
        """Those that were read over an interval: they are no part of a cut at one moment."""
        return tuple(row for row in self.rows if not row.is_moment)


def cut_of(manifest: Manifest) -> Cut:
    """The cut that a manifest tells of."""
    frozen = {name: record.frozen for name, record in manifest.sources.items() if record.frozen}
    never = tuple(name for name in manifest.sources if name not in frozen)
    if not frozen:
        return Cut((), never, 0.0, None)
    begin = min(one.first for one in frozen.values())
    length = max(max(one.last for one in frozen.values()) - begin, _SHORTEST)
    rows = (_row(name, one.first, one.last, begin, length) for name, one in frozen.items())
    ordered = tuple(sorted(rows, key=lambda row: (row.seconds, row.source)))
    return Cut(ordered, never, length.total_seconds(), manifest.spread_ms)


def _row(source: str, first: datetime, last: datetime, begin: datetime, length: timedelta) -> Freeze:
    x = WIDTH * ((first - begin) / length)
    width = 0.0 if first == last else max(_MARK, WIDTH * ((last - first) / length))
    x = min(x, WIDTH - width)
    return Freeze(
        source, first, (first - begin).total_seconds(), (last - first).total_seconds(), round(x, 2), round(width, 2)
    )


def offset(seconds: float) -> str:
    """A time behind the cut's begin: `+0 ms`, `+12 ms`, `+3.2 s`."""
    return f"+{seconds * 1000:.0f} ms" if seconds < 1 else f"+{seconds:,.1f} s"
