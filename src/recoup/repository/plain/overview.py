"""All sets at once: read one by one, or by means of the catalogue."""

from collections.abc import Callable, Sequence

from recoup.errors import RefusedError
from recoup.model.manifest import Manifest
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.repository._base import Repository
from recoup.repository.plain import layout
from recoup.repository.plain.catalog import Copies, set_of
from recoup.storage._base import Storage


class OneByOne:
    """An overview that asks for each set when it is wanted.

    Args:
        repository: whose sets.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository, self._marked = repository, repository.marked()
        self.names: Sequence[SetName] = repository.names()

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
    """

    def __init__(
        self,
        names: Callable[[], Sequence[SetName]],
        storage: Storage,
        copies: Copies,
        read: Callable[[SetName, Copies], Manifest],
        mark: Callable[[bytes], Mark],
    ) -> None:
        self._storage, self._copies, self._read, self._mark = storage, copies, read, mark
        self._marks: dict[SetName, list[str]] = {}
        for found in storage.list(layout.MARKS):
            if (name := set_of(found.key)) is not None:
                self._marks.setdefault(name, []).append(found.key)
        self.names = names()

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims; a copy that is no manifest is not believed."""
        try:
            return self._read(name, self._copies)
        except RefusedError:
            if f"{name}/{layout.MANIFEST}" not in self._copies:
                raise
        return self._read(name, {})

    def marks(self, name: SetName) -> Sequence[Mark]:
        """What was learned about a set."""
        found = []
        for key in self._marks.get(name, ()):
            try:
                found.append(self._mark(self._copies.get(key) or self._storage.get(key)))
            except FileNotFoundError:
                continue
        return found
