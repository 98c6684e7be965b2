"""From settings to sinks."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from recoup.model.secrets import Masker
from recoup.sinks import jsonl, log
from recoup.sinks._base import Sink
from recoup.sinks._notifying import NotifyOptions
from recoup.sinks._telling import Receiver
from recoup.system.plugs import load


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


def receivers(
    entries: Mapping[str, NotifyOptions], base: Path, masker: Masker, *, allow_remote: bool
) -> tuple[Receiver, ...]:
    """The entries of `notify`, to be connected when something is told.

    Args:
        entries: by name.
        base: folder of the configuration file.
        masker: takes secrets out.
        allow_remote: whether other machines may be contacted.
    """

    def connected(options: NotifyOptions) -> Sink:
        options.require_allowed(allow_remote=allow_remote)
        sink: Sink = load("recoup.sinks", options.kind).connect(options, masker)
        return sink

    here = {name: options.beside(base) for name, options in entries.items()}
    return tuple(Receiver(name, options, functools.partial(connected, options)) for name, options in here.items())
