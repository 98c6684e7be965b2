"""One reading for several repositories: what a capture yields goes to each; one that fails leaves the others alone."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePath
from typing import Generic, Protocol, TypeVar

from recoup.errors import RecoupError, RefusedError, StorageError
from recoup.model.manifest import Manifest, SourceRecord, StoredPart, outcome_of
from recoup.model.names import SetName
from recoup.model.part import Content, Member, Reader
from recoup.operations._pump import storage_error
from recoup.repository._base import MemberSink, Repository, SetWriter, Sink, StreamSink, TreeSink

T = TypeVar("T")
A = TypeVar("A", bound="_Abortable")
S = TypeVar("S", bound=Sink | TreeSink)
B = TypeVar("B", bound=StreamSink | MemberSink)


class NobodyLeftError(StorageError):
    """Every repository has failed, each for a reason of its own."""


class _Abortable(Protocol):
    def abort(self) -> None: ...


class Judging(Protocol):
    """What judges the sizes of sources in one repository."""

    def judge(self, records: Mapping[str, SourceRecord]) -> dict[str, SourceRecord]:
        """The records, those of sources that hold too little suspicious."""
        ...


Gates = Callable[[Repository], Judging]
"""Makes it for a repository."""


class Branch:
    """One of the repositories that a backup feeds.

    Args:
        repository: which.
        needed_bytes: what a set will take there, the safety factor included.
        wait_lock: seconds to wait for its lock.
        gates: makes what judges the sizes of sources by what is usual in a repository; None where nothing does.

    Attributes:
        failure: why nothing of this run is there; None while all is well.
        manifest: of the set that was stored; None before.
        refused: sources that it does not take, with the reason.
    """

    def __init__(self, repository: Repository, wait_lock: float = 0.0, gates: "Gates | None" = None) -> None:
        self.repository, self._wait, self._gates = repository, wait_lock, gates
        self._gate: Judging | None = None
        self.failure: RecoupError | None = None
        self.manifest: Manifest | None = None
        self.refused: dict[str, RefusedError] = {}
        self._stored: dict[tuple[str, str], StoredPart] = {}
        self._open: list[_Abortable] = []
        self._context, self._writing = contextlib.ExitStack(), contextlib.ExitStack()
        self._writer: SetWriter | None = None

    @property
    def writer(self) -> SetWriter:
        """The set being written there."""
        if self._writer is None:
            raise NobodyLeftError(f"nothing is being written to {self.repository.name}")
        return self._writer

    def takes(self, source: str) -> bool:
        """Whether a source's bytes still go there."""
        return self.failure is None and source not in self.refused

    def begin(self, moment: datetime, stack: str, demand: Callable[[Repository], None]) -> None:
        """Takes the lock, looks whether there is room, and begins a set; else it has failed."""
        try:
            self._context.enter_context(self.repository.lock("backup", "backup", stack, self._wait))
            demand(self.repository)
            self._gate = self._gates(self.repository) if self._gates else None
            self._context.enter_context(self._writing)
            self._writer = self._writing.enter_context(self.repository.begin(moment, stack))
        except (RecoupError, OSError) as error:
            self.fail(error)

    def opened(self, sink: A) -> A:
        """Notes a sink, so that it is closed when the repository fails."""
        self._open.append(sink)
        return sink

    def closed(self, sink: _Abortable) -> None:
        """Forgets a sink that has ended."""
        if sink in self._open:
            self._open.remove(sink)

    def keep(self, source: str, part: StoredPart) -> None:
        """Notes how a part is stored here."""
        self._stored[source, part.name] = part

    def discard(self, source: str) -> None:
        """Removes everything stored of a source."""
        self._stored = {key: part for key, part in self._stored.items() if key[0] != source}
        self.writer.discard(source)

    def refuse(self, source: str, error: RefusedError) -> None:
        """Leaves a source out that cannot be stored here."""
        self.refused[source] = error
        self._abort_open()
        try:
            self.discard(source)
        except (RecoupError, OSError) as failure:
            self.fail(failure)

    def attempt(self, source: str, action: Callable[[], T]) -> list[T]:
        """Does something here, and returns what came of it; nothing when it failed, which is noted."""
        try:
            return [action()]
        except RefusedError as error:
            self.refuse(source, error)
        except (RecoupError, OSError) as error:
            self.fail(error)
        return []

    def commit(self, manifest: Manifest) -> None:
        """Lets the set appear, as it is stored here, and ends the writing of it, by which it may be taken back at last."""
        sources = {name: self._record(name, record) for name, record in manifest.sources.items()}
        if self.refused and not any(record.parts for record in sources.values()):
            raise next(iter(self.refused.values()))
        sources = self._gate.judge(sources) if self._gate else sources
        own = replace(manifest, name=str(self.writer.name), sources=sources, outcome=outcome_of(sources))
        self.writer.commit(own)
        self._writing.close()
        self.manifest = replace(own, name=str(self.writer.name))

    def _record(self, name: str, record: SourceRecord) -> SourceRecord:
        if name in self.refused:
            error = self.refused[name]
            return SourceRecord(record.kind, "failed", error=f"{error.message}. {error.hint}", settings=record.settings)
        return replace(record, parts=tuple(self._own(name, part) for part in record.parts))

    def _own(self, source: str, part: StoredPart) -> StoredPart:
        return replace(self._stored[source, part.name], attributes=part.attributes)

    def fail(self, error: RecoupError | OSError) -> None:
        """Gives this repository up: what was written there is removed, its lock given back."""
        self.failure = storage_error(error) if isinstance(error, OSError) else error
        self._abort_open()
        self.close()

    def _abort_open(self) -> None:
        while self._open:
            with contextlib.suppress(RecoupError, OSError):
                self._open.pop().abort()

    def close(self) -> None:
        """Ends what was begun. What cannot be removed now is removed by the next run there."""
        with contextlib.suppress(RecoupError, OSError):
            self._context.close()


