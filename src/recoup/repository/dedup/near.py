"""Copies of packs that a host keeps near: over a network, chunks are stored against others only where these are at hand.

Nothing else reads them: a restore, a drill and a verification have to show that the repository itself is whole.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from recoup.repository.dedup.packs import FOLDER, PackRef
from recoup.system.atomicfile import create_private, make_private_folder


class NearPacks:
    """Packs in a folder of this machine, as they lie in the repository: encrypted.

    What is read from here is tried like everything else, so a copy may be lost or harmed at any time.

    Args:
        folder: of one repository.
        limit: bytes that all of them may have; the oldest go first.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit

    @classmethod
    def of(cls, cache: Path, repository: str, limit: int = 0) -> "NearPacks":
        """Those of a repository.

        Args:
            cache: the user's cache folder.
            repository: its id.
            limit: see the class.
        """
        return cls(cache / FOLDER / repository, limit)

    @property
    def sizes(self) -> list[int]:
        """Bytes of each copy."""
        with contextlib.suppress(OSError):
            return [path.stat().st_size for path in self._folder.iterdir() if path.is_file()]
        return []

    def has(self, pack: PackRef) -> bool:
        """Whether there is a copy of a pack."""
        return self._path(pack).is_file()

    def read(self, pack: PackRef, offset: int, length: int) -> bytes | None:
        """A range of a pack; None where there is no copy, or it is too short."""
        try:
            with self._path(pack).open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), length, offset)
        except OSError:
            return None
        return data if len(data) == length else None

    def forget(self, pack: PackRef) -> None:
        """Removes a copy that is not what it should be."""
        with contextlib.suppress(OSError):
            self._path(pack).unlink(missing_ok=True)

    def copy(self, pack: PackRef) -> "NearCopy":
        """Begins the copy of a pack that is being written."""
        return NearCopy(self._path(pack))

    def shrink(self) -> None:
        """Removes the oldest copies, until all take no more than they may."""
        with contextlib.suppress(OSError):
            found = [(path.stat(), path) for path in self._folder.iterdir() if path.is_file()]
            excess = sum(status.st_size for status, _ in found) - self._limit
            for status, path in sorted(found, key=lambda one: one[0].st_mtime_ns):
                if excess <= 0:
                    break
                path.unlink()
                excess -= status.st_size

    def _path(self, pack: PackRef) -> Path:
        return self._folder / pack.name


class NearCopy:
    """A copy being written. Where that fails there is none, which harms nobody."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        self._file: BinaryIO | None = None
        with contextlib.suppress(OSError):
            make_private_folder(path.parent)
            self._file = os.fdopen(create_private(self._temporary), "wb")

    def write(self, data: bytes) -> None:
        """Appends bytes."""
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError:
                self.abort()

    def commit(self) -> None:
        """Lets it appear."""
        if self._file is not None:
            try:
                self._file.close()
                self._temporary.replace(self._path)
            except OSError:
                self.abort()
            self._file = None

    def abort(self) -> None:
        """Leaves nothing behind. Harmless after the end."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)
