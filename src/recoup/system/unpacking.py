"""Writing parts into folders, whatever they claim: no name leads outside, and no link is ever written through.

Every step of a path is opened relative to its parent's descriptor with `O_NOFOLLOW`, so that a link is met as a link, be it an
old one, one that this tree has just brought, or one that somebody slips in meanwhile. Runs of zeros become holes.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recoup.errors import DamagedError, NoSpaceError, RefusedError, RestoreError, UnsafePathError
from recoup.model.names import checked_relative, shown
from recoup.model.part import Attributes, Content, Member, Part, StreamPart, TreePart
from recoup.system.atomicfile import PRIVATE_FILE, PRIVATE_FOLDER, make_private_folder, sync_folder
from recoup.system.filesystem import WriteBehind, sync_filesystem
from recoup.system.host import holder_token, token_is_dead
from recoup.system.tempdirs import remove_tree

Overwrite = Literal["never", "if-changed", "always"]
"""What happens to a file that is there already: it stays; it stays where size and time (ns) agree; it is replaced."""

Advance = Callable[[int], None]
"""Is told how many more bytes were written."""

_BLOCK = 1024 * 1024  # bytes read at once
_PIECE = 64 * 1024  # bytes: shorter runs of zeros are written, as a hole would save little
_ZEROS = bytes(_PIECE)
_BEFORE, _AFTER = ".recoup-", ".tmp"  # around whose a file is that is about to replace another
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Written:
    """What was written.

    Attributes:
        files: files, hard links not counted.
        folders: folders below the root.
        links: symbolic and hard links.
        bytes: bytes of the files.
        skipped: present entries that the policy left as they are.
        removed: entries removed because the tree does not have them.
        attributes_refused: entries with an extended attribute that this file system or user may not set.
    """

    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    skipped: int = 0
    removed: int = 0
    attributes_refused: int = 0


def write_stream(part: StreamPart, path: Path, progress: Advance | None = None) -> int:
    """Writes a stream into a new file, durably, and returns its bytes; after an error the file is gone.

    The file has mode 0600 until it is whole, then the part's attributes.

    Raises:
        DamagedError: the stored bytes are wrong, or fewer or more than promised.
        NoSpaceError: the disk is full.
        RestoreError: it cannot be written, or there is something of that name.
    """
    with _explained(path.name):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            written = _write_stream_at(folder, path.name, part, progress)
            os.fsync(folder)
        finally:
            os.close(folder)
    return written


def write_tree(
    part: TreePart,
    folder: Path,
    *,
    overwrite: Overwrite = "never",
    delete: bool = False,
    spare: Callable[[str], bool] | None = None,
    progress: Advance | None = None,
) -> Written:
    """Writes a tree's members into `folder`, durably; one that was missing is made, and gone again after an error.

    Args:
        part: the tree; its members' names and links are not trusted.
        folder: where; its own parents are.
        overwrite: what happens to files that are there already. Those replaced are replaced in one step each.
        delete: also remove what is there and not in the tree.
        spare: of a name inside `folder`: True keeps it, and what is below it, from `delete`.
        progress: is told of bytes written.

    Raises:
        UnsafePathError: a member would be written outside, through a link or a file, or has the name of an earlier one.
        DamagedError: the stored bytes are wrong.
        NoSpaceError: the disk is full.
        RestoreError: something cannot be written.
    """
    made = not os.path.lexists(folder)
    with _explained(folder.name):
        make_private_folder(folder)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writer = _TreeWriter(root, overwrite, progress or _unheard)
        written = writer.write(part.members, (spare or _spare_nothing) if delete else None)
        make_durable(folder)
    except BaseException:
        if made:
            remove_tree(folder)
        raise
    finally:
        os.close(root)
    return written


def write_part(
    part: Part, folder: Path, *, overwrite: Overwrite = "never", progress: Advance | None = None
) -> tuple[Path, int]:
    """Writes a part as files: a stream to `folder`/name, a tree to `folder`/name or, named `.`, as `folder` itself.

    Returns:
        The file or folder written, and its bytes.

    Raises:
        UnsafePathError, DamagedError, NoSpaceError, RestoreError: as `write_stream` and `write_tree`.
    """
    if isinstance(part, TreePart) and part.name == ".":
        return folder, write_tree(part, folder, overwrite=overwrite, progress=progress).bytes
    target = folder / checked_relative(part.name)
    with _explained(part.name):
        make_private_folder(folder)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    folders = _Folders(root)
    try:
        with _explained(part.name):
            parent = folders.descriptor(os.path.dirname(part.name), make=True)  # noqa: PTH120 - names are not paths
        if isinstance(part, TreePart):
            return target, write_tree(part, target, overwrite=overwrite, progress=progress).bytes
        with _explained(part.name):
            return target, _write_stream_at(parent, target.name, part, progress)
    finally:
        folders.close()
        os.close(root)


def make_durable(path: Path) -> None:
    """Makes a file or folder with all that is in it survive a power cut: one `syncfs`, else fsync of each."""
    folder = path if path.is_dir() else path.parent
    if sync_filesystem(folder):
        return
    for place, _folders, files in os.walk(folder) if path.is_dir() else [(str(folder), [], [path.name])]:
        for name in files:
            with contextlib.suppress(OSError):  # a link, or a file without read permission
                _sync_file(Path(place, name))
        sync_folder(Path(place))


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unheard(_count: int) -> None:
    pass


def _spare_nothing(_name: str) -> bool:
    return False


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns the machine's refusals into errors that name the entry."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(f"cannot write {shown(name)}: {reason}", "Free some space and try again.") from None
        if error.errno == errno.EEXIST:
            raise RestoreError(f"cannot write {shown(name)}: it is there already") from None
        raise RestoreError(f"cannot write {shown(name)}: {reason}") from None
    except UnicodeEncodeError:
        raise UnsafePathError(f"cannot write {shown(name)}: what it names is no text of a file system") from None


class _Folders:
    """Descriptors of the folders on the way to the last one asked for; the next one usually shares most of that way."""

    def __init__(self, root: int) -> None:
        self._names: list[str] = []
        self._descriptors = [root]

    def descriptor(self, path: str, *, make: bool = False) -> int:
        """The folder at `path` below the root, every step opened without following links."""
        wanted = path.split("/") if path else []
        shared = 0
        while shared < min(len(wanted), len(self._names)) and wanted[shared] == self._names[shared]:
            shared += 1
        self._leave(shared)
        for name in wanted[shared:]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, PRIVATE_FOLDER, dir_fd=self._descriptors[-1])
            self._descriptors.append(_open_folder(name, self._descriptors[-1]))
            self._names.append(name)
        return self._descriptors[-1]

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            os.close(self._descriptors.pop())

    def close(self) -> None:
        """Closes all but the root."""
        self._leave(0)


def _open_folder(name: str, parent: int) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnsafePathError(
                f"unsafe name below {shown(name)!r}: that is a link or a file, not a folder"
            ) from None
        raise


class _TreeWriter:
    """Writes members into an open folder."""

    def __init__(self, root: int, overwrite: Overwrite, advance: Advance) -> None:
        self._names: set[str] = set()
        self._root = root
        self._fresh = not os.listdir(root)
        self._overwrite = overwrite
        self._advance = advance
        self._folders = _Folders(root)
        self._attributes: dict[str, Attributes | None] = {"": None}
        self._written = Written()
        if not self._fresh:
            _sweep(root)

    def write(self, members: Iterator[Member], spare: Callable[[str], bool] | None) -> Written:
        """Writes them all and, given `spare`, removes the others.

        Folders get their attributes last, the innermost first, as working in them changes their times.
        """
        try:
            for member in members:
                with _explained(member.name):
                    self._write(member)
            if spare and not self._fresh:
                self._written.removed = _remove_others(self._root, "", self._names, spare)
            for name in reversed(self._attributes):
                with _explained(name or "."):
                    self._finish_folder(name)
        finally:
            self._folders.close()
        return self._written

    def _write(self, member: Member) -> None:
        if member.name == "." and member.kind == "folder":
            self._attributes[""] = member.attributes
            return
        parent, _, name = checked_relative(member.name).rpartition("/")
        if parent not in self._attributes:
            raise UnsafePathError(f"unsafe name {shown(member.name)!r}: what it lies in is not a folder of the tree")
        if not self._fresh:
            self._note_name(member.name)
        folder = self._folders.descriptor(parent)
        if member.kind == "folder":
            self._folder(folder, name, member)
        elif member.kind in ("file", "symlink", "hardlink"):
            self._entry(folder, name, member)
        else:
            raise RefusedError(f"{shown(member.name)} is of the unknown kind {shown(member.kind)!r}")

    def _note_name(self, name: str) -> None:
        """In an empty folder the file system tells of a second one; among older entries we have to remember."""
        if name in self._names:
            raise _twice(name)
        self._names.add(name)

    def _folder(self, parent: int, name: str, member: Member) -> None:
        if member.name in self._attributes:
            raise _twice(member.name)
        present = None if self._fresh else _status(parent, name)
        if present and not stat.S_ISDIR(present.st_mode):
            if self._overwrite == "never":
                raise RestoreError(f"{shown(member.name)} is a folder in the backup, and something else here")
            os.unlink(name, dir_fd=parent)
            present = None
        if not present:
            self._create(member.name, lambda: os.mkdir(name, PRIVATE_FOLDER, dir_fd=parent))
        self._attributes[member.name] = member.attributes
        self._written.folders += 1
        if present:
            _sweep(self._folders.descriptor(member.name))

    def _entry(self, folder: int, name: str, member: Member) -> None:
        present = None if self._fresh else _status(folder, name)
        if present is None:
            self._create(member.name, lambda: self._make(folder, name, member))
        elif self._overwrite == "never" or (self._overwrite == "if-changed" and _same(present, folder, name, member)):
            self._written.skipped += 1
        elif stat.S_ISDIR(present.st_mode):
            raise RestoreError(f"{shown(member.name)} is a {member.kind} in the backup, and a folder here")
        else:
            self._replace(folder, name, member)

    def _create(self, name: str, make: Callable[[], object]) -> None:
        try:
            make()
        except FileExistsError:
            raise _twice(name) from None

    def _replace(self, folder: int, name: str, member: Member) -> None:
        temporary = f"{_BEFORE}{holder_token()}{_AFTER}"
        try:
            self._make(folder, temporary, member)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:  # two names of one file are not renamed onto each other but left as they are: see rename(2)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)

    def _make(self, folder: int, name: str, member: Member) -> None:
        if member.kind == "file":
            self._make_file(folder, name, member)
        elif member.kind == "symlink":
            self._make_symlink(folder, name, member)
        else:
            self._make_hardlink(folder, name, member)

    def _make_file(self, folder: int, name: str, member: Member) -> None:
        if member.content is None:
            raise RefusedError(f"{shown(member.name)} is a file without content")
        size, whole = _write_file(folder, name, member.content, member.attributes, self._advance)
        self._written.files += 1
        self._written.bytes += size
        self._written.attributes_refused += not whole

    def _make_symlink(self, folder: int, name: str, member: Member) -> None:
        if not member.link or "\0" in member.link:
            raise UnsafePathError(f"{shown(member.name)} is a link to nothing")
        os.symlink(member.link, name, dir_fd=folder)
        if member.attributes:
            times = (member.attributes.mtime_ns, member.attributes.mtime_ns)
            os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)
        self._written.links += 1

    def _make_hardlink(self, folder: int, name: str, member: Member) -> None:
        parent, _, first = checked_relative(member.link).rpartition("/")
        known = (
            parent in self._attributes and (self._fresh or member.link in self._names) and member.link != member.name
        )
        other = _Folders(self._root)
        try:
            source = other.descriptor(parent) if known else -1
            status = _status(source, first) if known else None
            if status is None or not stat.S_ISREG(status.st_mode):
                link, target = shown(member.name), shown(member.link)
                raise UnsafePathError(
                    f"{link!r} is a hard link to {target!r}, which is not an earlier file of the tree"
                )
            os.link(first, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            other.close()
        self._written.links += 1

    def _finish_folder(self, name: str) -> None:
        attributes = self._attributes[name]
        if attributes:
            self._written.attributes_refused += not apply(self._folders.descriptor(name), attributes)


def _sweep(folder: int) -> None:
    """Removes what a killed run was about to put in a file's place."""
    for name in os.listdir(folder):
        token = name.removeprefix(_BEFORE).removesuffix(_AFTER)
        if name == f"{_BEFORE}{token}{_AFTER}" and token_is_dead(token):
            os.unlink(name, dir_fd=folder)


