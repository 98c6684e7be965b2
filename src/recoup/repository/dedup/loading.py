"""Reading all index files of a repository, as few of them as the cache allows (`docs/format.md`, Index)."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoup.errors import DamagedError, RecoupError
from recoup.model.names import shown
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.columns import Columns, Table, chosen, columns_of, joined
from recoup.repository.dedup.index_files import FOLDER, MAX_FILE, FileFacts, decode_index, is_index_name
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.segments import mapped, read_tables, write_tables
from recoup.storage._base import Storage

SEGMENT = 262_144
"""Rows that no table has more of, so that joining tables takes little memory."""

HELD = 16_384
"""Rows of a table that stays in memory."""

_PENDING = 65_536  # rows that are joined at once
_ROUNDS = 8  # listings, while others remove what was listed
_THREADS = 8  # requests at once
_AHEAD = 4 * 1024 * 1024  # bytes of files that are asked for before they are wanted


class Loading:
    """One reading of all index files.

    Args:
        storage: where.
        keys: of the repository.
        cache: keeps tables; None keeps nothing.

    Attributes:
        tables: what was read.
        present: names of the index files that the storage shows.
        unread: names of those that could not be read, and why; not those that one of the owner's stands for.
        problems: what else went wrong.
    """

    def __init__(self, storage: Storage, keys: Keys, cache: Cache | None) -> None:
        self._storage, self._keys, self._cache = storage, keys, cache
        self.tables = read_tables(cache) if cache else []
        self.present = frozenset[str]()
        self.unread = dict[str, RecoupError]()
        self.problems = list[RecoupError]()
        self._tried = {file.name for file in self._files()}
        self._pending = list[Columns]()
        self._read_all()
        self._drop()
        for name in replaced_by_owner(self._files(), keys):
            self.unread.pop(name, None)
        if cache is not None:
            write_tables(cache, self.tables)

    def _files(self) -> Iterator[FileFacts]:
        return (file for table in self.tables for file in table.files)

    def _read_all(self) -> None:
        """Reads until a listing shows nothing new: a prune may replace files that were listed, meanwhile."""
        for _ in range(_ROUNDS):
            sizes = self._listed()
            replaced = replaced_by_owner((file for file in self._files() if file.name in sizes), self._keys)
            fresh = sorted(sizes.keys() - self._tried - replaced)
            self._tried.update(fresh)
            if not self._take(fresh, sizes):
                return
        self.problems.append(DamagedError("index files went away again and again while they were read", "Try again."))

    def _listed(self) -> dict[str, int]:
        sizes = {}
        for found in self._storage.list(FOLDER):
            name = found.key.removeprefix(f"{FOLDER}/")
            if is_index_name(name) and found.link is None:
                sizes[name] = found.size
        self.present = frozenset(sizes)
        return sizes

    def _take(self, names: Sequence[str], sizes: dict[str, int]) -> bool:
        """Reads files; returns whether one was gone."""
        gone = False
        for name, data in self._fetched([name for name in names if self._is_sane(name, sizes[name])], sizes):
            if data is None:
                gone = True
                continue
            try:
                if isinstance(data, RecoupError):
                    raise data
                self._pending.append(columns_of(decode_index(data, self._keys, name)))
            except RecoupError as error:
                self.unread[name] = error
            if sum(map(len, self._pending)) >= _PENDING:
                self._join()
        self._join()
        return gone

    def _is_sane(self, name: str, size: int) -> bool:
        if size > MAX_FILE:
            self.unread[name] = DamagedError(f"{FOLDER}/{name} is longer than any index file", "Run `recoup repair`.")
        return size <= MAX_FILE

    def _fetched(self, names: Sequence[str], sizes: dict[str, int]) -> Iterator[tuple[str, bytes | RecoupError | None]]:
        """Files, some requests ahead of whoever takes them."""
        if len(names) < 3:
            yield from ((name, self._get(name)) for name in names)
            return
        pool = ThreadPoolExecutor(_THREADS, "index")
        try:
            waiting: list[tuple[str, Future[bytes | RecoupError | None]]] = []
            ahead = 0
            for name in names:
                waiting.append((name, pool.submit(self._get, name)))
                ahead += sizes[name]
                while ahead > _AHEAD or len(waiting) > 4 * _THREADS:
                    ready, task = waiting.pop(0)
                    ahead -= sizes[ready]
                    yield ready, task.result()
            yield from ((name, task.result()) for name, task in waiting)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _get(self, name: str) -> bytes | RecoupError | None:
        try:
            return self._storage.get(f"{FOLDER}/{name}")
        except FileNotFoundError:
            return None
        except OSError as error:
            why = f"{FOLDER}/{shown(name)} cannot be read: {error.strerror or error}"
            return DamagedError(why, "Look after the storage.")

    def _join(self) -> None:
        if self._pending:
            self.tables.append(joined(self._pending))
            self._pending = []
            append_joining(self.tables, self._cache)

    def _drop(self) -> None:
        """Lets go of what is no more there, and of what another file stands for."""
        files = list(self._files())
        standing = {file.name: file for file in files if file.name in self.present}
        dropped = {
            name
            for file in standing.values()
            for name in file.replaces
            if name in standing and name != file.name and file.signed_by in (self._keys.owner, standing[name].signed_by)
        }
        kept = standing.keys() - dropped
        self.tables = [
            table if keep.all() else _put_down(chosen(table, keep), self._cache)
            for table in self.tables
            if (keep := np.array([file.name in kept for file in table.files], np.bool_)).any()
        ]


def replaced_by_owner(files: Iterator[FileFacts], keys: Keys) -> set[str]:
    """Names of the index files that others, of the owner's, stand for."""
    return {name for file in files if file.signed_by == keys.owner for name in file.replaces}


def newest_first(names: Sequence[str]) -> NDArray[Any]:
    """Places of index files, the newest first: their names begin with a moment; those of a run under way have none yet."""
    order = sorted(range(len(names)), key=lambda i: (not names[i], names[i]), reverse=True)
    return np.array(order, np.int64)


def append_joining(tables: list[Table], cache: Cache | None = None) -> None:
    """Joins the last tables while they are of like size, so that there are few of them and each row is moved seldom.

    Args:
        tables: of which the last one is new.
        cache: keeps what is too large to stay in memory; None: a temporary file does.
    """
    while len(tables) > 1 and len(tables[-2]) <= 2 * len(tables[-1]) and len(tables[-2]) + len(tables[-1]) <= SEGMENT:
        tables[-2:] = [joined(tables[-2:])]
    tables[-1] = _put_down(tables[-1], cache)


def _put_down(table: Table, cache: Cache | None) -> Table:
    return mapped(table, cache) if len(table) > HELD else table
