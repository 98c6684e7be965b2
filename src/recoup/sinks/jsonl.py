"""Events as lines of JSON, appended to a file."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from recoup.model.events import Emit, Event, News
from recoup.model.secrets import Masker
from recoup.sinks._appending import appending

_EXACT = {
    "backup_created": ("path", "included", "bytes_written", "duration_ms"),
    "backup_pruned": ("deleted_count", "keep_last"),
}
"""The two events of format `exact`, each with exactly these keys."""


def record(event: Event, masker: Masker) -> dict[str, Any]:
    """An event as a JSON object: `event`, `time`, `level`, `set`, `message`, then its own fields; masked."""
    fields = {
        "event": event.name,
        "time": event.time.isoformat(),
        "level": event.level.name.lower(),
        "set": event.set,
        "message": event.message,
        **event.fields,
    }
    return {key: masker.value(value) for key, value in fields.items()}


@contextlib.contextmanager
def connect(path: Path, masker: Masker, form: Literal["full", "exact"] = "full") -> Iterator[Emit]:
    """A sink that appends to a file, which is made with mode 0600.

    Args:
        path: the file.
        masker: takes secrets out.
        form: `full`: every event; `exact`: only `backup_created` and `backup_pruned`, with nothing but their own keys.
    """
    with appending(path) as descriptor:

        def emit(news: News) -> None:
            if not isinstance(news, Event):
                return
            fields = record(news, masker)
            if form == "exact":
                if news.name not in _EXACT:
                    return
                fields = {key: fields[key] for key in _EXACT[news.name]}
            os.write(descriptor, (json.dumps(fields, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))

        yield emit
