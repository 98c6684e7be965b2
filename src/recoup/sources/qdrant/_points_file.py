"""The file of points, `points.jsonl.zst`: a collection's points one by one, for any version and any number of shards.

Zstandard-compressed JSON lines: a header, one line for each point, and an end with their count and the digest of their ids, so
that a file that was cut short is noticed. Vectors are the exact 32-bit numbers. `docs/format.md` describes it.
"""

import base64
import binascii
import io
import json
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field
from typing import Any, BinaryIO, NoReturn, Protocol, cast

from recoup.errors import DamagedError, RefusedError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources._point_ids import IdDigest

VERSION = 1
"""Version of the file of points that this Recoup writes; it reads this one and refuses higher ones."""

FORMAT = "recoup-qdrant-points"
"""What the header calls it."""

Point = dict[str, Any]
"""A point in Qdrant's JSON form: `id`, `vector`, `payload`, and `shard_key` where the collection has such keys."""

_LONGEST = 64 << 20  # bytes of one line: Qdrant takes requests of 32 MiB by default
_WINDOW = 1 << 27  # bytes that a hostile file may make the decompressor keep
_LEVEL = 3
_LAYERS = 2
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"  # how compressed files begin
_BUFFER = 1 << 20


class Source(Protocol):
    """Where the file's bytes come from."""

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        ...


class Header(Struct):
    """What the first line says.

    Attributes:
        collection: whose points follow.
        server: version of the server that they were read from.
        config: the collection's `config` as the server tells it; its vectors are what the lines follow.
        payload_schema: field name to its index parameters.
    """

    collection: str
    server: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    payload_schema: Mapping[str, Any] = field(default_factory=dict)


class Tally(Struct):
    """What the last line says.

    Attributes:
        points: how many.
        ids: order-independent digest of their ids.
    """

    points: int
    ids: str


class PointsWriter:
    """Writes a file of points; without `finish` it is not whole, and a reader says so.

    Args:
        file: where to.
        header: the first line.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        import zstandard

        self._stream = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(file, closefd=False)
        self._digest = IdDigest()
        self._line({"format": FORMAT, "version": VERSION, **asdict(header)})

    def add(self, point: Point) -> None:
        """Writes one point."""
        line: dict[str, Any] = {"id": point["id"], "vectors": packed(point.get("vector"))}
        if point.get("payload"):
            line["payload"] = point["payload"]
        if point.get("shard_key") is not None:
            line["shard_key"] = point["shard_key"]
        self._line(line)
        self._digest.add(point["id"])

    def finish(self) -> Tally:
        """Writes the end."""
        tally = Tally(self._digest.count, self._digest.hex())
        self._line({"end": asdict(tally)})
        self._stream.close()  # type: ignore[no-untyped-call] # as its stubs have it
        return tally

    def _line(self, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._stream.write(text.encode("utf-8", "surrogatepass") + b"\n")


class _Raw(io.RawIOBase):
    """A source as a raw file."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _unwrapped(source: Source) -> "io.BufferedReader[Any]":
    """The lines: without the file's own compression, and without what a repository may have put around it."""
    import gzip

    import zstandard

    file: io.BufferedReader[Any] = io.BufferedReader(_Raw(source), _BUFFER)
    for _ in range(_LAYERS):
        beginning = file.peek(4)[:4]
        if beginning == _ZSTD:
            plain = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
                file, read_size=_BUFFER, read_across_frames=True, closefd=False
            )
            file = io.BufferedReader(cast("Any", plain), _BUFFER)
        elif beginning.startswith(_GZIP):
            file = io.BufferedReader(gzip.GzipFile(fileobj=file), _BUFFER)
    return file


def _broken() -> tuple[type[Exception], ...]:
    """What a decompressor raises over bytes that it cannot read."""
    import zlib
    from gzip import BadGzipFile

    import zstandard

    return (zstandard.ZstdError, BadGzipFile, zlib.error, EOFError)


def is_points(source: Source) -> bool:
    """Whether something begins like a file of points, be it damaged further on; no snapshot does."""
    try:
        return _unwrapped(source).peek(1)[:1] == b"{"
    except _broken():
        return False


