"""From a capture's parts into a set: opening, reading, noticing what changed, and telling whose fault a failure is."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from recoup.errors import DamagedError, NoSpaceError, StorageError
from recoup.model.events import Emit, Progress
from recoup.model.manifest import Finding, StoredAttributes, StoredPart
from recoup.model.names import shown
from recoup.model.part import Content, Member, Part, StreamPart, TreePart
from recoup.repository._base import MemberSink, SetWriter, StreamSink

BLOCK = 1024 * 1024
_ZEROS = bytes(BLOCK)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Pump:
    """Moves the parts of one source into a set.

    Attributes:
        writer: the set.
        source: the source's name.
        total: bytes expected, for the progress.
        emit: where progress goes.
        work: what is done, for the progress.
        done: bytes moved so far.
        findings: items that changed or could not be read.
    """

    writer: SetWriter
    source: str
    total: int | None
    emit: Emit
    work: str = "backup"
    done: int = 0
    findings: list[Finding] = field(default_factory=list)

    def store(self, part: Part) -> StoredPart:
        """Stores one part.

        Raises:
            OSError: the source cannot be read (streams; a tree's unreadable files are noted and left out).
            StorageError, NoSpaceError: the repository cannot be written.
        """
        return self._stream(part) if isinstance(part, StreamPart) else self._tree(part)

    def _stream(self, part: StreamPart) -> StoredPart:
        before = self.done
        with storing():
            sink = self.writer.stream(self.source, part.name, part.size, once=part.once)
        changed = self._content(part.content, sink)
        if changed:
            self.done = before
            with storing():
                sink.abort()
                sink = self.writer.stream(self.source, part.name, part.size, once=part.once)
            if self._content(part.content, sink):
                self._changed(part.name)
        with storing():
            stored = sink.finish()
        moved = self.done - before
        self._progress(stored.bytes - moved, finished=True)  # a file that was taken over did not pass through here
        if part.attributes is None:
            return stored
        xattrs = {name: _base64(value) for name, value in part.attributes.xattrs.items()}
        return replace(stored, attributes=StoredAttributes(part.attributes.mode, part.attributes.mtime_ns, xattrs))

    def _tree(self, part: TreePart) -> StoredPart:
        with storing():
            tree = self.writer.tree(self.source, part.name, once=part.once)
        try:
            for member in part.members:
                if member.kind != "file":
                    with storing():
                        tree.add(member)
                    continue
                self._file(tree.file, member)
            with storing():
                stored = tree.finish()
        except BaseException:
            tree.abort()
            raise
        self._progress(0, finished=True)
        return stored

    def _file(self, begin: Callable[[Member], MemberSink], member: Member) -> None:
        if member.content is None:
            raise DamagedError(f"{shown(member.name)} is a file without content")
        for last in (False, True):
            before = self.done
            with storing():
                sink = begin(member)
            try:
                changed = self._content(member.content, sink)
            except OSError as error:
                reason = error.strerror or str(error)
                self.findings.append(Finding("unreadable", shown(member.name), f"cannot be read: {reason}"))
                return
            if changed and not last:
                with storing():
                    sink.abort()
                continue
            with storing():
                size = sink.finish(changed=changed)
            self._progress(size - (self.done - before))  # a file that was taken over did not pass through here
            if changed:
                self._changed(member.name)
            return

    def _content(self, content: Content, sink: StreamSink | MemberSink) -> bool:
        """Moves the bytes; True when they changed meanwhile. The sink is aborted when they cannot be read."""
        try:
            with storing():
                adopted = sink.adopt(content)
            if adopted:
                return False
            with content.open() as reader:
                while data := reader.read(BLOCK):
                    with storing():
                        if len(data) == BLOCK and data == _ZEROS:
                            sink.hole(BLOCK)
                        else:
                            sink.write(data)
                    self._progress(len(data))
                return reader.changed
        except BaseException:
            sink.abort()
            raise

    def _changed(self, name: str) -> None:
        message = "changed while it was read, twice: what is stored may never have existed in one piece"
        self.findings.append(Finding("changed", shown(name), message))

    def _progress(self, count: int, *, finished: bool = False) -> None:
        before, self.done = self.done, self.done + count
        if finished or before // (4 * BLOCK) != self.done // (4 * BLOCK):
            self.emit(Progress(f"{self.work} {self.source}", self.done, self.total, finished))


def _base64(value: bytes) -> str:
    import base64

    return base64.b64encode(value).decode()


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Turns an operating system's error into one that says that the repository, not the source, is at fault."""
    try:
        yield
    except OSError as error:
        raise storage_error(error) from error


def storage_error(error: OSError) -> StorageError | NoSpaceError:
    """What a failed write to the repository means."""
    where = f" ({shown(str(error.filename))})" if error.filename else ""
    if error.errno in _FULL:
        return NoSpaceError(
            f"the repository's disk is full{where}; nothing of this run is listed",
            "Free space, `recoup prune`, or move the repository; then run the backup again.",
        )
    return StorageError(
        f"the repository cannot be written: {error.strerror or error}{where}", "Check its disk and rights."
    )
