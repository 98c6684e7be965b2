"""News for a person: progress bars with rate and time left on a terminal, plain log lines elsewhere."""

import threading
from dataclasses import field
from datetime import tzinfo
from typing import TYPE_CHECKING, TextIO

from recoup.model.events import Event, Level, News, Progress
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.sinks._base import Sink, one_line
from recoup.sinks.log import line
from recoup.system.clock import Clock, SystemClock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PAUSE = 10.0
"""Seconds between two plain lines about the same work."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Options(Struct):
    """Settings of this sink.

    Attributes:
        stream: where to write; by whether it is a terminal the form is chosen.
        level: quieter events are left out.
        progress: whether progress is shown.
        color: False for a terminal without colours.
        zone: of the times in plain lines; None is the host's own.
        clock: time.
    """

    stream: TextIO
    level: Level = Level.INFO
    progress: bool = True
    color: bool = True
    zone: tzinfo | None = None
    clock: Clock = field(default_factory=SystemClock)


def amount(count: int, unit: str = "") -> str:
    """Bytes for people, in IEC units: `512 B`, `1.5 MiB`; or, with a unit, a number of those: `1,200 points`."""
    if unit:
        return f"{count:,} {unit}"
    value, step = float(count), 0
    while abs(value) >= 999.5 and step < len(_UNITS) - 1:
        value, step = value / 1024, step + 1
    return f"{count} B" if step == 0 else f"{value:.{0 if value >= 99.95 else 1}f} {_UNITS[step]}"


def duration(seconds: float) -> str:
    """A length of time for people: `0.8 s`, `48 s`, `1:05`, `2:10:00`."""
    if seconds < 59.5:
        return f"{seconds:.{0 if seconds >= 10 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Lines:
    """One line for each event, and now and then one about long work."""

    def __init__(self, options: Options, masker: Masker) -> None:
        self._options = options
        self._masker = masker
        self._begun: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._guard = threading.Lock()

    def __call__(self, news: News, /) -> None:
        with self._guard:
            if isinstance(news, Progress):
                self._progress(news)
            elif news.level >= self._options.level:
                self._write(line(news, self._masker, self._options.zone))

    def close(self) -> None:
        """Nothing is open."""

    def _progress(self, news: Progress) -> None:
        if not self._options.progress:
            return
        now = self._options.clock.monotonic()
        begun = self._begun.setdefault(news.work, now)
        if not news.finished and now - self._shown.setdefault(news.work, now) < _PAUSE:
            return
        self._shown[news.work] = now
        time = self._options.clock.now().astimezone(self._options.zone).strftime("%Y-%m-%d %H:%M:%S")
        self._write(f"[{time}] INFO: {one_line(self._masker(news.work))}: {_how_far(news, now - begun)}")
        if news.finished:
            del self._begun[news.work], self._shown[news.work]

    def _write(self, text: str) -> None:
        self._options.stream.write(text + "\n")
        self._options.stream.flush()


def _how_far(news: Progress, seconds: float) -> str:
    rate = news.done / seconds if seconds > 0 else 0.0
    pace = f", {amount(round(rate), news.unit)}/s" if rate else ""
    done = amount(news.done, news.unit)
    if news.finished:
        return f"{done} in {duration(seconds)}{pace}"
    if not news.total:
        return f"{done}{pace}"
    share = min(100, 100 * news.done // news.total)
    left = f", {duration((news.total - news.done) / rate)} left" if rate and news.total > news.done else ""
    return f"{done} of {amount(news.total, news.unit)}, {share} %{pace}{left}"


def _done_of(news: Progress) -> str:
    done = amount(news.done, news.unit)
    return f"{done} of {amount(news.total, news.unit)}" if news.total else done


class _Terminal:
    """Bars below, messages scrolling above them. The bars vanish when the work is done: the report says the rest."""

    def __init__(self, options: Options, masker: Masker) -> None:
        self._options = options
        self._masker = masker
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._guard = threading.Lock()

    def __call__(self, news: News, /) -> None:
        with self._guard:
            if isinstance(news, Progress):
                self._progress(news)
            elif news.level >= self._options.level:
                self._say(news)

    def close(self) -> None:
        with self._guard:
            self._stop()

    def _say(self, event: Event) -> None:
        from rich.text import Text

        word, style = {Level.WARNING: ("Warning: ", "yellow"), Level.ERROR: ("Error: ", "red")}.get(
            event.level, ("", "")
        )
        console = self._bars.console if self._bars else self._console()
        text = Text.assemble((word, style), one_line(self._masker(event.message)))
        console.print(text, soft_wrap=True)

    def _progress(self, news: Progress) -> None:
        if not self._options.progress:
            return
        bars = self._bars or self._start()
        work = one_line(self._masker(news.work))
        task = self._tasks.get(work)
        if task is None:
            task = self._tasks[work] = bars.add_task(work, total=news.total, amount="", unit=news.unit)
        bars.update(task, completed=news.done, total=news.total, amount=_done_of(news))
        if news.finished:
            bars.remove_task(self._tasks.pop(work))
            if not self._tasks:
                self._stop()

    def _console(self) -> "Console":
        from rich.console import Console

        return Console(file=self._options.stream, no_color=not self._options.color or None, highlight=False)

    def _start(self) -> "Bars":
        from rich import progress
        from rich.text import Text

        class Pace(progress.ProgressColumn):
            """How fast it goes, in what is counted."""

            def render(self, task: progress.Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text(f"{amount(round(speed), task.fields['unit'])}/s" if speed else "")

        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=None),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[amount]}", markup=False),
            Pace(),
            progress.TimeRemainingColumn(compact=True),
        )
        self._bars = progress.Progress(*columns, console=self._console(), transient=True, redirect_stdout=False)
        self._bars.start()
        return self._bars

    def _stop(self) -> None:
        if self._bars:
            self._bars.stop()
        self._bars = None
        self._tasks.clear()


def connect(options: Options, masker: Masker) -> Sink:
    """A sink that writes to `options.stream`."""
    return _Terminal(options, masker) if options.stream.isatty() else _Lines(options, masker)
