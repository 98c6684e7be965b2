"""A stored set, file by file: so that what is damaged can be replaced by what another repository has."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.model.manifest import Compression, Manifest, StoredFile, StoredPart
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart, TreePart
from recoup.model.structs import Struct
from recoup.repository.compressing import compressor
from recoup.repository.plain import layout, sums
from recoup.repository.plain.folder import Style
from recoup.repository.plain.keys import SetKeys
from recoup.repository.plain.packing import TarWriter
from recoup.repository.plain.reading import member_lines, stored_chunks
from recoup.repository.plain.sealed import decode_header, is_header
from recoup.storage._base import Storage

_BLOCK = 1024 * 1024
_ANEW = "Delete this set and make it anew by `recoup copy`."

SumLines = Callable[[Manifest, bytes], Iterator[bytes]]
"""What SHA256SUMS has to say, from a manifest and its bytes."""


class PlainMending(Struct):
    """One set of a plain repository.

    Attributes:
        storage: where it lies.
        name: the set's name.
        keys: opens what is encrypted of it.
        style: how the repository stores; the set's own manifest says more.
        sum_lines: makes its SHA256SUMS.
        path_of: the path that a line of SHA256SUMS names.
    """

    storage: Storage
    name: str
    keys: SetKeys
    style: Style
    sum_lines: SumLines
    path_of: Callable[[str], str]

    def raw(self, path: str) -> Iterator[bytes]:
        """The bytes of a file as they lie there."""
        return stored_chunks(self.storage, f"{self.name}/{path}", path)

    def beside(self) -> list[StoredFile]:
        """The files of an encrypted set that are no parts."""
        data = self.storage.get(f"{self.name}/{layout.MANIFEST}")
        manifest = self.keys.manifest_in(data)
        found = [] if manifest.sealing is None else [manifest.sealing.keys]
        return [*found, decode_header(data, layout.MANIFEST).manifest] if is_header(data) else found

    def listed(self, part: StoredPart) -> Iterator[bytes]:
        """A tree's member list, opened where it is encrypted; it is the same whatever the tree's pack."""
        if part.members is None:
            raise RefusedError(f"{shown(part.path)} has no member list")
        found = part.members
        return self.keys.place.plain(found.path, found.bytes, found.sha256, part.sealed)

    def files(self, part: StoredPart) -> Iterator[tuple[str, StoredFile]]:
        """The files of a tree that is stored as one: name in the tree, and what the member list says of each."""
        for line in member_lines(self.keys.place, part):
            if line.kind == "file":
                yield line.name, StoredFile(layout.member_path(part, line.name), line.bytes, line.sha256)

    def as_stored(self, part: StoredPart, fetched: Part) -> Iterator[bytes]:
        """A part as this set has it stored: compressed, packed.

        Raises:
            RefusedError: it is encrypted, which gives other bytes each time.
        """
        if part.sealed is not None:
            raise RefusedError(f"{shown(part.path)} is encrypted: nobody can make the same bytes again", _ANEW)
        if isinstance(fetched, StreamPart):
            return self._compressed(fetched, part.compression)
        return self._packed(fetched, part)

    def _compressed(self, part: StreamPart, compression: Compression) -> Iterator[bytes]:
        machine = compressor(compression, self.style.level)
        with part.content.open() as reader:
            while data := reader.read(_BLOCK):
                yield machine.compress(data)
        yield machine.flush()

    def _packed(self, tree: TreePart, part: StoredPart) -> Iterator[bytes]:
        folder = None if self.style.spool is None else str(self.style.spool)
        with tempfile.TemporaryFile(dir=folder) as spool:
            self._pack(tree, part, spool)
            spool.seek(0)
            yield from iter(lambda: spool.read(_BLOCK), b"")

    def _pack(self, tree: TreePart, part: StoredPart, spool: IO[bytes]) -> None:
        kinds: dict[str | None, Compression] = {"tar.zst": "zstd", "tar.gz": "gzip"}
        machine = compressor(kinds.get(part.pack, "none"), self.style.level)

        def write(data: bytes) -> None:
            spool.write(machine.compress(data))

        tar = TarWriter(write)
        for member in tree.members:
            if member.content is not None:
                with member.content.open() as reader:
                    tar.entry(member, member.size, iter(lambda r=reader: r.read(_BLOCK), b""))  # type: ignore[misc]
            elif member.name != ".":
                tar.entry(member)
        tar.end()
        spool.write(machine.flush())

    def replace(self, file: StoredFile, chunks: Iterator[bytes]) -> None:
        """Puts a file in the place of the one that is there; only if the bytes are those that the set wants.

        Raises:
            DamagedError: they are not; what is there is as it was.
        """
        self._write(file.path, _exactly(file, chunks))

    def _write(self, path: str, chunks: Iterator[bytes]) -> None:
        """What is there goes when the other bytes have come whole, and not before."""
        key = f"{self.name}/{path}"
        writer = self.storage.writer(key)
        try:
            for chunk in chunks:
                writer.write(chunk)
            self.storage.delete(key)
            writer.commit()
        except BaseException:
            writer.abort()
            raise
        self.storage.sync(self.name)

    def wanted_manifest(self) -> str:
        """The SHA-256 of manifest.json by SHA256SUMS; empty where that cannot be told."""
        try:
            lines = sums.read(self.storage.get(f"{self.name}/{layout.SUMS}"))
            return next((digest for digest, path in lines if self.path_of(path) == layout.MANIFEST), "")
        except (OSError, RecoupError):
            return ""

    def write_sums(self) -> None:
        """Makes SHA256SUMS anew from the manifest and the member lists."""
        data = self.storage.get(f"{self.name}/{layout.MANIFEST}")
        self._write(layout.SUMS, self.sum_lines(self.keys.manifest_in(data), data))


def _exactly(file: StoredFile, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Passes bytes on; raises at the end when they are others than wanted."""
    digest, count = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        count += len(chunk)
        yield chunk
    if (count, digest.hexdigest()) != (file.bytes, file.sha256):
        raise DamagedError(f"what the other repository has is not what {shown(file.path)} has to be")
