"""What a host keeps of a repository to save requests, and to notice that the storage shows an older state.

Every file ends with a keyed BLAKE3 under a key that follows from the dedup key: what does not bear it is thrown away.
"""

import base64
import contextlib
import json
from collections.abc import Collection
from pathlib import Path

import blake3

from recoup.repository.dedup.keys import Keys, derived
from recoup.system.caching import write_cached

FOLDER = "dedup"
TAG_BYTES = 32
_LARGEST = 256 * 1024 * 1024  # bytes of a file that is read at once
SEEN = "seen"
"""The file with the names that this host saw: by it, it notices an older state."""


class Cache:
    """The files that are kept of one repository.

    Args:
        root: the user's cache folder (`recoup.system.caching.cache_folder`).
        keys: of the repository.
    """

    def __init__(self, root: Path, keys: Keys) -> None:
        self.folder = root / FOLDER / keys.repository
        self._key = derived("cache", keys.dedup)

    def hasher(self, name: str) -> blake3.blake3:
        """What makes the last 32 bytes of a file out of those before."""
        return blake3.blake3(name.encode() + b"\0", key=self._key)

    def read(self, name: str) -> bytes | None:
        """A file's content; None when there is none, or it is not what was written."""
        path = self.folder / name
        try:
            if path.is_symlink() or path.stat().st_size > _LARGEST:
                return None
            data = path.read_bytes()
        except OSError:
            return None
        content, tag = data[:-TAG_BYTES], data[-TAG_BYTES:]
        if len(tag) != TAG_BYTES or self.hasher(name).update(content).digest() != tag:
            self.forget(name)
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Keeps a file, where the place can be written."""
        tag = self.hasher(name).update(content).digest()
        write_cached(self.folder / name, lambda file: file.writelines((content, tag)))

    def forget(self, name: str) -> None:
        """Removes a file; harmless when there is none."""
        with contextlib.suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The names of all files that are whole."""
        with contextlib.suppress(OSError):
            return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        return []

    def read_objects(self, name: str) -> dict[str, bytes]:
        """Small objects of the storage by their keys; empty when none are kept."""
        content = self.read(name)
        if content is None:
            return {}
        return {key: base64.b64decode(data) for key, data in json.loads(content).items()}

    def write_objects(self, name: str, objects: dict[str, bytes]) -> None:
        """Keeps small objects of the storage."""
        self.write(name, json.dumps({key: base64.b64encode(data).decode() for key, data in objects.items()}).encode())

    def read_seen(self) -> frozenset[str]:
        """The names that this host saw in the storage; empty when it is new, or its memory was lost."""
        content = self.read(SEEN)
        return frozenset(json.loads(content)) if content is not None else frozenset()

    def write_seen(self, names: Collection[str]) -> None:
        """Keeps the names that this host saw in the storage."""
        self.write(SEEN, json.dumps(sorted(names)).encode())
