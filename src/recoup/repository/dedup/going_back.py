"""Noticing that the storage shows an older state than this host saw (`docs/format.md`, Going back)."""

from collections.abc import Collection, Iterable

from recoup.repository.dedup import history, index_files
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.history import Record
from recoup.repository.dedup.index import Index
from recoup.repository.plain import layout
from recoup.storage._base import Storage


def gone_back(storage: Storage, cache: Cache, index: Index, sets: Iterable[str]) -> tuple[str, ...]:
    """Names that this host saw, that are gone, and that nobody removed. When there are none, what is there now is noted.

    Args:
        storage: where: what a listing lacks is asked for by itself, since listings may be late.
        cache: remembers what was seen.
        index: as it is now.
        sets: names of the sets that are there now, those in the trash too.
    """
    seen, present = cache.read_seen(), _present(index, sets)
    listed = went_back(seen, present | _stood_for(index), index.records)
    gone = tuple(name for name in listed if not _is_there(storage, name))
    if not gone and seen != present:
        cache.write_seen(present)
    return gone


def saw(cache: Cache, names: Iterable[str]) -> None:
    """Notes what this host has just stored itself: names of sets, and of index files in their folder."""
    cache.write_seen(set(cache.read_seen()) | set(names))


def went_back(seen: Collection[str], present: Collection[str], history: Iterable[Record]) -> tuple[str, ...]:
    """Names that were there, are gone, and that nobody removed: the storage shows an older state.

    Args:
        seen: keys of index files and history records, and names of sets, that this host saw.
        present: those that are there now, and the index files that one of those replaces.
        history: the records that are there now.

    Returns:
        The names, sorted; empty when all is accounted for.
    """
    removed = {
        name for record in history for name in (*record.removed_index, *record.removed_sets, *record.removed_history)
    }
    gone = set(seen) - set(present)
    return tuple(sorted(name for name in gone if name.rpartition("/")[2] not in removed))


def accept(cache: Cache, index: Index, sets: Iterable[str]) -> None:
    """Takes what is there now for the state that is right. Arguments as of `gone_back`."""
    cache.write_seen(_present(index, sets))


def _present(index: Index, sets: Iterable[str]) -> set[str]:
    names = {f"{index_files.FOLDER}/{name}" for name in index.present}
    names |= {f"{history.FOLDER}/{record.name}" for record in index.records}
    return names | set(sets)


def _stood_for(index: Index) -> set[str]:
    """Index files that one of the owner's stands for: they may be gone."""
    return {f"{index_files.FOLDER}/{name}" for name in index.replaced}


def _is_there(storage: Storage, name: str) -> bool:
    try:
        storage.size(name if "/" in name else f"{name}/{layout.MANIFEST}")
    except FileNotFoundError:
        return False
    return True
