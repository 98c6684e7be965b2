"""What holds of a dedup repository whatever was done to its files: a typed error or the right bytes, and no silence."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from recoup.errors import RecoupError
from recoup.model.names import SetName
from recoup.repository._base import Subset
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from unit.repository.dedup.golden import restored

Objects = Mapping[str, bytes]


def objects_of(root: Path) -> dict[str, bytes]:
    """All files of a repository in a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def storage_of(objects: Objects) -> MemoryStorage:
    """A storage with some objects."""
    storage = MemoryStorage()
    for key, data in objects.items():
        storage.put(key, data)
    return storage


def opened_by_key(objects: Objects, key: Path) -> DedupRepository:
    """A repository of these objects, opened by a key file."""
    return DedupRepository("r", storage_of(objects), DedupOptions(key_file=key), SystemClock(), None)


def outcomes(repository: DedupRepository, content: Mapping[str, dict[str, object]]) -> Iterator[tuple[str, bool, bool]]:
    """Reads and verifies every set; whatever is raised besides typed errors comes through.

    Args:
        repository: to look at.
        content: what each set has to yield.

    Yields:
        Of each set that is there, its name, whether it verifies, and whether it can be restored.

    Raises:
        AssertionError: a set yields other bytes than were stored, or verifies and cannot be restored.
    """
    for name in repository.names():
        verifies, restores = _verifies(repository, name), _restores(repository, name, content)
        assert restores or not verifies, f"{name} verifies, and cannot be restored"
        yield str(name), verifies, restores


def _verifies(repository: DedupRepository, name: SetName) -> bool:
    try:
        return not list(repository.verify(name, Subset()))
    except RecoupError as error:
        assert error.hint, error
        return False


def _restores(repository: DedupRepository, name: SetName, content: Mapping[str, dict[str, object]]) -> bool:
    try:
        found = restored(repository, name)
    except RecoupError as error:
        assert error.hint, error
        return False
    assert found == content[str(name)], f"{name} yields other bytes"
    return True
