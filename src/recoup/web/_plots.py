"""Plots as SVG: drawn here, so that a page needs no script for them. Each has the same as a text and as a table, too."""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from typing import Literal

from markupsafe import Markup, escape

from recoup.model.structs import Struct
from recoup.system.clock import local_zone
from recoup.web._history import Point

Kind = Literal["line", "bars", "dots"]

WIDTH, HEIGHT = 380, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 10, 12, 26
_TICKS = 3


class Plot(Struct):
    """A plot, and what it shows in words.

    Attributes:
        title: what is shown.
        summary: the same in a sentence, for those who do not see it.
        rows: what is drawn as text, the newest first: the day and the value.
        svg: the drawing; texts in it are escaped.
    """

    title: str
    summary: str
    rows: tuple[tuple[str, str], ...]
    svg: Markup


class _Words(Struct):
    """How values and moments are told."""

    spell: Callable[[float], str]
    zone: tzinfo

    def day(self, point: Point) -> str:
        """The day of a point."""
        return f"{point.at.astimezone(self.zone):%Y-%m-%d}"


def plot(
    name: str,
    title: str,
    kind: Kind,
    points: Sequence[Point],
    spell: Callable[[float], str],
    unit: float = 1000.0,
) -> Plot:
    """Draws points over time.

    Args:
        name: of the drawing on its page: letters and `-`.
        title: what is shown.
        kind: `line` for what is always there, `bars` for what belongs to a stretch of time, `dots` for what was measured now
            and then.
        points: at least one, the oldest first.
        spell: a value for people.
        unit: values are rounded to even multiples of its powers: 1024 for bytes.
    """
    scale, words = _Scale.of(points, unit), _Words(spell, local_zone())
    summary = _summary(points, words)
    drawn = Markup("").join((*_axes(scale, points, words), *_DRAWERS[kind](scale, points, words)))
    head = Markup('<title id="{0}-title">{1}</title><desc id="{0}-text">{2}</desc>').format(name, title, summary)
    svg = Markup(
        '<svg class="plot" role="img" viewBox="0 0 {0} {1}" aria-labelledby="{2}-title {2}-text">{3}{4}</svg>'
    ).format(WIDTH, HEIGHT, name, head, drawn)
    rows = tuple((words.day(point), spell(point.value)) for point in reversed(points))
    return Plot(title, summary, rows, svg)


def _summary(points: Sequence[Point], words: _Words) -> str:
    spell, day = words.spell, words.day
    first, last = points[0], points[-1]
    low, high = min(p.value for p in points), max(p.value for p in points)
    if len(points) == 1:
        return f"{spell(first.value)} on {day(first)}."
    begin = "" if day(first) == day(last) else f" on {day(first)}"
    return (
        f"From {spell(first.value)}{begin} to {spell(last.value)} on {day(last)}; "
        f"at least {spell(low)}, at most {spell(high)}."
    )


class _Scale(Struct):
    """From times and values to places in the drawing.

    Attributes:
        begin: seconds since the epoch, at the left end.
        span: seconds from there to the right end.
        ticks: values that get a line, the lowest and the highest of the drawing among them.
    """

    begin: float
    span: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, points: Sequence[Point], unit: float) -> "_Scale":
        """One on which all points have a place, and so has nothing at all."""
        begin, end = points[0].at.timestamp(), points[-1].at.timestamp()
        low, high = min(0.0, *(p.value for p in points)), max(0.0, *(p.value for p in points))
        step = _even((high - low) / _TICKS or 1.0, unit)
        first, last = math.floor(low / step), math.ceil(high / step)
        return cls(begin, end - begin, tuple(step * n for n in range(first, max(last, first + 1) + 1)))

    def x(self, point: Point) -> float:
        """Where a point is from the left; in the middle where there is only one moment."""
        share = (point.at.timestamp() - self.begin) / self.span if self.span > 0 else 0.5
        return _LEFT + 6 + share * (WIDTH - _LEFT - _RIGHT - 12)

    def y(self, value: float) -> float:
        """Where a value is from the top."""
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _even(raw: float, unit: float) -> float:
    """The next 1, 2 or 5 times a power of ten, of a unit's power, that is not below `raw`."""
    power = unit ** math.floor(math.log(raw, unit)) if raw >= unit else 1.0
    scaled = raw / power
    ten: float = 10.0 ** math.floor(math.log10(scaled))
    found = ten * next(factor for factor in (1, 2, 5, 10) if factor * ten >= scaled * (1 - 1e-9))
    return power * (unit if found > unit / 2 else found)


def _axes(scale: _Scale, points: Sequence[Point], words: _Words) -> Iterator[Markup]:
    for value in scale.ticks:
        y = _number(scale.y(value))
        kind = "zero" if value == 0 else "tick"
        yield Markup('<line class="{0}" x1="{1}" x2="{2}" y1="{3}" y2="{3}"/>').format(kind, _LEFT, WIDTH - _RIGHT, y)
        yield _text(_LEFT - 6, scale.y(value) + 4, "end", _short(words.spell(value)))
    yield _text(_LEFT, HEIGHT - 8, "start", words.day(points[0]))
    if words.day(points[-1]) != words.day(points[0]):
        yield _text(WIDTH - _RIGHT, HEIGHT - 8, "end", words.day(points[-1]))


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" font-size="12">{}</text>').format(
        _number(x), _number(y), anchor, escape(text)
    )


def _short(text: str) -> str:
    return text.replace(".0 ", " ")


def _line(scale: _Scale, points: Sequence[Point], words: _Words) -> Iterator[Markup]:
    if len(points) == 1:
        yield from _dots(scale, points, words)
        return
    places = " ".join(f"{_number(scale.x(p))},{_number(scale.y(p.value))}" for p in points)
    yield Markup('<polyline class="line" points="{}"/>').format(places)
    yield from _dots(scale, points[-1:], words)


def _bars(scale: _Scale, points: Sequence[Point], words: _Words) -> Iterator[Markup]:
    width = max(1.5, min(18.0, (WIDTH - _LEFT - _RIGHT) / len(points) * 0.7))
    zero = scale.y(0)
    for point in points:
        top, bottom = sorted((scale.y(point.value), zero))
        x = min(max(scale.x(point) - width / 2, _LEFT), WIDTH - _RIGHT - width)
        kind = "less" if point.value < 0 else "more"
        size = (_number(x), _number(top), _number(width), _number(max(0.75, bottom - top)))
        yield Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}">{}</rect>').format(
            kind, *size, _tip(point, words)
        )


def _dots(scale: _Scale, points: Sequence[Point], words: _Words) -> Iterator[Markup]:
    for point in points:
        x, y = _number(scale.x(point)), _number(scale.y(point.value))
        yield Markup('<circle class="dot" cx="{}" cy="{}" r="3.5">{}</circle>').format(x, y, _tip(point, words))


def _tip(point: Point, words: _Words) -> Markup:
    return Markup("<title>{}: {}</title>").format(words.day(point), words.spell(point.value))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


_DRAWERS = {"line": _line, "bars": _bars, "dots": _dots}
