"""A folder of this machine: objects are files, 0600 in folders of 0700.

Nothing is written or read through a symbolic link below the root: each key's folders are looked at before use.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from recoup.errors import UnsafePathError
from recoup.model.names import checked_relative, shown
from recoup.storage._base import ByteReader, Object, Properties
from recoup.system.atomicfile import PRIVATE_FILE, create_private, make_private_folder, sync_folder
from recoup.system.filesystem import WriteBehind, clone, free_bytes, sync_filesystem
from recoup.system.host import holder_token, token_is_dead
from recoup.system.tempdirs import remove_tree

_TEMPORARY = ".tmp"
_BLOCK = 1 << 20  # bytes of one read
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class LocalWriter:
    """A file being written.

    Args:
        path: where it appears.
        written: where it lies until then; the same path when nobody looks there yet.
    """

    def __init__(self, path: Path, written: Path) -> None:
        self._path, self._written = path, written
        self._descriptor = create_private(self._written)
        self._behind = WriteBehind(self._descriptor)
        self._end = 0
        self._trailing_hole = False

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends."""
        view = memoryview(data)
        self._end += view.nbytes
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._behind.written(self._end)
        self._trailing_hole = False

    def hole(self, length: int, /) -> None:
        """Appends zero bytes that take no space."""
        self._end = os.lseek(self._descriptor, length, os.SEEK_CUR)
        self._trailing_hole = True

    def commit(self) -> None:
        """Makes the file appear, whole."""
        if self._trailing_hole:
            os.ftruncate(self._descriptor, self._end)
        self._close()
        if self._written is not self._path:
            self._written.rename(self._path)

    def abort(self) -> None:
        """Removes it."""
        if self._descriptor >= 0:
            self._close()
            self._written.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


class LocalReader:
    """A range of a file."""

    def __init__(self, file: BinaryIO, length: int | None) -> None:
        self._file, self._left = file, length

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        if self._left is None:
            return self._file.read(size)
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


