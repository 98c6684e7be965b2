"""All points of a running collection, read page by page: by gRPC, which is 2.6 times as fast as REST (measured), or by REST.

Needs no more than the right to read, and fits any version. It is not of one moment: a page shows the points as they are when it
is read, in the order of their ids. A point that stays as it is from the first page to the last is in it, and as it is; one that
is written meanwhile comes as it was before or after; one that is added or removed meanwhile may be in it or not.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from recoup.errors import InterruptedRunError
from recoup.model.names import shown
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ForbiddenError, MissingError, ServerError, UnreachableError
from recoup.sources.qdrant._points_file import Header, Point, PointsWriter, Tally
from recoup.sources.qdrant._record import ShardKey
from recoup.sources.qdrant._trusting import roots
from recoup.system.atomicfile import create_private
from recoup.system.subprocesses import end_with_us

GUARANTEE = (
    "points read one by one, not of one moment: what was written meanwhile is in it as it was before or after, or not"
)
"""What a capture by scrolling promises, for the manifest."""

GRPC_PORT = 6334
"""Qdrant's own default."""

_FIRST_PAGE = 64  # points; later pages follow from their size
_PAGE = 4 << 20  # bytes that a page should have
_LARGEST_PAGE = 4096  # points
_MESSAGE = 256 << 20  # bytes of one answer by gRPC: a page of very large points
_TRIES = 3


class Page(Struct):
    """One answer.

    Attributes:
        points: in Qdrant's JSON form.
        following: id of the next page's first point; None at the end.
        size: bytes that it took, roughly.
    """

    points: Sequence[Point]
    following: str | int | None
    size: int


class Reader(Protocol):
    """A way to read pages."""

    def page(self, offset: str | int | None, limit: int, key: ShardKey | None) -> Page:
        """The points from `offset` on, at most `limit`.

        Raises:
            UnreachableError: nobody answers.
            ServerError: the server refused.
        """
        ...


def scrolled(reader: Reader, keys: Sequence[ShardKey] = ()) -> Iterator[Point]:
    """All points, key by key.

    Args:
        reader: of the collection.
        keys: its shard keys; a point's id is unique within a key only.
    """
    for key in keys or (None,):
        offset, limit = None, _FIRST_PAGE
        while True:
            page = _patiently(reader, offset, limit, key)
            for point in page.points:
                yield point if key is None else {**point, "shard_key": key}
            if page.following is None:
                break
            offset, limit = page.following, _next_limit(page)