class PointsReader:
    """Reads a file of points that may be damaged or hostile. Iterate once; the end is compared with what came before it.

    Args:
        source: the file's bytes.
        origin: what to call it in an error.

    Attributes:
        header: the first line.
        tally: the last line; None until everything was read.

    Raises:
        DamagedError: it is no such file.
        RefusedError: its version is higher than this Recoup knows.
    """

    def __init__(self, source: Source, origin: str) -> None:
        self._origin = shown(origin)
        self._number = 0
        self._digest = IdDigest()
        self.tally: Tally | None = None
        try:
            self._lines = _unwrapped(source)
        except _broken() as error:
            self._damaged(f"the compressed stream is broken ({error})")
        self.header = self._header()

    def __iter__(self) -> Iterator[Point]:
        while True:
            line = self._next()
            if "end" in line:
                self._finish(line["end"])
                return
            yield self._point(line)

    def _header(self) -> Header:
        line = self._next()
        if line.get("format") != FORMAT:
            self._damaged("it is no file of points")
        if line.get("version") != VERSION:
            raise RefusedError(
                f"{self._origin} has format version {line.get('version')!r}; this Recoup reads version {VERSION}",
                "Use the Recoup that wrote it, or a newer one.",
            )
        header = Header(
            line.get("collection", ""), line.get("server", ""), line.get("config", {}), line.get("payload_schema", {})
        )
        texts, mappings = (header.collection, header.server), (header.config, header.payload_schema)
        if not all(isinstance(t, str) for t in texts) or not all(isinstance(m, dict) for m in mappings):
            self._damaged("its header is malformed")
        return header

    def _next(self) -> dict[str, Any]:
        self._number += 1
        try:
            data = self._lines.readline(_LONGEST)
        except _broken() as error:
            self._damaged(f"the compressed stream is broken ({error})")
        if not data.endswith(b"\n"):
            self._damaged("a line is too long" if len(data) == _LONGEST else "it ends early")
        try:
            line = json.loads(data.decode("utf-8", "surrogatepass"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            self._damaged(f"it is not valid JSON ({error})")
        if not isinstance(line, dict):
            self._damaged("it is no object")
        return line

    def _point(self, line: dict[str, Any]) -> Point:
        try:
            point: Point = {"id": line["id"], "vector": unpacked(line["vectors"]), "payload": line.get("payload", {})}
            self._digest.add(line["id"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._damaged(f"it is no point ({error})")
        if not isinstance(point["payload"], dict):
            self._damaged("its payload is no object")
        if (key := line.get("shard_key")) is not None:
            if type(key) not in (str, int):
                self._damaged("its shard key is neither text nor a number")
            point["shard_key"] = key
        return point

    def _finish(self, end: Any) -> None:
        found = Tally(self._digest.count, self._digest.hex())
        if end != asdict(found):
            self._damaged(f"it should hold {shown(str(end))}, and holds {asdict(found)}")
        try:
            rest = self._lines.read(1)
        except _broken() as error:
            self._damaged(f"there is something behind the end ({error})")
        if rest:
            self._damaged("there is something behind the end")
        self.tally = found

    def _damaged(self, what: str) -> NoReturn:
        raise DamagedError(
            f"{self._origin}, line {self._number}: {what}",
            "Restore from another set; `recoup verify` finds damaged ones.",
        )


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


# --- vectors --------------------------------------------------------------------------------------------------------


def packed(vector: Any) -> dict[str, Any]:
    """A point's vectors by name (empty for the unnamed one), each in base64."""
    if vector is None:
        return {}
    named = vector if isinstance(vector, dict) else {"": vector}
    return {name: _pack(one) for name, one in named.items()}


def _pack(vector: Any) -> Any:
    if isinstance(vector, dict):
        return {"indices": _text(array("I", vector["indices"])), "values": _text(array("f", vector["values"]))}
    if vector and isinstance(vector[0], list):
        return {"rows": len(vector), "values": _text(array("f", [number for row in vector for number in row]))}
    return _text(array("f", vector))


def _text(numbers: "array[Any]") -> str:
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers).decode()


def unpacked(vectors: Mapping[str, Any]) -> Any:
    """What `packed` was given; the unnamed vector alone stands without a name."""
    found = {name: _unpack(one) for name, one in vectors.items()}
    return found[""] if list(found) == [""] else found


def _unpack(packed: Any) -> Any:
    if isinstance(packed, str):
        return _numbers("f", packed)
    values = _numbers("f", packed["values"])
    if "rows" not in packed:
        indices = _numbers("I", packed["indices"])
        if len(indices) != len(values):
            raise ValueError("a sparse vector has more indices than values, or fewer")
        return {"indices": indices, "values": values}
    rows = packed["rows"]
    if type(rows) is not int or not 1 <= rows <= len(values) or len(values) % rows:
        raise ValueError("a multi-vector's rows are not of one length")
    length = len(values) // rows
    return [values[start : start + length] for start in range(0, len(values), length)]


def _numbers(kind: str, text: str) -> list[Any]:
    numbers: array[Any] = array(kind)
    try:
        numbers.frombytes(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"a vector is not base64 ({error})") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
