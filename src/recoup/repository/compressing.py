"""Compression of streams by the usual formats, so that `zstd -d` and `gzip -d` open what we wrote."""

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from recoup.errors import DamagedError
from recoup.model.manifest import Compression

SUFFIX: dict[Compression, str] = {"none": "", "zstd": ".zst", "gzip": ".gz"}
"""What stands behind the name of a compressed file."""

DEFAULT_LEVEL: dict[Compression, int] = {"none": 0, "zstd": 3, "gzip": 6}
"""The programs' own defaults."""

_BLOCK = 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS  # zlib.h: adding 16 selects the gzip format


class Compressor(Protocol):
    """Bytes in, compressed bytes out."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Takes bytes; returns what is ready."""
        ...

    def flush(self) -> bytes:
        """Ends the stream; returns the rest."""
        ...


class _Plain:
    def compress(self, data: bytes | memoryview, /) -> bytes | memoryview:
        return data

    def flush(self) -> bytes:
        return b""


def compressor(kind: Compression, level: int | None = None) -> Compressor:
    """A fresh compressor.

    Args:
        kind: the format.
        level: the format's own level; its usual default when None.
    """
    level = DEFAULT_LEVEL[kind] if level is None else level
    if kind == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
    if kind == "gzip":
        return zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    return _Plain()  # type: ignore[return-value] # buffers pass through as they are


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: Any, /) -> bytes: ...


def _decompressor(kind: Compression) -> _Decompressor:
    if kind == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
    return zlib.decompressobj(_GZIP)


def decompressed(chunks: Iterator[bytes], kind: Compression) -> Iterator[bytes]:
    """The plain bytes of a stored stream.

    Raises:
        DamagedError: the compressed stream is broken, ends early, or has something behind its end.
    """
    if kind == "none":
        yield from chunks
        return
    machine = _decompressor(kind)
    for chunk in chunks:
        # small steps, so that a short piece that expands a thousandfold stays a bounded buffer
        for start in range(0, len(chunk), _BLOCK // 64):
            if machine.eof:
                raise DamagedError("there are bytes behind the end of the compressed stream")
            try:
                plain = machine.decompress(chunk[start : start + _BLOCK // 64])
            except Exception as error:  # noqa: BLE001 - zlib.error or zstandard.ZstdError, which exists once imported
                raise DamagedError(f"the compressed stream is broken: {error}") from None
            if plain:
                yield plain
    if not machine.eof or machine.unused_data:
        raise DamagedError("the compressed stream ends early or has something behind its end")
