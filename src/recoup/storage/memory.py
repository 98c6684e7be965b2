"""Objects in memory: for tests, and the shortest example of a storage."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from recoup.model.names import checked_relative
from recoup.storage._base import ByteReader, Object, Properties

_EPOCH = datetime.fromtimestamp(0, UTC)


class MemoryWriter:
    """An object being collected."""

    def __init__(self, objects: dict[str, bytes], key: str) -> None:
        self._objects, self._key, self._data = objects, key, bytearray()

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends."""
        self._data += data

    def hole(self, length: int, /) -> None:
        """Appends zero bytes."""
        self._data += bytes(length)

    def commit(self) -> None:
        """Makes it appear."""
        self._objects[self._key] = bytes(self._data)

    def abort(self) -> None:
        """Forgets it."""
        self._data.clear()


class MemoryReader:
    """A range of an object."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        piece = self._data[self._position : self._position + size]
        self._position += len(piece)
        return piece


class MemoryStorage:
    """Objects in a dictionary; gone with the process.

    Args:
        moves: whether a prefix can be renamed; False makes it behave like an object store.
    """

    def __init__(self, *, moves: bool = True) -> None:
        self._objects: dict[str, bytes] = {}
        self.properties = Properties(put_if_absent=True, moves=moves, shares=moves)

    @property
    def location(self) -> str:
        """A name for people."""
        return "memory:"

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Stores an object."""
        if if_absent and key in self._objects:
            raise FileExistsError(key)
        self._objects[checked_relative(key)] = bytes(data)

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:  # noqa: ARG002 - nothing shows early here
        """Begins an object."""
        return MemoryWriter(self._objects, checked_relative(key))

    def adopt(self, key: str, path: Path, *, move: bool) -> bool:  # noqa: ARG002 - a file cannot become memory
        """Never possible here."""
        return False

    def share(self, key: str, existing: str) -> bool:
        """Takes the same bytes under a second key; object stores cannot."""
        if not self.properties.shares:
            return False
        if key in self._objects:
            raise FileExistsError(key)
        if existing not in self._objects:
            return False
        self._objects[checked_relative(key)] = self._objects[checked_relative(existing)]
        return True

    def make_folder(self, key: str) -> None:
        """There are no folders here."""
        checked_relative(key)

    def make_link(self, key: str, target: str) -> None:  # noqa: ARG002 - links are for people to see
        """There are no links here."""
        checked_relative(key)

    def get(self, key: str) -> bytes:
        """An object."""
        try:
            return self._objects[checked_relative(key)]
        except KeyError:
            raise FileNotFoundError(key) from None

    @contextlib.contextmanager
    def reader(self, key: str, start: int = 0, length: int | None = None) -> Iterator[ByteReader]:
        """Opens an object, or a range of it."""
        end = None if length is None else start + length
        yield MemoryReader(self.get(key)[start:end])

    def size(self, key: str) -> int:
        """Bytes of an object."""
        return len(self.get(key))

    def list(self, prefix: str = "") -> Iterator[Object]:
        """All objects below a prefix."""
        for key, data in sorted(self._objects.items()):
            if not prefix or key.startswith(prefix + "/"):
                yield Object(key, len(data), _EPOCH)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """First components below a prefix that have objects below them, sorted."""
        base = f"{prefix}/" if prefix else ""
        below = (key[len(base) :] for key in self._objects if key.startswith(base))
        yield from sorted({rest.split("/", 1)[0] for rest in below if "/" in rest})

    def delete(self, key: str) -> None:
        """Forgets an object."""
        self._objects.pop(checked_relative(key), None)

    def delete_all(self, prefix: str) -> None:
        """Forgets all objects below a prefix."""
        for found in [o.key for o in self.list(checked_relative(prefix))]:
            del self._objects[found]

    def move(self, source: str, target: str) -> None:
        """Renames a prefix."""
        if any(True for _ in self.list(checked_relative(target))):
            raise FileExistsError(target)
        for found in [o.key for o in self.list(checked_relative(source))]:
            self._objects[target + found[len(source) :]] = self._objects.pop(found)

    def locked_until(self, key: str) -> None:  # noqa: ARG002 - a dictionary keeps nothing by force
        """Never."""
        return None  # noqa: RET501 - an answer, not the absence of one

    def extend_lock(self, key: str) -> None:
        """Nothing: a dictionary keeps nothing by force."""
        self.size(key)

    def check_access(self, folder: str, stored: str = "") -> None:
        """Everything is allowed."""

    def features(self, key: str) -> tuple[()]:  # noqa: ARG002 - a dictionary has nothing of its own
        """None."""
        return ()

    def sync(self, prefix: str) -> None:
        """Nothing outlives the process."""

    def tidy(self) -> None:
        """Whoever is killed takes the memory along."""

    def free_bytes(self) -> int | None:
        """Unknown."""
        return None
