"""A snapshot on its way from a server into a file of ours: checked and hashed while it passes, never read twice for that."""

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from recoup.errors import DamagedError
from recoup.model.structs import Struct
from recoup.sources.qdrant._shard_tar import Contents, SnapshotCheck
from recoup.system.atomicfile import create_private


class Spooled(Struct):
    """A snapshot that came whole.

    Attributes:
        path: the file.
        size: its length in bytes.
        sha256: of its bytes, hex.
        contents: what is in it.
    """

    path: Path
    size: int
    sha256: str
    contents: Contents


class Spool:
    """A file being filled.

    Args:
        path: must not exist.
        what: what it is called in errors.
        shard: the shard's number, when it is the snapshot of one.
    """

    def __init__(self, path: Path, what: str, shard: int) -> None:
        self._path, self._what, self._shard = path, what, shard
        self._kept = False
        self._begin()

    def _begin(self) -> None:
        self._descriptor = create_private(self._path)
        self._hash, self._check = hashlib.sha256(), SnapshotCheck(self._what, self._shard)
        self._looking = ThreadPoolExecutor(1, "spool")
        self._looked: Future[None] | None = None
        self.size = 0

    def write(self, block: bytes) -> None:
        """Takes the next bytes, and writes them while they are looked at.

        Raises:
            DamagedError: they, or those before them, cannot be what follows in a snapshot.
        """
        self._await_look()
        self._looked = self._looking.submit(self._look, block)
        self.size += len(block)
        view = memoryview(block)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _look(self, block: bytes) -> None:
        self._check.feed(block)
        self._hash.update(block)

    def _await_look(self) -> None:
        looked, self._looked = self._looked, None
        if looked is not None:
            looked.result()

    def restart(self) -> None:
        """Forgets what came so far."""
        self.remove()
        self._begin()

    def finish(self, length: int | None, sha256: str) -> Spooled:
        """Says that nothing follows.

        Args:
            length: bytes that were announced; None when none were.
            sha256: that the server gave, hex; empty when it gave none.

        Raises:
            DamagedError: it is not whole, or not what the server announced.
        """
        self._await_look()
        self._close()
        if length is not None and length != self.size:
            raise DamagedError(f"{self._what}: {length:,} bytes were announced, {self.size:,} came")
        found = self._hash.hexdigest()
        if sha256 and sha256.strip().lower() != found:
            raise DamagedError(f"{self._what}: its SHA-256 is not the one that the server gave")
        return Spooled(self._path, self.size, found, self._check.finish())

    def _close(self) -> None:
        self._looking.shutdown(wait=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def keep(self) -> None:
        """Says that the file is good: it stays."""
        self._kept = True

    def remove(self) -> None:
        """Drops what came, unless it is to be kept."""
        self._close()
        if not self._kept:
            self._path.unlink(missing_ok=True)