def _patiently(reader: Reader, offset: str | int | None, limit: int, key: ShardKey | None) -> Page:
    """A page, asked for again when the connection breaks: reading changes nothing."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(UnreachableError):
            return reader.page(offset, limit, key)
    return reader.page(offset, limit, key)


def _next_limit(page: Page) -> int:
    each = max(1, page.size // max(1, len(page.points)))
    return max(1, min(_PAGE // each, _LARGEST_PAGE))


def write_points(path: Path, header: Header, points: Iterable[Point]) -> Tally:
    """Writes a file of points, mode 0600; when it fails, nothing of it stays.

    Args:
        path: a file that is not there yet.
        header: the first line.
        points: what follows.
    """
    import os

    try:
        with os.fdopen(create_private(path), "wb") as file:
            writer = PointsWriter(file, header)
            for point in points:
                writer.add(point)
            return writer.finish()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def opened(
    server: Server, collection: str, *, api_key: str = "", grpc_port: int | None = GRPC_PORT
) -> Iterator[Reader]:
    """The fastest way to read that answers.

    Args:
        server: the node.
        collection: its name.
        api_key: for gRPC; shown nowhere.
        grpc_port: of the same host; None means REST.
    """
    if grpc_port is not None:
        grpc = GrpcReader(server.url, collection, api_key, grpc_port, authority=server.authority)
        with contextlib.closing(grpc) as reader:
            if reader.answers():
                yield reader
                return
    yield RestReader(server, collection)


class RestReader:
    """Reads pages by REST."""

    def __init__(self, server: Server, collection: str) -> None:
        self._server, self._path = server, at("collections", collection, "points", "scroll")

    def page(self, offset: str | int | None, limit: int, key: ShardKey | None) -> Page:
        """The points from `offset` on, at most `limit`."""
        body: dict[str, Any] = {"limit": limit, "with_payload": True, "with_vector": True}
        if offset is not None:
            body["offset"] = offset
        if key is not None:
            body["shard_key"] = key
        result = self._server.post(self._path, body, safe=True) or {}
        points = result.get("points", ())
        return Page(points, result.get("next_page_offset"), sum(map(_size, points)))


def _size(value: Any) -> int:
    """Bytes of a JSON value, roughly: a number of a vector takes about ten."""
    if isinstance(value, list):
        return 10 * len(value) if value and isinstance(value[0], float) else sum(map(_size, value))
    if isinstance(value, dict):
        return sum(len(name) + _size(item) for name, item in value.items())
    return len(value) if isinstance(value, str) else 10


class GrpcReader:
    """Reads pages by gRPC.

    Args:
        url: of the server's REST port; host and scheme are taken from it.
        collection: its name.
        api_key: shown nowhere.
        port: of gRPC.
        timeout: seconds to wait for a page.
        authority: file of certificates that are trusted besides the usual ones.
    """

    def __init__(
        self,
        url: str,
        collection: str,
        api_key: str,
        port: int,
        timeout: float = 60.0,
        authority: Path | None = None,
    ) -> None:
        import grpc
        from qdrant_client.grpc import PointsStub

        parts = urlsplit(url)
        host = parts.hostname or "localhost"
        self._target = f"{f'[{host}]' if ':' in host else host}:{port}"
        options = [("grpc.max_receive_message_length", _MESSAGE), ("grpc.enable_retries", 0)]
        if parts.scheme == "https":
            self._channel = grpc.secure_channel(self._target, grpc.ssl_channel_credentials(roots(authority)), options)
        else:
            self._channel = grpc.insecure_channel(self._target, options)
        self._stub = PointsStub(self._channel)
        self._collection, self._timeout = collection, timeout
        self._metadata = [("api-key", api_key)] if api_key else []
        self._mask = Masker([api_key] if api_key else [])
        self._stopped = False
        end_with_us(self)

    def answers(self) -> bool:
        """Whether the collection can be read this way; a refusal for another reason shows again at the first page."""
        import grpc

        try:
            self._ask(None, 1, None, with_all=False, timeout=5.0)
        except grpc.RpcError as error:
            unanswered = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED}
            return error.code() not in unanswered | {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
        return True

    def page(self, offset: str | int | None, limit: int, key: ShardKey | None) -> Page:
        """The points from `offset` on, at most `limit`."""
        import grpc

        try:
            answer = self._ask(offset, limit, key, with_all=True, timeout=self._timeout)
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed by `kill`
            raise self._explained(error) from None
        following = answer.next_page_offset if answer.HasField("next_page_offset") else None
        return Page([_point(one) for one in answer.result], following and _id(following), answer.ByteSize())

    def _ask(
        self, offset: str | int | None, limit: int, key: ShardKey | None, *, with_all: bool, timeout: float
    ) -> Any:
        from qdrant_client import grpc as messages

        question = messages.ScrollPoints(collection_name=self._collection, limit=limit)
        question.with_payload.enable = with_all
        question.with_vectors.enable = with_all
        if offset is not None:
            question.offset.CopyFrom(
                messages.PointId(num=offset) if isinstance(offset, int) else messages.PointId(uuid=offset)
            )
        if key is not None:
            one = messages.ShardKey(number=key) if isinstance(key, int) else messages.ShardKey(keyword=key)
            question.shard_key_selector.shard_keys.append(one)
        return self._stub.Scroll(question, timeout=timeout, metadata=self._metadata)

    def _explained(self, error: Exception) -> Exception:
        import grpc

        if self._stopped or not isinstance(error, grpc.RpcError):
            return InterruptedRunError("stopped")
        code, details = error.code(), shown(self._mask(str(error.details())))[:500]
        where = f"{self._target} (gRPC)"
        message = f"{where} refused to scroll {shown(self._collection)}: {details or code.name}"
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            return UnreachableError(f"the connection to {where} broke: {details}", "See the server's log.")
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return ForbiddenError(message, "Set an `api_key` with the right to read the collection.", text=details)
        if code == grpc.StatusCode.NOT_FOUND:
            return MissingError(message, "See whether it is still there.", 404, details)
        return ServerError(message, "See the server's log.", text=details)

    def kill(self) -> None:
        """Breaks the connection: whoever waits in another thread gets an `InterruptedRunError`."""
        self._stopped = True
        self._channel.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()


# --- gRPC's messages in Qdrant's JSON form --------------------------------------------------------------------------


def _id(found: Any) -> str | int:
    return int(found.num) if found.WhichOneof("point_id_options") == "num" else str(found.uuid)


def _point(found: Any) -> Point:
    point: Point = {"id": _id(found.id), "vector": _vectors(found.vectors), "payload": _object(found.payload)}
    if found.HasField("shard_key"):
        point["shard_key"] = _either(found.shard_key)
    return point


def _either(key: Any) -> ShardKey:
    return int(key.number) if key.WhichOneof("key") == "number" else str(key.keyword)


def _vectors(found: Any) -> Any:
    match found.WhichOneof("vectors_options"):
        case "vector":
            return _vector(found.vector)
        case "vectors":
            return {name: _vector(one) for name, one in found.vectors.vectors.items()}
    return {}


def _vector(found: Any) -> Any:
    """A vector, as newer servers write it (`vector`), or as older ones did (`data`)."""
    match found.WhichOneof("vector"):
        case "dense":
            return list(found.dense.data)
        case "sparse":
            return {"indices": list(found.sparse.indices), "values": list(found.sparse.values)}
        case "multi_dense":
            return [list(one.data) for one in found.multi_dense.vectors]
    numbers = list(found.data)
    if found.HasField("indices"):
        return {"indices": list(found.indices.data), "values": numbers}
    if found.HasField("vectors_count"):
        length = len(numbers) // max(1, found.vectors_count)
        return [numbers[start : start + length] for start in range(0, len(numbers), max(1, length))]
    return numbers


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(one) for name, one in fields.items()}


def _value(found: Any) -> Any:
    match found.WhichOneof("kind"):
        case "struct_value":
            return _object(found.struct_value.fields)
        case "list_value":
            return [_value(one) for one in found.list_value.values]
        case "null_value" | None:
            return None
        case kind:
            return getattr(found, kind)
