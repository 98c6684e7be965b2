"""The encodings of single chunks (`docs/format.md`, Packs): raw, zstd, and planes of bytes for rows of numbers.

Of float32 rows, the bytes that hold the exponent can be compressed, those of the mantissa cannot. Mixed, they hide that from
zstd; sorted into planes, each is compressed or stored as it is. Normalised float32 vectors take 83 % of their size as planes,
against 92 % by zstd 3, and in half the time.

All here may be called by several threads: compressors belong to one thread each; they and numpy work without the interpreter's
lock.
"""

import struct
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recoup.errors import DamagedError, RefusedError
from recoup.repository.dedup.rows import DELTA, MAX_CHUNK, MAX_DICTIONARY

if TYPE_CHECKING:
    import zstandard

Buffer = bytes | memoryview
Encoded = tuple[int, Buffer]
_Way = Callable[[Buffer], Encoded]

RAW, ZSTD = 0, 1
PLANES = (4, 2)
"""The encodings in planes, each the count of its planes."""

_SAMPLE = 64 * 1024  # bytes on which encodings are tried
_TRIAL_EVERY = 64  # chunks after which they are tried again
_OFF = 0.08  # share of a chunk by which its result may differ from the trial's, before they are tried again
_WORTH = 0.99  # of a chunk or plane: what shrinks less is stored as it is, and read back faster
_AS_IT_IS = 1 << 31
_HEAD = struct.Struct("<I")
_HINT = "Run `recoup verify` to see which sets it touches."
_own = threading.local()


class Encoder:
    """Encodes the chunks of one extent in the way that did best on a sample of it.

    The way is tried on the first chunk, on every 64th, and behind each chunk that came out otherwise than the sample, since an
    extent may be a whole file whose content changes inside.
    """

    def __init__(self) -> None:
        self._way: _Way = _raw
        self._share = 1.0
        self._left = 0

    def encode(self, chunk: Buffer) -> Encoded:
        """The encoding's number and the bytes to be stored, which are the chunk itself where nothing shrinks it."""
        if self._left <= 0:
            self._way, self._share = _tried(chunk)
            self._left = _TRIAL_EVERY
        self._left -= 1
        found = self._way(chunk)
        if abs(len(found[1]) / len(chunk) - self._share) > _OFF:
            self._left = 0
        return found