def _twice(name: str) -> UnsafePathError:
    return UnsafePathError(
        f"{shown(name)!r} comes twice", "On a file system that ignores case, names that differ in case alone collide."
    )


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _same(present: os.stat_result, folder: int, name: str, member: Member) -> bool:
    if member.kind == "symlink":
        return stat.S_ISLNK(present.st_mode) and os.readlink(name, dir_fd=folder) == member.link
    if member.kind != "file" or not stat.S_ISREG(present.st_mode) or member.attributes is None:
        return False
    wanted = (member.size, member.attributes.mtime_ns, member.attributes.mode)
    return (present.st_size, present.st_mtime_ns, stat.S_IMODE(present.st_mode)) == wanted


def _write_stream_at(folder: int, name: str, part: StreamPart, progress: Advance | None) -> int:
    size, _ = _write_file(folder, name, part.content, part.attributes, progress or _unheard, sync=True)
    if part.size is not None and size != part.size:
        os.unlink(name, dir_fd=folder)
        raise DamagedError(f"{shown(part.name)}: {size} bytes came where {part.size} were promised")
    return size


def _write_file(
    folder: int, name: str, content: Content, attributes: Attributes | None, advance: Advance, *, sync: bool = False
) -> tuple[int, bool]:
    """Writes a new file; returns its bytes and whether all its attributes could be set."""
    descriptor = os.open(name, _FILE_FLAGS, PRIVATE_FILE, dir_fd=folder)
    try:
        size = _copy(content, descriptor, advance)
        whole = apply(descriptor, attributes) if attributes else True
        if sync:
            os.fsync(descriptor)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    return size, whole


