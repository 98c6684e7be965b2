"""Events for a person at a terminal: bars while it is one, plain lines where it is not."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recoup.model.events import Emit, Event, Level, News, Progress
from recoup.model.names import shown
from recoup.model.secrets import Masker

if TYPE_CHECKING:
    from rich.console import Console

_STYLE = {Level.WARNING: "yellow", Level.ERROR: "bold red"}


@contextlib.contextmanager
def connect(console: "Console", masker: Masker, lowest: Level, *, bars: bool) -> Iterator[Emit]:
    """A sink that writes to a terminal.

    Args:
        console: on stderr.
        masker: takes secrets out.
        lowest: quieter events are left out.
        bars: show progress bars; only with effect where the console is a terminal.
    """
    with contextlib.ExitStack() as stack:
        advance = stack.enter_context(_bars(console)) if bars and console.is_terminal else None

        def emit(news: News) -> None:
            if isinstance(news, Progress):
                if advance is not None:
                    advance(news)
            elif news.level >= lowest:
                _print(console, news, masker)

        yield emit


def _print(console: "Console", event: Event, masker: Masker) -> None:
    word = f"{event.level.name.capitalize()}: " if event.level >= Level.WARNING else ""
    console.print(word + shown(masker(event.message)), style=_STYLE.get(event.level), markup=False, highlight=False)


@contextlib.contextmanager
def _bars(console: "Console") -> Iterator[Emit]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console, transient=True) as bars:

        def advance(news: News) -> None:
            if not isinstance(news, Progress):
                return
            task = tasks.get(news.work)
            if task is None:
                task = tasks[news.work] = bars.add_task(shown(news.work), total=news.total)
            total = max(news.total or 0, news.done) or None
            bars.update(task, completed=news.done, total=news.done if news.finished else total)

        yield advance
