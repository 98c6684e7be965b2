"""From settings to a repository."""

from recoup.model.manifest import Compression, Pack
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.plain.writing import Style
from recoup.storage._base import Storage
from recoup.system.clock import Clock


def open_repository(
    name: str, storage: Storage, pack: Pack, compression: Compression, level: int | None, clock: Clock
) -> PlainRepository:
    """The repository on a storage; it need not be there yet.

    Args:
        name: what the configuration calls it.
        storage: where.
        pack: how new trees are stored.
        compression: of new streams.
        level: the compression's own level; its usual default when None.
        clock: time.
    """
    return PlainRepository(name, storage, Style(pack, compression, level), clock)
