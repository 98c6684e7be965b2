"""Files that are stored once: what equals the copy in an earlier set, byte by byte, shares it (`docs/format.md`, Stored once)."""

from collections.abc import Callable, Iterable

from recoup.errors import RecoupError
from recoup.model.manifest import Manifest, StoredPart
from recoup.model.names import SetName
from recoup.model.part import Content
from recoup.repository.hashing import Hasher
from recoup.storage._base import ByteReader, Storage

_BLOCK = 1024 * 1024

Earlier = Callable[[str, str], str | None]
"""Source and part to the key of the part in an earlier set; None when no set has it in a form that can be shared."""


def nothing_earlier(_source: str, _part: str) -> str | None:
    """There are no earlier sets."""
    return None


def earlier_parts(names: Iterable[SetName], manifest: Callable[[SetName], Manifest], stack: str) -> Earlier:
    """Looks for parts in the sets of one stack.

    Args:
        names: of the sets to look at, the best first.
        manifest: reads one.
        stack: its name; other stacks' sources may have the same names.
    """
    waiting, seen = iter(names), list[Manifest]()

    def next_manifest() -> Manifest | None:
        for name in waiting:
            try:
                found = manifest(name)
            except (RecoupError, OSError):
                continue  # `verify` tells; here it only means that nothing is shared with it
            if found.stack == stack:
                seen.append(found)
                return found
        return None

    def earlier(source: str, part: str) -> str | None:
        for found in seen:
            if key := _key_in(found, source, part):
                return key
        while (fresh := next_manifest()) is not None:
            if key := _key_in(fresh, source, part):
                return key
        return None

    return earlier


def _key_in(manifest: Manifest, source: str, part: str) -> str | None:
    record = manifest.sources.get(source)
    stored = next((p for p in record.parts if p.name == part), None) if record else None
    return f"{manifest.name}/{stored.path}" if stored and _shareable(stored) else None


def _shareable(stored: StoredPart) -> bool:
    """Whether the stored bytes are the plain ones."""
    return not stored.sealed and (stored.pack == "tree" if stored.kind == "tree" else stored.compression == "none")


def same_as(content: Content, storage: Storage, key: str) -> Hasher | None:
    """Compares a content with a stored object to the last byte.

    Neither times nor recorded hashes are believed: so a stored copy that was damaged meanwhile is never shared.

    Returns:
        The hash of the content when they are equal; None when they differ, either cannot be read, or the content changed
        while it was read (whoever stores it reads it again, and sees why).
    """
    hasher = Hasher()
    try:
        with content.open() as reader, storage.reader(key) as stored:
            while data := reader.read(_BLOCK):
                if _exactly(stored, len(data)) != data:
                    return None
                hasher.update(data)
            equal = not stored.read(1) and not reader.changed
    except OSError:
        return None
    finally:
        hasher.close()
    return hasher if equal else None


def _exactly(reader: ByteReader, size: int) -> bytes:
    data = reader.read(size)
    while len(data) < size and (more := reader.read(size - len(data))):
        data += more
    return data
