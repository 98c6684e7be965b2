"""From settings to sinks."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from recoup.model.secrets import Masker
from recoup.sinks import jsonl, log
from recoup.sinks._base import Sink


@contextlib.contextmanager
def opened(
    jsonl_path: Path | None, form: Literal["full", "exact"], log_path: Path | None, base: Path, masker: Masker
) -> Iterator[list[Sink]]:
    """The configured sinks, closed on leaving.

    Args:
        jsonl_path: file for lines of JSON, relative to `base`.
        form: of those lines.
        log_path: file for log lines, relative to `base`.
        base: folder of the configuration file.
        masker: takes secrets out.
    """
    sinks: list[Sink] = []
    if jsonl_path is not None:
        sinks.append(jsonl.connect(jsonl.Options(base / jsonl_path, form), masker))
    if log_path is not None:
        sinks.append(log.connect(log.Options(base / log_path), masker))
    with contextlib.ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close)
        yield sinks
