"""Plain log lines, `[YYYY-MM-DD HH:MM:SS] INFO: message`; progress is left out."""

from datetime import tzinfo
from pathlib import Path

from recoup.model.events import Event, Level, News
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.sinks._base import AppendedFile, Sink, one_line


class Options(Struct):
    """Settings of this sink.

    Attributes:
        path: the file.
        level: quieter events are left out.
        zone: of the times; None is the host's own.
    """

    path: Path
    level: Level = Level.INFO
    zone: tzinfo | None = None


def line(event: Event, masker: Masker, zone: tzinfo | None = None) -> str:
    """An event as one log line, without the newline."""
    time = event.time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    return f"[{time}] {event.level.name}: {one_line(masker(event.message))}"


class _Log:
    def __init__(self, options: Options, masker: Masker) -> None:
        self._options = options
        self._masker = masker
        self._file = AppendedFile(options.path)

    def __call__(self, news: News, /) -> None:
        if isinstance(news, Event) and news.level >= self._options.level:
            self._file.line(line(news, self._masker, self._options.zone))

    def close(self) -> None:
        self._file.close()


def connect(options: Options, masker: Masker) -> Sink:
    """A sink that appends to `options.path`."""
    return _Log(options, masker)
