"""Events as JSON lines in a file, one for each event; progress is left out."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from recoup.model.events import Event, News, Progress
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.sinks._base import AppendedFile, Sink

EXACT = {
    "backup_created": ("path", "included", "bytes_written", "duration_ms"),
    "backup_pruned": ("deleted_count", "keep_last"),
}
"""The events that `format: exact` writes, and the keys of each."""


class Options(Struct):
    """Settings of this sink.

    Attributes:
        path: the file.
        format: `full`: every event, as `record` says. `exact`: the events in `EXACT` alone, with their keys and no other.
    """

    path: Path
    format: Literal["full", "exact"] = "full"


def record(event: Event, masker: Masker) -> dict[str, Any]:
    """An event as one JSON object: `event`, `time` (ISO 8601, UTC) and `set`, then its own fields.

    All but the events in `EXACT`, whose keys are promised, also have `level` and `message`. A field never hides these keys.
    """
    common = {"event": event.name, "time": event.time.isoformat(), "set": event.set}
    if event.name not in EXACT:
        common |= {"level": event.level.name.lower(), "message": masker(event.message)}
    return {**common, **{key: value for key, value in _fields(event, masker).items() if key not in common}}


def progress_record(progress: Progress, moment: datetime, masker: Masker) -> dict[str, Any]:
    """Progress as one JSON object: `event` is `progress`, then `time` (ISO 8601, UTC), `work`, `done`, `total`, `unit` (empty for
    bytes) and `finished`.

    Args:
        progress: it.
        moment: when it was told, UTC.
        masker: for its text.
    """
    return {
        "event": "progress",
        "time": moment.isoformat(),
        "work": masker(progress.work),
        "done": progress.done,
        "total": progress.total,
        "unit": progress.unit,
        "finished": progress.finished,
    }


def _fields(event: Event, masker: Masker) -> dict[str, Any]:
    return {key: masker.value(value) for key, value in event.fields.items()}


class _Jsonl:
    def __init__(self, options: Options, masker: Masker) -> None:
        self._exact = options.format == "exact"
        self._masker = masker
        self._file = AppendedFile(options.path)

    def __call__(self, news: News, /) -> None:
        if not isinstance(news, Event):
            return
        if not self._exact:
            self._file.line(json.dumps(record(news, self._masker)))
        elif news.name in EXACT:
            fields = _fields(news, self._masker)
            self._file.line(json.dumps({key: fields[key] for key in EXACT[news.name]}))

    def close(self) -> None:
        self._file.close()


def connect(options: Options, masker: Masker) -> Sink:
    """A sink that appends to `options.path`."""
    return _Jsonl(options, masker)
