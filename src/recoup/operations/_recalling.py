"""The newest good copy of a source, for a capture that takes from the server only what changed since."""

import threading
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime

from recoup.errors import NoSuchSetError, RecoupError, RefusedError
from recoup.model.manifest import SourceRecord
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.model.structs import Struct
from recoup.operations.selection import holds, newest_first
from recoup.repository._base import Repository
from recoup.sources._base import Past, Recall

_LOOKED_AT = 20
"""Sets of a repository, the newest ones: an older copy spares little."""


class Recalling(Struct):
    """Looks for what earlier sets hold of sources. May be used by several threads.

    Args:
        repositories: those that keep what did not change once; the one to ask first first.
        stack: whose sets count.
        now: the present moment.
    """

    repositories: Sequence[Repository]
    stack: str
    now: datetime
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, source: str) -> Recall:
        """Finds the newest good copy of a source, in the first repository that has one."""

        def recall() -> Past:
            with self._lock:
                return self._found(source)

        return recall

    def _found(self, source: str) -> Past:
        reason: RecoupError = RefusedError("no repository of `layout: dedup` gets the set")
        for repository in self.repositories:
            try:
                return _past(repository, self.stack, source, self.now)
            except RecoupError as error:
                reason = error
            except OSError as error:
                reason = RecoupError(f"{repository.name} cannot be read: {error.strerror or error}")
        raise reason


def _past(repository: Repository, stack: str, source: str, now: datetime) -> Past:
    for number, info in enumerate(newest_first(repository, now)):
        if number >= _LOOKED_AT:
            break
        if info.manifest is None:
            raise RecoupError(f"{info.name} in {repository.name} cannot be read: {info.problem}")
        name = SetName.parse(info.name)
        if name is not None and info.manifest.stack == stack and holds(info, source):
            return Past(info.name, _parts(repository, name, source, info.manifest.sources[source]))
    raise NoSuchSetError(f"{repository.name} has no good earlier set with {source}")


def _parts(repository: Repository, name: SetName, source: str, record: SourceRecord) -> dict[str, StreamPart]:
    fetched = (repository.fetch(name, source, part) for part in record.parts if part.kind == "stream")
    return {part.name: part for part in fetched if isinstance(part, StreamPart)}