def _copy(content: Content, descriptor: int, advance: Advance) -> int:
    position = end = 0
    behind = WriteBehind(descriptor)
    with content.open() as reader:
        while block := reader.read(_BLOCK):
            for start, stop in _data_runs(block):
                _write_at(descriptor, memoryview(block)[start:stop], position + start)
                end = position + stop
            position += len(block)
            behind.written(position)
            advance(len(block))
    if end != position:
        os.ftruncate(descriptor, position)
    return position


def _data_runs(block: bytes) -> Iterator[tuple[int, int]]:
    """The stretches of a block outside long runs of zeros."""
    begun = 0
    for start in range(0, len(block), _PIECE):
        stop = min(start + _PIECE, len(block))
        if block[start] or block[stop - 1] or block[start:stop] != _ZEROS[: stop - start]:
            continue
        if begun < start:
            yield begun, start
        begun = stop
    if begun < len(block):
        yield begun, len(block)


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count


def apply(descriptor: int, attributes: Attributes) -> bool:
    """Gives an open file or folder its extended attributes, mode and time; False where an attribute was refused."""
    whole = _set_xattrs(descriptor, attributes.xattrs)  # first: a read-only mode would forbid it
    os.fchmod(descriptor, attributes.mode & 0o7777)
    os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))
    return whole


