"""The promise that every storage keeps; `recoup.testing.storage_contract` is the same promise as tests.

Keys are relative POSIX paths, checked by `recoup.model.names.checked_relative` at the door. After `put` or a writer's `commit`
returns, `get` and `list` see the object whole; before, they see nothing of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from recoup.model.structs import Struct


class Properties(Struct):
    """What a storage can do: data, so that nobody asks for its class.

    Attributes:
        put_if_absent: `put(..., if_absent=True)` is atomic between machines.
        moves: `move` renames a whole prefix in one step. Where it cannot, what has a key shows as soon as it is written.
        shares: `share` can work, so that equal files of several sets take their space once.
        local_root: the folder, where objects are files of this machine; None elsewhere.
        part_size: bytes beyond which an object is sent in parts; 0 where it never is.
        locks: new objects are locked for a while: the storage itself refuses to give them up.
    """

    put_if_absent: bool
    moves: bool
    shares: bool = False
    local_root: Path | None = None
    part_size: int = 0
    locks: bool = False


class Feature(Struct):
    """Something that a particular place has, lacks or is set to, beyond what every storage promises.

    Attributes:
        severity: `ok`; `warning`: somebody should look at it; `error`: with these settings it stops a backup or breaks a promise.
        message: what it is.
        hint: what to do; empty when nothing is.
    """

    severity: Literal["ok", "warning", "error"]
    message: str
    hint: str = ""


class Object(Struct):
    """What a listing tells.

    Attributes:
        key: the object's key.
        size: bytes; 0 for a link.
        modified: when it was stored (UTC).
        link: target text of a symbolic link (see `Storage.make_link`); None for an object.
    """

    key: str
    size: int
    modified: datetime
    link: str | None = None


class Writer(Protocol):
    """An object being written; it appears with `commit` or never."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends."""
        ...

    def hole(self, length: int, /) -> None:
        """Appends `length` zero bytes that need not take space."""
        ...

    def commit(self) -> None:
        """Makes the object appear, whole."""
        ...

    def abort(self) -> None:
        """Leaves nothing behind. Harmless after `commit`."""
        ...


class ByteReader(Protocol):
    """Bytes of an object, in order."""

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        ...


class Storage(Protocol):
    """Objects by key."""

    properties: Properties

    @property
    def location(self) -> str:
        """Where it is, for people, without secrets."""
        ...

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Stores a small object in one step, durably.

        Raises:
            FileExistsError: `if_absent`, and there is one.
        """
        ...

    def writer(self, key: str, *, hidden: bool = False) -> Writer:
        """Begins a large object. Durable after `sync`.

        Args:
            key: its key; there must be none yet.
            hidden: nobody looks below this prefix yet, so the object may show before `commit`, which saves a rename.
        """
        ...

    def adopt(self, key: str, path: Path, *, move: bool) -> bool:
        """Stores a local file without copying its bytes: by rename (`move`) or by sharing blocks; False when it cannot."""
        ...

    def share(self, key: str, existing: str) -> bool:
        """Stores an object's bytes once more without taking space for them; deleting either does not touch the other.

        Returns:
            False when that is not possible here; then nothing was stored.

        Raises:
            FileExistsError: there is something at `key`.
        """
        ...

    def make_folder(self, key: str) -> None:
        """Makes an empty folder for people to see; nothing where a storage has no folders."""
        ...

    def make_link(self, key: str, target: str) -> None:
        """Makes a symbolic link for people to see, never to be followed; nothing where a storage has no links."""
        ...

    def get(self, key: str) -> bytes:
        """A small object.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def reader(self, key: str, start: int = 0, length: int | None = None) -> AbstractContextManager[ByteReader]:
        """Opens an object, or a range of it (bytes).

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def size(self, key: str) -> int:
        """Bytes of an object.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[Object]:
        """All objects whose key begins with `prefix` (whole components), in no promised order."""
        ...

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The first components below `prefix` that have objects below them, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Removes an object; harmless when there is none."""
        ...

    def delete_all(self, prefix: str) -> None:
        """Removes every object below `prefix`; harmless when there is none. An interrupted one can be repeated."""
        ...

    def move(self, source: str, target: str) -> None:
        """Renames a prefix in one step, durably (only where `properties.moves`).

        Raises:
            FileExistsError: there is something at `target`.
        """
        ...

    def locked_until(self, key: str) -> datetime | None:
        """Until when (UTC) the storage itself refuses to give an object up; None where it does not."""
        ...

    def extend_lock(self, key: str) -> None:
        """Has the storage keep an object at least as long as a new one (only where `properties.locks`; nothing elsewhere).

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def check_access(self, folder: str, stored: str = "") -> None:
        """Tries what a run needs that writes, before it begins; leaves nothing behind.

        Args:
            folder: where a few bytes may be stored, read, listed and deleted.
            stored: key of an object there that was stored a moment ago, by somebody who has read others and lists this one next:
                only the rest is tried, and the object stays as it is.

        Raises:
            StorageError: something is missing (the place itself, a right, the network); the message names all of it.
        """
        ...

    def features(self, key: str) -> Sequence[Feature]:
        """What this particular place has, lacks or is set to; asks it.

        Args:
            key: of an object that was stored just now, whose attributes tell some of it.
        """
        ...

    def sync(self, prefix: str) -> None:
        """Makes an object, or everything below a prefix, durable."""
        ...

    def tidy(self) -> None:
        """Removes what writers left that were killed: temporary files, uploads that nobody has finished for a day."""
        ...

    def free_bytes(self) -> int | None:
        """Bytes that can still be stored; None where the storage does not tell."""
        ...