@dataclass
class FanOut:
    """Several repositories that are written at once: what `backup` asks of a repository, and of a set being written.

    Attributes:
        branches: one for each repository.
        demand: raises when a repository has too little room.
        told: is told of each that fails.
    """

    branches: Sequence[Branch]
    demand: Callable[[Repository], None] = lambda _: None
    told: Callable[[Branch], None] = lambda _: None
    _known: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def begin(self, moment: datetime, stack: str) -> Iterator[SetWriter]:
        """Begins a set in each.

        Raises:
            NobodyLeftError: none of them can be written.
        """
        try:
            for branch in self.branches:
                branch.begin(moment, stack, self.demand)
            self._require()
            yield self
        finally:
            for branch in self.branches:
                branch.close()

    @property
    def name(self) -> SetName:
        """The name that the set will have in the first repository; in others it may be another one."""
        return self._require()[0].writer.name

    def stream(self, source: str, name: str, size: int | None, *, once: bool = False) -> StreamSink:
        """Begins a stream part in each."""

        def begin(branch: Branch) -> StreamSink:
            return branch.writer.stream(source, name, size, once=once)

        return FanStream(self, source, begin)

    def tree(self, source: str, name: str, *, once: bool = False) -> TreeSink:
        """Begins a tree part in each."""
        return FanTree(self, source, lambda branch: branch.writer.tree(source, name, once=once))

    def discard(self, source: str) -> None:
        """Removes everything stored of a source; it may be begun again."""
        for branch in self._require():
            branch.refused.pop(source, None)
            branch.attempt(source, lambda branch=branch: branch.discard(source))  # type: ignore[misc]
        self._require()

    def commit(self, manifest: Manifest) -> None:
        """Lets the set appear in each that has not failed."""
        for branch in self._require():
            try:
                branch.commit(manifest)
            except (RecoupError, OSError) as error:
                branch.fail(error)
        self._require()

    def each(self, source: str, branches: Iterable[Branch], action: Callable[[Branch], T]) -> dict[Branch, T]:
        """Does something in each branch that takes a source.

        Raises:
            RefusedError: none of those left takes this source.
            NobodyLeftError: none is left.
        """
        done = {}
        for branch in branches:
            if branch.takes(source):
                for result in branch.attempt(source, lambda branch=branch: action(branch)):  # type: ignore[misc]
                    done[branch] = result
        if not done:
            raise self._require()[0].refused[source]
        self._tell()
        return done

    def _require(self) -> list[Branch]:
        """The branches that are left."""
        self._tell()
        left = [branch for branch in self.branches if branch.failure is None]
        if not left:
            raise NobodyLeftError("; ".join(f"{b.repository.name}: {b.failure}" for b in self.branches))
        return left

    def _tell(self) -> None:
        for branch in self.branches:
            if branch.failure is not None and branch.repository.name not in self._known:
                self._known.add(branch.repository.name)
                self.told(branch)