def _set_xattrs(descriptor: int, xattrs: Mapping[str, bytes]) -> bool:
    if not xattrs:
        return True
    setxattr = getattr(os, "setxattr", None)  # Linux only
    if setxattr is None:
        return False
    whole = True
    for name, value in xattrs.items():
        try:
            setxattr(descriptor, name, value)
        except OSError:  # counted and told; the file itself is right
            whole = False
    return whole


def _remove_others(folder: int, prefix: str, names: set[str], spare: Callable[[str], bool]) -> int:
    removed = 0
    with os.scandir(folder) as entries:
        present = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in present:
        path = f"{prefix}{name}"
        if spare(path):
            continue
        if path in names and is_folder:
            removed += _remove_inside(folder, name, path, names, spare)
        elif path not in names:
            removed += _remove_one(folder, name, path, is_folder=is_folder, spare=spare)
    return removed


def _remove_inside(folder: int, name: str, path: str, names: set[str], spare: Callable[[str], bool]) -> int:
    inner = _open_folder(name, folder)
    try:
        return _remove_others(inner, f"{path}/", names, spare)
    finally:
        os.close(inner)


def _remove_one(folder: int, name: str, path: str, *, is_folder: bool, spare: Callable[[str], bool]) -> int:
    with _explained(path):
        if not is_folder:
            os.unlink(name, dir_fd=folder)
            return 1
        removed = _remove_inside(folder, name, path, set(), spare)
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return removed  # something in it was spared
        return removed + 1
