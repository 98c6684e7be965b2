"""Walking a folder that others use meanwhile: no link is followed, and what cannot be taken is noted.

Folders are opened relative to each other with `O_NOFOLLOW`, one descriptor for each level, so that nothing that is swapped in
meanwhile leads outside. Each member's status is taken just before it is yielded, and its content has to be read before the next
one is asked for.
"""

import contextlib
import errno
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

from recoup.model.names import shown
from recoup.model.part import Attributes, Member
from recoup.model.structs import Struct
from recoup.sources._staged import StagedReader

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

REPOSITORY = "recoup-repository.json"
"""A folder with this file is a repository of ours, which a source must not hold: it would back up itself."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SAMPLE = 4096  # bytes at the beginning of each read that are compared again in a file that grew
_XATTRS = ("user.", "system.posix_acl_", "security.capability")  # the others belong to the machine, not to the data


class Rules(Struct):
    """What belongs to a folder's backup.

    Attributes:
        include: patterns (gitignore syntax) of what to take; empty: everything.
        exclude: patterns of what to leave out; a folder that matches is not entered.
        one_file_system: leave out what is mounted inside.
        hidden: names in the root that are not part of it.
        staging: device and inode of the folder for staged copies, which is never taken.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    one_file_system: bool = False
    hidden: Callable[[str], bool] = field(default=lambda _name: False)
    staging: tuple[int, int] | None = None

    def excluder(self) -> Callable[[str], bool]:
        """Tells of a path (folders end with `/`) whether it is left out."""
        return _matcher(self.exclude) or _nothing

    def includer(self) -> Callable[[str], bool] | None:
        """Tells of a path whether it is asked for; None when everything is."""
        return _matcher(self.include)


def _nothing(_path: str) -> bool:
    return False


def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool] | None:
    return compiled(patterns).match_file if patterns else None


def compiled(patterns: tuple[str, ...]) -> "GitIgnoreSpec":
    """The patterns, read.

    Raises:
        ValueError: one is not in gitignore syntax.
    """
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(patterns)


@dataclass
class Tally:
    """What a walk has yielded and what of it was really read.

    Attributes:
        files: files read to their end.
        folders: folders below the root.
        links: symbolic and hard links.
        bytes: bytes of the files.
        occupied: bytes that the files visited take, their holes left out.
    """

    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    occupied: int = 0

    def values(self) -> Mapping[str, int]:
        """As facts."""
        return {"files": self.files, "folders": self.folders, "links": self.links, "bytes": self.bytes}


class Note(Protocol):
    """Is told of what is left out."""

    def __call__(self, what: str, item: str, message: str, *, harmless: bool = False) -> None:
        """One item: what happened to it, its path fit to be shown, a sentence, and whether the backup is whole without it."""
        ...


class Opened:
    """A descriptor of a folder; contents that outlive it fail instead of opening something else."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        """Closes it."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@dataclass
class LiveFile:
    """The content of a file that others may be writing.

    Attributes:
        folder: what it lies in.
        name: its name there.
        read: bytes of the last reading that reached the end; None while there was none.
    """

    folder: Opened
    name: str
    read: int | None = None
    local_path: PurePath | None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator["LiveReader"]:
        """Opens the file that has the name now.

        Raises:
            OSError: it cannot be opened, or is no file any more.
        """
        self.read = None
        if self.folder.descriptor < 0:
            raise OSError(errno.EBADF, "its folder is not being read any more", self.name)
        descriptor = os.open(self.name, _FILE_FLAGS, dir_fd=self.folder.descriptor)
        try:
            yield LiveReader(self, descriptor)
        finally:
            os.close(descriptor)


