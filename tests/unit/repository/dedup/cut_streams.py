"""Streams that tests cut, and what came out."""

from dataclasses import dataclass, field
from itertools import pairwise

from blake3 import blake3

from recoup.repository.dedup.cutting import LONGEST, Cutter, Piece, Slabs

SEED = 0x1F3A_5566_7788_9ABC


def noise(length: int, name: str = "") -> bytes:
    """Bytes that look random, and are the same everywhere."""
    return blake3(name.encode()).digest(length=length)


def small_slabs() -> Slabs:
    """The smallest buffers there can be, so that short streams fill them."""
    return Slabs(2, 2 * LONGEST)


@dataclass
class Cut:
    """What a cutter handed on: chunks and gaps in their order, and the chunks that began an extent."""

    parts: list[bytes | int] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)

    def take(self, piece: Piece) -> None:
        if piece.first:
            self.begins.append(len(self.parts))
        self.parts += [bytes(chunk) for chunk in piece.chunks()]
        piece.release()

    def cutter(self, *, tar: bool = False, slabs: Slabs | None = None) -> Cutter:
        return Cutter(SEED, self.take, self.parts.append, tar=tar, slabs=slabs or small_slabs())

    @property
    def chunks(self) -> list[bytes]:
        return [part for part in self.parts if isinstance(part, bytes)]

    @property
    def content(self) -> bytes:
        return b"".join(part if isinstance(part, bytes) else bytes(part) for part in self.parts)

    @property
    def extents(self) -> list[bytes]:
        """The bytes of each extent."""
        ends = [*self.begins[1:], len(self.parts)]
        return [
            b"".join(p for p in self.parts[b:e] if isinstance(p, bytes)) for b, e in zip(self.begins, ends, strict=True)
        ]

    @property
    def places(self) -> set[int]:
        """Where in the stream extents begin."""
        lengths = [len(part) if isinstance(part, bytes) else part for part in self.parts]
        starts = [sum(lengths[:number]) for number in range(len(lengths) + 1)]
        return {starts[number] for number in self.begins}


def cut(data: bytes, *, tar: bool = False, at: tuple[int, ...] = ()) -> Cut:
    """Cuts a stream that is written in pieces, parted at these places."""
    found = Cut()
    cutter = found.cutter(tar=tar)
    for begin, end in pairwise((0, *sorted(at), len(data))):
        cutter.write(memoryview(data)[begin:end])
    cutter.finish()
    return found
