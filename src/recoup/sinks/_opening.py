"""From settings to sinks."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from recoup.model.events import Emit
from recoup.model.secrets import Masker
from recoup.sinks import jsonl, log


def opened(
    jsonl_path: Path | None, form: Literal["full", "exact"], log_path: Path | None, base: Path, masker: Masker
) -> list[AbstractContextManager[Emit]]:
    """The configured sinks, to be entered.

    Args:
        jsonl_path: file for lines of JSON, relative to `base`.
        form: of those lines.
        log_path: file for log lines, relative to `base`.
        base: folder of the configuration file.
        masker: takes secrets out.
    """
    sinks: list[AbstractContextManager[Emit]] = []
    if jsonl_path is not None:
        sinks.append(jsonl.connect(base / jsonl_path, masker, form))
    if log_path is not None:
        sinks.append(log.connect(base / log_path, masker))
    return sinks
