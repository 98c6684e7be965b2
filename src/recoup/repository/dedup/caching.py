"""What a host keeps of a repository, for a person: how much it is, throwing it away, making it anew."""

import contextlib
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from recoup.model.structs import Struct
from recoup.repository.dedup.cache import SEEN, Cache
from recoup.repository.dedup.going_back import accept, gone_back
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.index_files import FOLDER
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.near import NearPacks
from recoup.storage._base import Storage
from recoup.system.tempdirs import remove_tree


class CacheState(Struct):
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


class Kept(Struct):
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

    @property
    def _near(self) -> NearPacks:
        """The copies of packs, none of which may stay."""
        return NearPacks.of(self.root, self.keys.repository)

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

    def gone_index_files(self, index: Index) -> tuple[str, ...]:
        """Names of index files that this host saw, and that are gone though nobody removed them.

        Args:
            index: as it is now.
        """
        folder = f"{FOLDER}/"
        gone = gone_back(self.storage, self.cache, index, self.sets())
        return tuple(name.removeprefix(folder) for name in gone if name.startswith(folder))

    def _sizes(self) -> list[int]:
        """Bytes of the files, those in folders too."""
        found = []
        for path in self.cache.folder.rglob("*"):
            with contextlib.suppress(OSError):  # thrown away meanwhile
                if stat.S_ISREG((status := path.lstat()).st_mode):
                    found.append(status.st_size)
        return found

    def clear(self) -> int:
        """Throws away all but the memory of what was seen, without which an older state would not be noticed; bytes of that."""
        before = sum(self._sizes())
        with contextlib.suppress(FileNotFoundError):
            for path in self.cache.folder.iterdir():
                if path.name != SEEN:
                    remove_tree(path)
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
