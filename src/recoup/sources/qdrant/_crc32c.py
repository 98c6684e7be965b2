"""CRC-32C (Castagnoli), the checksum of Qdrant's write-ahead log. `zlib` has another polynomial.

Byte by byte Python manages some ten megabytes a second. A long piece is therefore cut into many lanes of equal length, which
numpy takes forward together; their sums are then joined, as a CRC is linear: shifting one over a lane of zeros is a fixed map
of 32 bits.
Polynomial: RFC 3720, appendix B.4.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_LANE = 1024  # bytes
_LONG = 64 * _LANE  # bytes; shorter pieces are not worth the lanes


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_entry(value) for value in range(256))


def crc32c(data: bytes | memoryview, start: int = 0) -> int:
    """The checksum of `data`, going on from that of the bytes before it."""
    crc = start ^ 0xFFFFFFFF
    whole = len(data) // _LANE * _LANE if len(data) >= _LONG else 0
    if whole:
        crc = _in_lanes(data[:whole], crc)
    for byte in bytes(data[whole:]):
        crc = crc >> 8 ^ _TABLE[crc & 0xFF ^ byte]
    return crc ^ 0xFFFFFFFF


def _in_lanes(data: bytes | memoryview, crc: int) -> int:
    import numpy as np

    lanes = np.frombuffer(data, dtype=np.uint8).reshape(-1, _LANE)
    table = np.array(_TABLE, dtype=np.uint32)
    sums = np.zeros(len(lanes), dtype=np.uint32)
    for column in lanes.T:
        sums = _forward(table, sums, column)
    first, second, third, fourth = _shift()
    for one in sums.tolist():
        crc = first[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ fourth[crc >> 24] ^ one
    return crc


def _forward(
    table: "NDArray[np.uint32]", sums: "NDArray[np.uint32]", column: "NDArray[np.uint8]"
) -> "NDArray[np.uint32]":
    """Every lane's sum after one more byte."""
    after: NDArray[np.uint32] = sums >> 8 ^ table[(sums & 0xFF) ^ column]
    return after


@lru_cache(maxsize=1)
def _shift() -> tuple[tuple[int, ...], ...]:
    """What a lane of zeros makes of each byte of a sum, by the byte's place."""
    images = []
    for bit in range(32):
        crc = 1 << bit
        for _ in range(_LANE):
            crc = crc >> 8 ^ _TABLE[crc & 0xFF]
        images.append(crc)
    return tuple(tuple(_joined(images[place : place + 8], value) for value in range(256)) for place in (0, 8, 16, 24))


def _joined(images: list[int], value: int) -> int:
    joined = 0
    for bit, image in enumerate(images):
        if value >> bit & 1:
            joined ^= image
    return joined