class LiveReader:
    """Reads a file up to the length that it had at opening."""

    def __init__(self, file: LiveFile, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self._before = os.fstat(descriptor)
        if not stat.S_ISREG(self._before.st_mode):
            raise OSError(errno.EINVAL, "is not a file any more", file.name)
        self._position = 0
        self._samples: list[tuple[int, int, int]] = []

    def read(self, size: int, /) -> bytes:
        """The next bytes; empty at the length that the file had at opening, or where it ends earlier now."""
        data = os.read(self._descriptor, min(size, self._before.st_size - self._position))
        if data:
            head = data[:_SAMPLE]
            self._samples.append((self._position, len(head), zlib.crc32(head)))
            self._position += len(data)
        elif size:
            self._file.read = self._position
        return data

    @property
    def changed(self) -> bool:
        """Whether it was written, cut short or replaced meanwhile; False when it only grew at its end, as logs do."""
        before, after = self._before, os.fstat(self._descriptor)
        if after.st_size < before.st_size or self._position < before.st_size or self._replaced():
            return True
        if after.st_size > before.st_size:
            return not all(self._still(sample) for sample in self._samples)
        return after.st_mtime_ns != before.st_mtime_ns

    def _replaced(self) -> bool:
        """Whether another file has the name now. One that is gone was read whole and counts as it was."""
        try:
            now = os.stat(self._file.name, dir_fd=self._file.folder.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (now.st_dev, now.st_ino) != (self._before.st_dev, self._before.st_ino)

    def _still(self, sample: tuple[int, int, int]) -> bool:
        offset, length, checksum = sample
        return zlib.crc32(os.pread(self._descriptor, length, offset)) == checksum


@dataclass
class _Level:
    """A folder being walked.

    Attributes:
        opened: its descriptor.
        names: what is left to visit, in order.
        prefix: what comes before a name in a path.
        pending: the folder's own member while it is not known whether anything below it is asked for.
    """

    opened: Opened
    names: Iterator[str]
    prefix: str
    pending: Member | None


class Walk:
    """Yields the members of a folder: it itself as `.`, then parents before children, names in order.

    Args:
        root: the folder, open; closed by `close`.
        rules: what belongs to it.
        note: is told of what is left out.
        pinned: contents to use instead of the files' own, by path.
        reading: False when nobody reads the contents: planned sizes are counted, extended attributes are not looked for.
    """

    def __init__(
        self, root: int, rules: Rules, note: Note, pinned: Mapping[str, "Pinned"] | None = None, *, reading: bool = True
    ) -> None:
        self.tally = Tally()
        self._levels = [_Level(Opened(root), iter(()), "", None)]
        self._rules = rules
        self._note = note
        self._pinned = pinned or {}
        self._reading = reading
        self._excluded = rules.excluder()
        self._included = rules.includer()
        self._device = os.fstat(root).st_dev
        self._linked: dict[tuple[int, int], str] = {}
        self._newly_linked: tuple[int, int] | None = None

    def close(self) -> None:
        """Closes all descriptors."""
        while self._levels:
            self._levels.pop().opened.close()

    def members(self) -> Iterator[Member]:
        """The members. Called once.

        Raises:
            OSError: the folder itself cannot be read.
        """
        root = self._levels[0]
        descriptor = root.opened.descriptor
        yield Member(".", "folder", _attributes(os.fstat(descriptor), descriptor))
        root.names = iter(sorted(name for name in _names(descriptor) if not self._hidden(name)))
        while self._levels:
            level = self._levels[-1]
            name = next(level.names, None)
            if name is None:
                self._levels.pop().opened.close()
                continue
            member = self._visit(level, name)
            if member:
                yield from self._with_folders(member)

    def _hidden(self, name: str) -> bool:
        hidden = self._rules.hidden(name)
        if hidden:
            self._note("skipped", shown(name), "was put aside by an earlier restore", harmless=True)
        return hidden

    def _with_folders(self, member: Member) -> Iterator[Member]:
        """A member, after those of the folders around it that were held back."""
        for level in self._levels:
            if level.pending:
                held, level.pending = level.pending, None
                yield held
                self.tally.folders += 1
        yield member
        if member.kind == "file":
            self._count_file(member)
        elif member.kind == "folder":
            self.tally.folders += 1
        else:
            self.tally.links += 1

    def _count_file(self, member: Member) -> None:
        """Counts what was really read: a file that could not be is in no backup, and nothing can be linked to it."""
        content = member.content
        size = content.read if self._reading and isinstance(content, LiveFile | Pinned) else member.size
        if size is None:
            if self._newly_linked:
                del self._linked[self._newly_linked]
            return
        self.tally.files += 1
        self.tally.bytes += size

    def _visit(self, level: _Level, name: str) -> Member | None:
        path = level.prefix + name
        try:
            status = os.stat(name, dir_fd=level.opened.descriptor, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                return self._folder(level, name, path, status)
            if self._excluded(path) or (self._included and not self._included(path)):
                return None
            return self._entry(level, name, path, status)
        except FileNotFoundError:
            return None  # removed since its folder was listed
        except OSError as error:
            self._note("unreadable", shown(path), f"cannot be read: {error.strerror}")
            return None

    def _folder(self, level: _Level, name: str, path: str, status: os.stat_result) -> Member | None:
        if self._excluded(f"{path}/") or (status.st_dev, status.st_ino) == self._rules.staging:
            return None
        if self._rules.one_file_system and status.st_dev != self._device:
            self._note("skipped", shown(path), "is on another file system", harmless=True)
            return None
        opened = Opened(os.open(name, _FOLDER_FLAGS, dir_fd=level.opened.descriptor))
        try:
            names = sorted(_names(opened.descriptor))
            member = Member(path, "folder", _attributes(status, opened.descriptor))
        except BaseException:
            opened.close()
            raise
        if REPOSITORY in names:
            opened.close()
            self._note("skipped", shown(path), "is a Recoup repository", harmless=True)
            return None
        held = self._included is not None and not self._included(f"{path}/")
        self._levels.append(_Level(opened, iter(names), f"{path}/", member if held else None))
        return None if held else member

    def _entry(self, level: _Level, name: str, path: str, status: os.stat_result) -> Member | None:
        if stat.S_ISREG(status.st_mode):
            return self._file(level, name, path, status)
        if stat.S_ISLNK(status.st_mode):
            link = os.readlink(name, dir_fd=level.opened.descriptor)
            return Member(path, "symlink", Attributes(0o777, status.st_mtime_ns), link=link)
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "special file")
        self._note("skipped", shown(path), f"is a {kind}", harmless=True)
        return None

    def _file(self, level: _Level, name: str, path: str, status: os.stat_result) -> Member:
        self._newly_linked = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
        if self._newly_linked:
            first = self._linked.setdefault(self._newly_linked, path)
            if first != path:
                return Member(path, "hardlink", link=first)
        self.tally.occupied += occupied(status)
        place = f"/proc/self/fd/{level.opened.descriptor}/{name}" if self._reading else None
        attributes = _attributes(status, place)
        pinned = self._pinned.get(path)
        if pinned:
            return Member(path, "file", attributes, len(pinned.data), content=pinned)
        return Member(path, "file", attributes, status.st_size, content=LiveFile(level.opened, name))


def occupied(status: os.stat_result) -> int:
    """Bytes of a file without its holes."""
    return min(status.st_size, status.st_blocks * 512)  # stat(2): blocks of 512 bytes, whatever the file system's own


def _names(descriptor: int) -> list[str]:
    return os.listdir(descriptor)


_SPECIAL = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "named pipe",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}


@dataclass
class Pinned:
    """The content of a small file as it was read before the others.

    Attributes:
        data: its bytes.
        read: their number once they were read.
    """

    data: bytes
    read: int | None = None
    local_path: PurePath | None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[StagedReader]:
        """Opens it."""
        self.read = len(self.data)
        yield StagedReader(io.BytesIO(self.data))


def _attributes(status: os.stat_result, place: int | str | None) -> Attributes:
    xattrs = _NONE if place is None else xattrs_of(place)
    return Attributes(status.st_mode & 0o7777, status.st_mtime_ns, xattrs)


def attributes_of(descriptor: int) -> Attributes:
    """The attributes of an open file."""
    return _attributes(os.fstat(descriptor), descriptor)


_NONE: Mapping[str, bytes] = {}


def xattrs_of(place: int | str) -> Mapping[str, bytes]:
    """The extended attributes of an open file or of a path whose last step is no link; none where the platform has none."""
    if not hasattr(os, "listxattr"):
        return _NONE
    follow = isinstance(place, int)  # a descriptor cannot be a link
    try:
        names = os.listxattr(place, follow_symlinks=follow)
        if not names:
            return _NONE
        wanted = (name for name in names if name.startswith(_XATTRS))
        return {name: os.getxattr(place, name, follow_symlinks=follow) for name in wanted}
    except OSError:  # a file system without them, or no /proc
        return _NONE


def open_folder(path: str) -> int:
    """Opens the folder at which a walk begins; links on the way are those of whoever named it."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


_POINTER_LIMIT = 1024 * 1024  # bytes; a file that says which version is current holds a line


def read_pointer(root: int, path: str) -> tuple[str, bytes] | None:
    """What a pointer says: `file` with its bytes or `symlink` with its text; None when it is not there.

    Raises:
        OSError: it cannot be read, is neither of the two, or is larger than 1 MiB.
    """
    *folders, name = path.split("/")
    with contextlib.ExitStack() as stack:
        folder = root
        try:
            for step in folders:
                folder = os.open(step, _FOLDER_FLAGS, dir_fd=folder)
                stack.callback(os.close, folder)
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return "symlink", os.fsencode(os.readlink(name, dir_fd=folder))
            descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            return None
        stack.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _POINTER_LIMIT:
            raise OSError(errno.EINVAL, "is not a small file or a link")
        return "file", os.read(descriptor, _POINTER_LIMIT)
