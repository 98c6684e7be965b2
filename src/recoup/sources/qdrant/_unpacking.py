"""A snapshot unpacked into a folder, so that the engine can load it: `<shard>/segments/<id>/...` and `<shard>/wal/...`.

Always a copy: the engine writes into the folder that it loads, and deletes segments that it does not like.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Self

from recoup.errors import NoSpaceError, RefusedError
from recoup.model.names import shown
from recoup.sources._staged import Readable
from recoup.sources.qdrant._shard_tar import Contents, SnapshotCheck
from recoup.sources.qdrant._tar import Bytes
from recoup.system.atomicfile import create_private, make_private_folder

_PIECE = 1 << 20  # bytes read at once


def unpack(
    reader: Readable, folder: Path, what: str = "the snapshot", shard: int = 0, *, logs: bool = True
) -> Contents:
    """Unpacks a snapshot, and checks on the way that it is whole. Holes stay holes.

    Args:
        reader: where it comes from; read once, in order.
        folder: where it goes: an empty or missing folder of our own. After an error some of it may be there.
        what: what it is called in errors.
        shard: the number of the shard, when it is the snapshot of one.
        logs: whether write-ahead logs are checked, too; False where these bytes were checked before.

    Raises:
        DamagedError: it is not whole.
        RefusedError: a name would lead outside, or it would unpack to more than it could honestly hold.
        NoSpaceError: the disk is full.
    """
    make_private_folder(folder)
    with Files(folder) as files:
        check = SnapshotCheck(what, shard, files, logs=logs)
        try:
            while data := reader.read(_PIECE):
                check.feed(data)
        except OSError as error:
            raise _explained(error, what) from error
    return check.finish()


def _explained(error: OSError, what: str) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(
            f"there is not enough space to unpack {shown(what)}", "Set `staging:` to a folder on a larger disk."
        )
    if error.errno in (errno.ENAMETOOLONG, errno.EFBIG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return RefusedError(f"{shown(what)} holds what cannot be a file here: {error.strerror}")
    return error


class Files:
    """A folder that is filled with private files, one after the other.

    Args:
        root: the folder; nobody else writes there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: set[Path] = set()
        self._open: list[_File] = []

    def file(self, path: str, size: int) -> "_File":
        """A new file.

        Raises:
            OSError: it cannot be made; also when there is something of that name.
        """
        target = self._root / path
        if target.parent not in self._made:
            make_private_folder(target.parent)
            self._made.add(target.parent)
        self._open = [one for one in self._open if one.is_open]
        self._open.append(_File(create_private(target), size))
        return self._open[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open:
            one.abort()


class _File:
    """One file: written from its beginning to its end, holes left out."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self.is_open = True

    def write(self, data: Bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def hole(self, size: int) -> None:
        os.lseek(self._descriptor, size, os.SEEK_CUR)

    def close(self) -> None:
        os.ftruncate(self._descriptor, self._size)
        self.abort()

    def abort(self) -> None:
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
