"""Recipes: of which chunks the streams of a set are made (`docs/format.md`, Sets)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import blake3
import zstandard

from recoup.errors import DamagedError
from recoup.model.names import shown
from recoup.repository.dedup.keys import KIND_RECIPES, RunKey

MAGIC = b"RCPRCPE1"
_LARGEST = 128 * 1024 * 1024  # bytes of recipes: ten million spans and more
_RUN = 12  # bytes of a run's id
_CHUNK, _GAP = b"\x01", b"\x00"
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a stream.

    Attributes:
        run: whose chunks; empty for a gap.
        first: the number of the first chunk in that run.
        count: how many chunks; of a gap, how many zero bytes.
    """

    run: bytes
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """A stream.

    Attributes:
        size: its length in bytes.
        root: what its chunks and gaps add up to (`Root`).
        spans: its pieces in order.
    """

    size: int
    root: bytes
    spans: tuple[Span, ...]


class Root:
    """What a stream's chunks and gaps add up to: whoever knows it knows which bytes the stream has.

    Args:
        stream_key: of the repository.
    """

    def __init__(self, stream_key: bytes) -> None:
        self._hash = blake3.blake3(key=stream_key)
        self._gap = 0

    def chunk(self, identity: bytes, length: int) -> None:
        """Appends a chunk."""
        self._end_gap()
        self._hash.update(_CHUNK + identity + _LENGTH.pack(length))

    def gap(self, length: int) -> None:
        """Appends zero bytes; neighbouring gaps are one."""
        self._gap += length

    def digest(self) -> bytes:
        """32 bytes."""
        self._end_gap()
        return self._hash.digest()

    def _end_gap(self) -> None:
        if self._gap:
            self._hash.update(_GAP + _LENGTH.pack(self._gap))
            self._gap = 0


@dataclass(slots=True)
class RecipeBuilder:
    """A recipe being made."""

    root: Root
    size: int = 0
    _spans: list[Span] = field(default_factory=list)
    _run: bytes = b""
    _first: int = 0
    _count: int = 0

    def chunk(self, run: bytes, number: int, identity: bytes, length: int) -> None:
        """Appends a chunk by its address."""
        self.root.chunk(identity, length)
        self.size += length
        if self._run == run and self._first + self._count == number:
            self._count += 1
            return
        self._end()
        self._run, self._first, self._count = run, number, 1

    def gap(self, length: int) -> None:
        """Appends zero bytes."""
        self.root.gap(length)
        self.size += length
        self._end()
        if self._spans and not self._spans[-1].run:
            length += self._spans.pop().count
        self._spans.append(Span(b"", 0, length))

    def finish(self) -> Recipe:
        """The recipe."""
        self._end()
        return Recipe(self.size, self.root.digest(), tuple(self._spans))

    def _end(self) -> None:
        if self._count:
            self._spans.append(Span(self._run, self._first, self._count))
        self._run, self._count = b"", 0


def encode(recipes: dict[str, Recipe]) -> bytes:
    """All streams of a set, by their paths."""
    runs: dict[bytes, int] = {}
    for recipe in recipes.values():
        for span in recipe.spans:
            if span.run:
                runs.setdefault(span.run, len(runs) + 1)
    out = bytearray(struct.pack("<I", len(runs)))
    out += b"".join(runs)
    out += struct.pack("<I", len(recipes))
    for path, recipe in recipes.items():
        name = path.encode("utf-8", "surrogateescape")
        out += struct.pack("<H", len(name)) + name + _LENGTH.pack(recipe.size) + recipe.root
        _varint(out, len(recipe.spans))
        for span in recipe.spans:
            _varint(out, runs.get(span.run, 0))
            if span.run:
                _varint(out, span.first)
            _varint(out, span.count)
    return bytes(out)


def decode(data: bytes, item: str) -> dict[str, Recipe]:
    """Reads what `encode` wrote.

    Raises:
        DamagedError: it is something else.
    """
    try:
        return dict(_decoded(_Cursor(data)))
    except (IndexError, ValueError, struct.error) as error:
        raise DamagedError(f"{shown(item)} is no list of recipes: {error}", _HINT) from None


_HINT = "Run `recoup verify`, then restore from another set or repository."


def _decoded(at: "_Cursor") -> Iterator[tuple[str, Recipe]]:
    (count,) = struct.unpack("<I", at.take(4))
    runs = [b"", *(at.take(_RUN) for _ in range(count))]
    (streams,) = struct.unpack("<I", at.take(4))
    seen = set[str]()
    for _ in range(streams):
        (length,) = struct.unpack("<H", at.take(2))
        path = at.take(length).decode("utf-8", "surrogateescape")
        (size,) = _LENGTH.unpack(at.take(8))
        root = at.take(32)
        if path in seen:
            raise ValueError("it has a stream twice")
        seen.add(path)
        yield path, Recipe(size, root, tuple(_spans(at, runs)))
    if not at.ended:
        raise ValueError("something stands behind its end")


def _spans(at: "_Cursor", runs: list[bytes]) -> Iterator[Span]:
    for _ in range(at.varint()):
        run = runs[at.varint()]
        first = at.varint() if run else 0
        count = at.varint()
        if count == 0 or (run and first + count > 2**32):
            raise ValueError("it has a span that no writer makes")
        yield Span(run, first, count)


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._data)

    def take(self, length: int) -> bytes:
        found = self._data[self._at : self._at + length]
        if len(found) != length:
            raise ValueError("it is cut short")
        self._at += length
        return found

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("it has a number of more than 64 bits")


def _varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def seal(recipes: dict[str, Recipe], key: RunKey, identity: bytes) -> bytes:
    """The file `recipes` of a set.

    Args:
        recipes: the streams by their paths.
        key: of the set's run.
        identity: run and repository, what the sealing is bound to.
    """
    packed = zstandard.ZstdCompressor(level=9).compress(encode(recipes))
    return MAGIC + key.seal(KIND_RECIPES, 0, packed, identity)


def unseal(data: bytes, key: RunKey, identity: bytes, item: str) -> dict[str, Recipe]:
    """Reads what `seal` wrote.

    Raises:
        DamagedError: it is not that.
    """
    if not data.startswith(MAGIC):
        raise DamagedError(f"{shown(item)} is no file of recipes", _HINT)
    packed = key.open(KIND_RECIPES, 0, data[len(MAGIC) :], identity, item)
    return decode(unpacked(packed, _LARGEST, item), item)


def unpacked(packed: bytes, largest: int, item: str) -> bytes:
    """The content of one zstd frame that says how long it is.

    Args:
        packed: the frame.
        largest: bytes that it may have at most.
        item: what to call it in an error.

    Raises:
        DamagedError: it is broken, longer, does not say, or something stands behind it.
    """
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= largest:
            raise DamagedError(f"{shown(item)} says that it has {size:,} bytes, which none has", _HINT)
        data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamagedError(f"{shown(item)} cannot be unpacked: {error}", _HINT) from None
    return data