def _tried(chunk: Buffer) -> tuple[_Way, float]:
    """The way that makes a sample from the chunk's middle smallest, and the share of it that is left."""
    begin = max(0, (len(chunk) - _SAMPLE) // 2)
    sample = memoryview(chunk)[begin : begin + _SAMPLE]
    sizes = [len(way(sample)[1]) for way in _WAYS]
    best = min(range(len(_WAYS)), key=sizes.__getitem__)
    return _WAYS[best], sizes[best] / len(sample)


def _raw(chunk: Buffer) -> Encoded:
    return RAW, chunk


def _zstd(chunk: Buffer) -> Encoded:
    packed = _compressor("text").compress(chunk)
    return (ZSTD, packed) if len(packed) < len(chunk) * _WORTH else (RAW, chunk)


def _planes(count: int, kind: str, chunk: Buffer) -> Encoded:
    """The chunk in planes, each compressed where that is worth it."""
    column = np.frombuffer(chunk, np.uint8)
    pieces: list[Buffer] = []
    for i in range(count):
        plane = column[i::count].copy().data
        packed: Buffer = _compressor(kind).compress(plane)
        head = len(packed)
        if head >= len(plane) * _WORTH:
            packed, head = plane, len(plane) | _AS_IT_IS
        pieces += (_HEAD.pack(head), packed)
    data = b"".join(pieces)
    return (count, data) if len(data) < len(chunk) * _WORTH else (RAW, chunk)


# For each count of planes twice: in the exponents of embeddings nothing repeats by more than chance, and zstd without its matches
# makes them 11 % smaller than level 1 and in a third of the time; where numbers repeat (ids, float16 in float32), level 1 wins.
_WAYS: Sequence[_Way] = (
    _zstd,
    *(partial(_planes, count, kind) for count in PLANES for kind in ("numbers", "repeats")),
    _raw,
)


def _compressor(kind: str) -> "zstandard.ZstdCompressor":
    """This thread's compressor for text, numbers or repeats."""
    found: zstandard.ZstdCompressor | None = getattr(_own, kind, None)
    if found is None:
        found = _new_compressor(kind)
        setattr(_own, kind, found)
    return found


def _new_compressor(kind: str) -> "zstandard.ZstdCompressor":
    import zstandard

    if kind == "numbers":
        # the longest shortest match and the smallest table: what is left is the coding of single bytes by their frequency
        few = zstandard.ZstdCompressionParameters.from_level(
            1, strategy=zstandard.STRATEGY_FAST, min_match=7, hash_log=6
        )
        return zstandard.ZstdCompressor(compression_params=few)
    return zstandard.ZstdCompressor(level=3 if kind == "text" else 1)


def decode(encoding: int, data: Buffer, length: int, base: bytes = b"") -> bytes:
    """The chunk, of which only its length was checked: whoever reads compares its id.

    Args:
        encoding: the encoding's number.
        data: what was stored of it.
        length: of the chunk, in bytes.
        base: of encoding 17, its bases behind one another.

    Raises:
        DamagedError: it is not a chunk of that length in that encoding. No more memory than the chunk's is taken to find out.
        RefusedError: the encoding is not known.
    """
    if not 0 < length <= MAX_CHUNK:
        raise _wrong(f"it cannot have {length:,} bytes")
    if encoding == RAW:
        return bytes(_of_length(data, length))
    if encoding == ZSTD:
        return _unpacked(data, length)
    if encoding in PLANES:
        return _joined(encoding, memoryview(data), length)
    if encoding == DELTA:
        if not 0 < len(base) <= MAX_DICTIONARY:
            raise _wrong(f"its bases have {len(base):,} bytes together")
        return _unpacked(data, length, base)
    raise RefusedError(
        f"a chunk is in encoding {encoding}, which this Recoup does not know",
        "Use the Recoup that wrote it, or a newer one.",
    )


def _unpacked(data: Buffer, length: int, base: bytes = b"") -> bytes:
    """The content of a zstd frame that says itself how long it is."""
    import zstandard

    try:
        if zstandard.frame_content_size(data) != length:
            raise _wrong("its frame has another length")
        # the output is taken in one piece of the length that was compared
        return _decompressor(base).decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _wrong(str(error)) from None


def _decompressor(base: bytes) -> "zstandard.ZstdDecompressor":
    """A decompressor with a raw dictionary, or this thread's own without any."""
    import zstandard

    if base:
        return zstandard.ZstdDecompressor(
            dict_data=zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        )
    found: zstandard.ZstdDecompressor | None = getattr(_own, "reader", None)
    if found is None:
        found = _own.reader = zstandard.ZstdDecompressor()
    return found


def _joined(count: int, data: memoryview, length: int) -> bytes:
    """The chunk from its planes."""
    column: NDArray[np.uint8] = np.empty(length, np.uint8)
    at = 0
    for i in range(count):
        if len(data) - at < _HEAD.size:
            raise _wrong("a plane is missing")
        head = _HEAD.unpack_from(data, at)[0]
        begin, at = at + _HEAD.size, at + _HEAD.size + (head & ~_AS_IT_IS)
        if at > len(data):
            raise _wrong("a plane is cut short")
        here, stored = column[i::count], data[begin:at]
        plane = _of_length(stored, len(here)) if head & _AS_IT_IS else _unpacked(stored, len(here))
        here[:] = np.frombuffer(plane, np.uint8)
    if at != len(data):
        raise _wrong("something stands behind its planes")
    return column.tobytes()


def _of_length(data: Buffer, length: int) -> Buffer:
    if len(data) != length:
        raise _wrong(f"it has {len(data):,} bytes instead of {length:,}")
    return data


def _wrong(how: str) -> DamagedError:
    return DamagedError(f"a stored chunk is broken: {how}", _HINT)
