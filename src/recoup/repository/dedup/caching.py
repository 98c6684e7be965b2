"""What a host keeps of a repository, for a person: how much it is, throwing it away, making it anew."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from recoup.repository.dedup.cache import SEEN, Cache
from recoup.repository.dedup.going_back import accept, gone_back
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.keys import Keys
from recoup.storage._base import Storage


@dataclass(frozen=True)
class CacheState:
    """What a host keeps of a repository.

    Attributes:
        repository: its name.
        folder: where it is kept.
        files: how many files.
        bytes: of these.
        index_files: index files that the storage shows.
        chunks: that these name.
        seen: names of index files, history records and sets that this host saw; by them it notices an older state.
        gone: those of them that are gone and that nobody removed.
        problems: index files and the like that could not be read.
    """

    repository: str
    folder: str
    files: int
    bytes: int
    index_files: int
    chunks: int
    seen: int
    gone: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """What this host keeps of one repository.

    Attributes:
        repository: its name.
        storage: where it is.
        keys: that open it.
        root: the user's cache folder.
        sets: tells the names of the sets that are there, those in the trash too.
    """

    repository: str
    storage: Storage
    keys: Keys
    root: Path
    sets: Callable[[], Iterable[str]]

    @property
    def cache(self) -> Cache:
        """The files."""
        return Cache(self.root, self.keys)

    def state(self) -> CacheState:
        """How much it is, and whether the storage shows an older state than this host saw. Reads what is new."""
        index = Index.load(self.storage, self.keys, self.root)
        gone = gone_back(self.storage, self.cache, index, self.sets())
        sizes = self._sizes()
        return CacheState(
            repository=self.repository,
            folder=str(self.cache.folder),
            files=len(sizes),
            bytes=sum(sizes),
            index_files=len(index.present),
            chunks=len(index),
            seen=len(self.cache.read_seen()),
            gone=gone,
            problems=tuple(error.message for error in index.problems),
        )

    def _sizes(self) -> list[int]:
        found = []
        for name in self.cache.names():
            with contextlib.suppress(OSError):
                found.append((self.cache.folder / name).stat().st_size)
        return found

    def clear(self) -> int:
        """Throws away all but the memory of what was seen, without which an older state would not be noticed; bytes of that."""
        before = sum(self._sizes())
        for name in self.cache.names():
            if name != SEEN:
                self.cache.forget(name)
        return before - sum(self._sizes())

    def rebuild(self) -> CacheState:
        """Throws it away, and reads the index and all else anew."""
        self.clear()
        return self.state()

    def accept(self) -> tuple[str, ...]:
        """Takes what is there now for the state that is right; the names that were missed until now."""
        index, sets = Index.load(self.storage, self.keys, self.root), list(self.sets())
        gone = gone_back(self.storage, self.cache, index, sets)
        accept(self.cache, index, sets)
        return gone
