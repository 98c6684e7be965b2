"""Numbers for Prometheus in a file that node_exporter's textfile collector reads, written anew at the end of each run.

The file's name ends in `.prom`; it is written beside and renamed, so that it is never read half; it is readable by everyone
(0644), since node_exporter is another user (https://github.com/prometheus/node_exporter#textfile-collector).
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from recoup.errors import ConfigError, RecoupError
from recoup.model.events import Event, News
from recoup.model.secrets import Masker
from recoup.sinks import _measures
from recoup.sinks._base import Sink
from recoup.sinks._notifying import NotifyOptions, NotSentError
from recoup.system.atomicfile import write_atomic

_MODE = 0o644


def _prom(path: Path) -> Path:
    if path.suffix != ".prom":
        raise ValueError("its name does not end in .prom, and node_exporter reads no other; rename it")
    return path


class Options(NotifyOptions):
    """Settings of a text file for Prometheus."""

    kind: Literal["prometheus"] = Field("prometheus", description="A text file for Prometheus' node_exporter.")
    path: Annotated[Path, AfterValidator(_prom)] = Field(
        description="The file, in the folder that node_exporter's `--collector.textfile.directory` names; its name ends in .prom."
    )

    def beside(self, base: Path) -> Self:
        """The same settings with an absolute path."""
        return self.model_copy(update={"path": base / self.path})

    def require_usable(self) -> None:
        """Looks whether the folder is there and can be written."""
        folder = self.path.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            what = "may not be written to" if folder.is_dir() else "is not there"
            raise ConfigError(f"{folder} {what}", "Make the folder, or correct `path` or the rights.")

    def wants(self, event: Event) -> bool:
        """Whether numbers may have changed."""
        return event.name in ("run_finished", "notice_test")


class _Textfile:
    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, news: News, /) -> None:
        if not isinstance(news, Event) or not self._options.wants(news):
            return
        stack, path = str(news.fields["stack"]), self._options.path
        try:
            write_atomic(path, _measures.exposition(stack, _measures.recalled(stack)), _MODE)
        except OSError as error:
            raise NotSentError(f"{path} cannot be written: {error.strerror or error}") from None
        except RecoupError as error:
            raise NotSentError(error.message) from None

    def close(self) -> None:
        """Nothing is open."""


def connect(options: Options, masker: Masker) -> Sink:  # noqa: ARG001 - numbers and names of sources have no secrets
    """A sink that writes `options.path`."""
    return _Textfile(options)
