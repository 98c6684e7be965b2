"""Events as plain log lines: `[YYYY-MM-DD HH:MM:SS] INFO: message`, in local time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from recoup.model.events import Emit, Event, Level, News
from recoup.model.names import shown
from recoup.model.secrets import Masker
from recoup.sinks._appending import appending


def line(event: Event, masker: Masker) -> str:
    """One event as one line, without the newline; control characters in it are replaced."""
    time = event.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"[{time}] {event.level.name}: {shown(masker(event.message))}"


@contextlib.contextmanager
def connect(path: Path, masker: Masker, lowest: Level = Level.INFO) -> Iterator[Emit]:
    """A sink that appends to a file, which is made with mode 0600.

    Args:
        path: the file.
        masker: takes secrets out.
        lowest: quieter events are left out.
    """
    with appending(path) as descriptor:

        def emit(news: News) -> None:
            if isinstance(news, Event) and news.level >= lowest:
                os.write(descriptor, (line(news, masker) + "\n").encode("utf-8", "backslashreplace"))

        yield emit
