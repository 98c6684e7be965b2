"""All sets at once: read one by one, or by means of the catalogue."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from recoup.errors import RecoupError, RefusedError
from recoup.model.manifest import Manifest
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.repository._base import Repository
from recoup.repository.plain import layout
from recoup.repository.plain.catalog import Copies, set_of
from recoup.storage._base import Storage

_THREADS = 8  # requests at once
_AT_ONCE = 512  # objects that are read before they are wanted
_LARGEST = 256 * 1024  # bytes of one of them


class OneByOne:
    """An overview that asks for each set when it is wanted.

    Args:
        repository: whose sets.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository, self._marked = repository, repository.marked()
        self.names: Sequence[SetName] = repository.names()

    def expect_all(self) -> None:
        """Nothing: files of this machine are read one by one."""

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims."""
        return self._repository.manifest(name)

    def marks(self, name: SetName) -> Sequence[Mark]:
        """What was learned about a set."""
        return self._repository.marks(name) if name in self._marked else ()


class Copied:
    """An overview that takes copies where there are some, and reads each other object once.

    Args:
        names: lists the sets.
        storage: where they are.
        copies: what the catalogue has.
        read: reads a manifest, from copies of its objects where they are.
        mark: reads a mark.
        known: marks that were read before, by their key: they never change; grows.
    """

    def __init__(
        self,
        names: Callable[[], Sequence[SetName]],
        storage: Storage,
        copies: Copies,
        read: Callable[[SetName, Copies], Manifest],
        mark: Callable[[bytes], Mark],
        known: Copies,
    ) -> None:
        self._storage, self._copies, self._read, self._mark, self._known = storage, copies, read, mark, known
        self._marks: dict[SetName, list[str]] = {}
        for found in storage.list(layout.MARKS):
            if (name := set_of(found.key)) is not None:
                self._marks.setdefault(name, []).append(found.key)
        self.names = names()

    def expect_all(self) -> None:
        """Reads what there are no copies of, several requests at a time; what fails is asked for again by itself."""
        manifests = [f"{name}/{layout.MANIFEST}" for name in self.names]
        marks = [key for name in self.names for key in self._marks.get(name, ())]
        wanted = [key for key in (*manifests, *marks) if key not in self._copies and key not in self._known][-_AT_ONCE:]
        pool = ThreadPoolExecutor(_THREADS, "overview")
        try:
            for key, data in zip(wanted, pool.map(self._small, wanted), strict=True):
                if data is not None:
                    (self._copies if key.endswith(layout.MANIFEST) else self._known)[key] = data
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _small(self, key: str) -> bytes | None:
        with contextlib.suppress(OSError, RecoupError), self._storage.reader(key, 0, _LARGEST + 1) as reader:
            data = b"".join(iter(lambda: reader.read(_LARGEST + 1), b""))
            return data if len(data) <= _LARGEST else None
        return None

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims; a copy that is no manifest is not believed."""
        key = f"{name}/{layout.MANIFEST}"
        if key not in self._copies and (data := self._small(key)) is not None:
            self._copies[key] = data
        try:
            return self._read(name, self._copies)
        except RefusedError:
            if key not in self._copies:
                raise
        return self._read(name, {})

    def marks(self, name: SetName) -> Sequence[Mark]:
        """What was learned about a set."""
        found = []
        for key in self._marks.get(name, ()):
            try:
                found.append(self._mark(self._mark_file(key)))
            except FileNotFoundError:
                continue
        return found

    def _mark_file(self, key: str) -> bytes:
        if key in self._copies:
            return self._copies[key]
        if key not in self._known:
            self._known[key] = self._storage.get(key)
        return self._known[key]