class _Fan(Generic[S]):
    """A sink in each repository that takes the source."""

    def __init__(self, fan: FanOut, source: str, begin: Callable[[Branch], S]) -> None:
        self.fan, self.source, self._begin = fan, source, begin
        self.sinks: dict[Branch, S] = {}
        self.begin(fan.branches)

    def begin(self, branches: Iterable[Branch]) -> None:
        """Begins, or begins again."""
        self.sinks = self.fan.each(self.source, branches, lambda branch: branch.opened(self._begin(branch)))

    def each(self, action: Callable[[S], T]) -> dict[Branch, T]:
        """Does something with each sink that is left."""
        return self.fan.each(self.source, list(self.sinks), lambda branch: action(self.sinks[branch]))

    def finished(self, action: Callable[[S], T]) -> dict[Branch, T]:
        """Ends each."""
        found = self.each(action)
        self._forget()
        return found

    def abort(self) -> None:
        """Discards what was written. Harmless after the end."""
        for branch, sink in self.sinks.items():
            if branch.takes(self.source):
                branch.attempt(self.source, sink.abort)
        self._forget()

    def _forget(self) -> None:
        for branch, sink in self.sinks.items():
            branch.closed(sink)


class _FanBytes(_Fan[B]):
    """One byte stream into several repositories."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends bytes."""
        self.each(lambda sink: sink.write(data))

    def hole(self, length: int, /) -> None:
        """Appends zero bytes."""
        self.each(lambda sink: sink.hole(length))

    def adopt(self, content: Content, /) -> bool:
        """Stores the content without passing it through us, if every repository can, and all of them the same bytes."""
        if len(self.sinks) == 1:
            return all(self.each(lambda sink: sink.adopt(content)).values())
        lent = _Lent(content)
        taken = self.each(lambda sink: sink.adopt(lent))
        if all(taken.values()) and lent.same:
            return True
        if any(taken.values()):
            self.abort()
            self.begin(list(self.sinks))
        return False


class FanStream(_FanBytes[StreamSink]):
    """A stream part into several repositories."""

    def finish(self) -> StoredPart:
        """Ends it; how it is stored may differ from one repository to the other."""
        return _kept(self.source, self.finished(lambda sink: sink.finish()))


class FanMember(_FanBytes[MemberSink]):
    """A tree's file into several repositories."""

    def finish(self, *, changed: bool = False) -> int:
        """Ends it and returns its plain bytes."""
        return next(iter(self.finished(lambda sink: sink.finish(changed=changed)).values()))


class FanTree(_Fan[TreeSink]):
    """A tree part into several repositories."""

    def file(self, member: Member) -> MemberSink:
        """Begins a file."""
        return FanMember(self.fan, self.source, lambda branch: self.sinks[branch].file(member))

    def add(self, member: Member) -> None:
        """Adds a folder or link."""
        self.each(lambda sink: sink.add(member))

    def finish(self) -> StoredPart:
        """Ends the tree."""
        return _kept(self.source, self.finished(lambda sink: sink.finish()))


def _kept(source: str, stored: dict[Branch, StoredPart]) -> StoredPart:
    for branch, part in stored.items():
        branch.keep(source, part)
    return next(iter(stored.values()))


class _Lent:
    """A content that several may take: nobody may move its file away, and what each of them read is compared."""

    disposable = False

    def __init__(self, content: Content) -> None:
        self._content = content
        self._digests: set[str] = set()

    @property
    def local_path(self) -> PurePath | None:
        return self._content.local_path

    @property
    def same(self) -> bool:
        """Whether all that read it to its end saw the same bytes."""
        return len(self._digests) <= 1

    def open(self) -> AbstractContextManager[Reader]:
        return self._opened()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Reader]:
        with self._content.open() as reader:
            yield _HashedReader(reader, self._digests)


class _HashedReader:
    """Notes the digest of what was read, at its end."""

    def __init__(self, reader: Reader, digests: set[str]) -> None:
        self._reader, self._digests = reader, digests
        self._hash = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._reader.read(size)
        self._hash.update(data)
        if size and not data:
            self._digests.add(self._hash.hexdigest())
        return data

    @property
    def changed(self) -> bool:
        return self._reader.changed