class LocalStorage:
    """Objects below a folder.

    Args:
        root: the folder; made with the first object.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._root_text = os.fspath(root)
        self._seen: set[str] = set()
        self.properties = Properties(put_if_absent=True, moves=True, shares=True, local_root=root)

    @property
    def location(self) -> str:
        """The folder."""
        return str(self._root)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Stores a small object in one step, durably."""
        path, temporary = self._place(key), self._temporary()
        try:
            with os.fdopen(create_private(temporary), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if if_absent:
                os.link(temporary, path)  # unlike a rename, a link fails where there is one
            else:
                temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)

    def writer(self, key: str, *, hidden: bool = False) -> LocalWriter:
        """Begins a large object."""
        path = self._place(key)
        return LocalWriter(path, path if hidden else self._temporary())

    def adopt(self, key: str, path: Path, *, move: bool) -> bool:
        """Stores a local file by rename or by sharing blocks; False when neither works here."""
        target = self._place(key)
        if target.exists():
            raise FileExistsError(str(target))
        if not move:
            return _cloned(path, target)
        try:
            path.rename(target)
        except OSError:
            return False
        target.chmod(PRIVATE_FILE)
        return True

    def share(self, key: str, existing: str) -> bool:
        """A hard link; where the file system has none, or no more of them, blocks are shared."""
        present, target = self._path(existing), self._place(key)
        if not os.path.lexists(present) or not stat.S_ISREG(present.lstat().st_mode):
            return False
        try:
            os.link(present, target, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:
            return _cloned(present, target)
        return True

    def make_folder(self, key: str) -> None:
        """Makes an empty folder."""
        self._folder(self._path(key))

    def make_link(self, key: str, target: str) -> None:
        """Makes a symbolic link."""
        self._place(key).symlink_to(target)

    def get(self, key: str) -> bytes:
        """A small object."""
        descriptor = self._descriptor(key)
        try:
            data = b""
            while block := os.read(descriptor, _BLOCK):
                data += block
        except IsADirectoryError:
            raise FileNotFoundError(key) from None
        finally:
            os.close(descriptor)
        return data

    @contextlib.contextmanager
    def reader(self, key: str, start: int = 0, length: int | None = None) -> Iterator[ByteReader]:
        """Opens an object, or a range of it."""
        with self._open(key) as file:
            file.seek(start)
            yield LocalReader(file, length)

    def size(self, key: str) -> int:
        """Bytes of an object."""
        path = self._path(key)
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError(str(path))
        return path.stat().st_size

    def list(self, prefix: str = "") -> Iterator[Object]:
        """All files and links below a folder."""
        top = self._path(prefix) if prefix else self._root
        pending = [(str(top), f"{prefix}/" if prefix else "")]
        while pending:
            folder, base = pending.pop()
            try:
                entries = os.scandir(folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    key = base + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if key == _TEMPORARY:
                            continue
                        pending.append((entry.path, key + "/"))
                        continue
                    status = entry.stat(follow_symlinks=False)
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    if entry.is_symlink():
                        yield Object(key, 0, modified, str(Path(entry.path).readlink()))
                    else:
                        yield Object(key, status.st_size, modified)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """Names of the folders right below a folder, sorted."""
        top = self._path(prefix) if prefix else self._root
        try:
            with os.scandir(top) as entries:
                names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and e.name != _TEMPORARY)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from names

    def delete(self, key: str) -> None:
        """Removes a file."""
        self._path(key).unlink(missing_ok=True)

    def delete_all(self, prefix: str) -> None:
        """Removes a folder with all that is in it."""
        path = self._path(prefix)
        remove_tree(path)
        self._seen.clear()
        if path.parent.exists():
            sync_folder(path.parent)

    def move(self, source: str, target: str) -> None:
        """Renames a folder in one step, durably."""
        old, new = self._path(source), self._place(target)
        if new.exists() or new.is_symlink():
            raise FileExistsError(str(new))
        old.rename(new)
        self._seen.clear()
        sync_folder(new.parent)
        if old.parent != new.parent:
            sync_folder(old.parent)

    def locked_until(self, key: str) -> None:  # noqa: ARG002 - a folder keeps nothing by force
        """Never."""
        return None  # noqa: RET501 - an answer, not the absence of one

    def extend_lock(self, key: str) -> None:
        """Nothing: a folder keeps nothing by force."""
        self.size(key)

    def check_access(self, folder: str, stored: str = "") -> None:
        """A folder says what is wrong when it is used."""

    def features(self, key: str) -> tuple[()]:  # noqa: ARG002 - a folder has nothing of its own
        """None."""
        return ()

    def sync(self, prefix: str) -> None:
        """Makes a file, or everything below a folder, durable: a folder by one call where there is one."""
        top = self._path(prefix) if prefix else self._root
        if not top.is_file():
            if sync_filesystem(top):
                return
            for folder, _, files in os.walk(top):
                for name in files:
                    _sync_file(Path(folder, name))
                sync_folder(Path(folder))
        else:
            _sync_file(top)
        while top != self._root:  # a folder may be as new as what is in it
            top = top.parent
            sync_folder(top)

    def tidy(self) -> None:
        """Removes temporary files whose writer is dead."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._root / _TEMPORARY):
                if token_is_dead(entry.name):
                    Path(entry.path).unlink(missing_ok=True)

    def _temporary(self) -> Path:
        """A path for a file that is not whole yet; its name says whose it is."""
        self._folder(self._root / _TEMPORARY)
        return self._root / _TEMPORARY / holder_token()

    def free_bytes(self) -> int | None:
        """Bytes that this user may still write."""
        return free_bytes(self._root)

    def _path(self, key: str) -> Path:
        return Path(self._text_path(key))

    def _text_path(self, key: str) -> str:
        """The path of a key. Text, not `Path`: a list of a thousand sets asks a thousand times."""
        path = os.path.join(self._root_text, checked_relative(key))  # noqa: PTH118
        self._refuse_links(os.path.dirname(path))  # noqa: PTH120
        return path

    def _place(self, key: str) -> Path:
        """The path of a key that is about to be written, its folders made."""
        path = self._root / checked_relative(key)
        self._folder(path.parent)
        return path

    def _folder(self, folder: Path) -> None:
        text = os.fspath(folder)
        if text in self._seen:
            return
        self._refuse_links(text)
        make_private_folder(folder)
        self._seen.add(text)

    def _refuse_links(self, folder: str) -> None:
        while len(folder) > len(self._root_text) and folder not in self._seen:
            if os.path.islink(folder):  # noqa: PTH114
                raise UnsafePathError(
                    f"{shown(folder)} is a symbolic link inside the repository",
                    "Recoup never writes or reads through links there; look who made it and remove it.",
                )
            folder = os.path.dirname(folder)  # noqa: PTH120

    def _open(self, key: str) -> BinaryIO:
        descriptor = self._descriptor(key)
        try:
            return os.fdopen(descriptor, "rb", buffering=0)
        except IsADirectoryError:
            os.close(descriptor)
            raise FileNotFoundError(key) from None

    def _descriptor(self, key: str) -> int:
        return os.open(self._text_path(key), _READ)


def _cloned(path: Path, target: Path) -> bool:
    """Whether `target` now shares the blocks of `path`; else there is no such file."""
    descriptor = create_private(target)
    try:
        with path.open("rb") as source:
            if clone(source.fileno(), descriptor):
                return True
    finally:
        os.close(descriptor)
    target.unlink()
    return False


def connect(root: Path) -> LocalStorage:
    """The storage below a folder.

    Args:
        root: absolute path.
    """
    return LocalStorage(root)


def _sync_file(path: Path) -> None:
    if not path.is_symlink():
        with path.open("rb") as file:
            os.fsync(file.fileno())
