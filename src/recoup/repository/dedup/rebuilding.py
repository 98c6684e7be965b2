"""Making index files anew from packs, when index files were lost (`docs/format.md`, Damage and removal)."""

import copy
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import count

from recoup.errors import DamagedError, RecoupError, RefusedError, WrongKeyError
from recoup.model.structs import Struct
from recoup.repository.dedup.damaged import Damaged, write_damaged
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.index_files import fits, write_index
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.pack_checks import PackCheck
from recoup.repository.dedup.packs import FOLDER, Packed, PackRef, UnfinishedError, read_directory
from recoup.repository.dedup.reading import Chunks
from recoup.repository.dedup.rows import RUN_BYTES
from recoup.storage._base import Storage

_THREADS = 2


class Rebuilt(Struct):
    """What was made anew.

    Attributes:
        names: of the index files that were written.
        packs: that they name.
        damaged: chunks in these that cannot be read; a damage record tells.
        problems: packs of which no index can be made: damaged, or being written now.
    """

    names: tuple[str, ...]
    packs: tuple[PackRef, ...]
    damaged: frozenset[Damaged]
    problems: tuple[RecoupError, ...]


def unnamed_packs(storage: Storage, index: Index) -> list[PackRef]:
    """The packs that lie in the storage, and that no index file names which could be read."""
    named = index.packs
    found = (PackRef.at(o.key) for o in storage.list(FOLDER) if o.link is None)
    return sorted(ref for ref in found if ref is not None and ref not in named)


def rebuilt(
    storage: Storage,
    keys: Keys,
    index: Index,
    moment: datetime,
    advance: Callable[[int], None] = lambda _bytes: None,
    gone: Collection[str] = (),
) -> Rebuilt:
    """Makes index files of all packs that none names. They stand for those that are damaged or gone, too, if every pack could be
    read.

    Each chunk is decoded and compared with its id before the owner signs for it: otherwise whoever can put a pack into
    the storage could have others refer to chunks that they never stored.

    Args:
        storage: where.
        keys: the owner's.
        index: what could be read; takes in what is found.
        moment: for the names of what is written.
        advance: is told of bytes read.
        gone: names of index files that were there once, and are no longer.

    Raises:
        WrongKeyError: this host can only add sets.
    """
    if not keys.can_read:
        raise WrongKeyError("an index cannot be made anew on this host", "Use a host that can read sets.")
    packs, problems = _directories(storage, keys, index)
    damaged = frozenset(_damaged(Chunks(storage, keys, index), packs, advance))
    write_damaged(storage, keys, moment, damaged)  # first: nobody may take these for stored
    # a pack that a killed run began was in none of them
    unclear = any(not isinstance(problem, UnfinishedError) for problem in problems)
    lost = () if unclear else sorted({*_lost_files(index), *gone})
    names = _written(storage, keys, moment, map(index.packed, packs), lost)
    return Rebuilt(tuple(names), tuple(packs), damaged, tuple(problems))


def _directories(storage: Storage, keys: Keys, index: Index) -> tuple[list[PackRef], list[RecoupError]]:
    """The packs that the index takes in, and why not the others. None of their rows stays in memory but there."""
    packs, problems, before = list[PackRef](), list[RecoupError](), copy.copy(index)
    for ref in unnamed_packs(storage, index):
        try:
            found = read_directory(storage, ref, keys)
            _require_no_others(found, before)
        except RecoupError as error:
            problems.append(error)
        else:
            index.add(found)
            packs.append(ref)
    return packs, problems


def _require_no_others(packed: Packed, index: Index) -> None:
    """Refuses a pack that has other chunks under addresses whose chunks are known: sets would be taken away by it."""
    for row in packed.rows:
        known = index.at(row.run, row.number)
        if known is not None and known.row.id != row.id:
            raise DamagedError(
                f"{packed.ref.key} has other chunks under addresses that are taken",
                "Some host put it there that should not; nothing needs it.",
            )


def _damaged(chunks: Chunks, packs: Sequence[PackRef], advance: Callable[[int], None]) -> Iterator[Damaged]:
    """Chunks that cannot be read. All packs are in the index by now: bases may lie in any of them."""
    facts = chunks.index.packs
    with ThreadPoolExecutor(_THREADS) as pool:
        for ref in packs:
            check = PackCheck(chunks, ref, chunks.index.of_pack(ref), facts[ref].digest, facts[ref].size, advance)
            yield from ((ref, identity) for identity in check.run(pool))


def _lost_files(index: Index) -> list[str]:
    """Index files that nobody can read; those of a later version are another Recoup's."""
    return sorted(name for name, error in index.unread.items() if not isinstance(error, RefusedError))


def _written(
    storage: Storage, keys: Keys, moment: datetime, packed: Iterable[Packed], lost: Sequence[str]
) -> Iterator[str]:
    run, groups = secrets.token_bytes(RUN_BYTES), _groups(packed)
    group = next(groups, [] if lost else None)
    for sequence in count():
        if group is None:
            return
        following = next(groups, None)
        replaces = lost if following is None else ()  # what is lost is stood for when all is there again
        yield write_index(storage, keys, moment, run, sequence, group, replaces)
        group = following


def _groups(packed: Iterable[Packed]) -> Iterator[list[Packed]]:
    group = list[Packed]()
    for one in packed:
        if group and not fits([*group, one]):
            yield group
            group = []
        group.append(one)
    if group:
        yield group
