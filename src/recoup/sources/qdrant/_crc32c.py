"""CRC-32C (Castagnoli), the checksum of Qdrant's write-ahead log. `zlib` has another polynomial.

Byte by byte Python manages some ten megabytes a second. A long piece is therefore cut into many lanes of equal length, which
numpy takes forward together, four bytes at a time; neighbours are then joined, until one sum is left. That works because a CRC is
linear: what a sum becomes behind so many zeros is a fixed map of its 32 bits.
Polynomial: RFC 3720, appendix B.4.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_LANE = 128  # bytes, a multiple of four
_LONG = 32 * _LANE  # bytes; shorter pieces are not worth the lanes


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

    words = np.ascontiguousarray(np.frombuffer(data, dtype="<u4").reshape(-1, _LANE // 4).T)
    sums = np.zeros(words.shape[1], dtype=np.uint32)
    sums[0] = crc
    low, high = _tables()
    for word in words:
        sums ^= word
        sums = low[sums & 0xFFFF] ^ high[sums >> 16]
    level = 0
    while len(sums) > 1:
        sums = _halved(sums, level)
        level += 1
    return int(sums[0])


def _halved(sums: "NDArray[np.uint32]", level: int) -> "NDArray[np.uint32]":
    """The sums of pairs of neighbours; where they are odd, nothing but zeros came before the first."""
    import numpy as np

    if len(sums) % 2:
        sums = np.concatenate((np.zeros(1, dtype=np.uint32), sums))
    first, second, third, fourth = _shift(level)
    left = sums[::2]
    joined: NDArray[np.uint32] = (
        first[left & 0xFF] ^ second[left >> 8 & 0xFF] ^ third[left >> 16 & 0xFF] ^ fourth[left >> 24] ^ sums[1::2]
    )
    return joined


@lru_cache(maxsize=1)
def _tables() -> tuple["NDArray[np.uint32]", "NDArray[np.uint32]"]:
    """What four bytes make of a sum that they were added to: by its lower and its upper half."""
    import numpy as np

    one = np.array(_TABLE, dtype=np.uint32)
    two = _behind(one)
    three = _behind(two)
    four = _behind(three)
    halves = np.arange(1 << 16)
    return four[halves & 0xFF] ^ three[halves >> 8], two[halves & 0xFF] ^ one[halves >> 8]


def _behind(table: "NDArray[np.uint32]") -> "NDArray[np.uint32]":
    """A table of sums, each behind one more byte of zeros."""
    import numpy as np

    forward: NDArray[np.uint32] = table >> 8 ^ np.array(_TABLE, dtype=np.uint32)[table & 0xFF]
    return forward


@lru_cache(maxsize=64)
def _shift(level: int) -> tuple["NDArray[np.uint32]", ...]:
    """What zeros make of each byte of a sum, by the byte's place: those of one lane, and twice as many on each further level."""
    import numpy as np

    images = [_behind_zeros(1 << bit, level) for bit in range(32)]
    return tuple(
        np.array([_joined(images[place : place + 8], value) for value in range(256)], dtype=np.uint32)
        for place in (0, 8, 16, 24)
    )


def _behind_zeros(crc: int, level: int) -> int:
    if level:
        tables = _shift(level - 1)
        for _ in range(2):
            crc = int(
                tables[0][crc & 0xFF] ^ tables[1][crc >> 8 & 0xFF] ^ tables[2][crc >> 16 & 0xFF] ^ tables[3][crc >> 24]
            )
        return crc
    for _ in range(_LANE):
        crc = crc >> 8 ^ _TABLE[crc & 0xFF]
    return crc


def _joined(images: list[int], value: int) -> int:
    joined = 0
    for bit, image in enumerate(images):
        if value >> bit & 1:
            joined ^= image
    return joined
