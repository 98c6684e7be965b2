"""Chosen points of a snapshot put back into a running collection: when somebody deleted 200, only those are taken back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from recoup.errors import RestoreError, UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._points_file import Point
from recoup.sources.qdrant._preflight import vectors_of
from recoup.sources.qdrant._upserting import upsert
from recoup.system.clock import Clock

_BATCH = 1000  # ids of one question


class Return(Struct):
    """What putting points back would do.

    Attributes:
        url: of the server, without secrets.
        collection: that gets them; its own name where an alias was given.
        points: how many go in.
        overwritten: how many of them are there already, and would be as they were.
    """

    url: str
    collection: str
    points: int
    overwritten: int


def place_of(text: str) -> tuple[str, str]:
    """The server's URL and the collection of `http://host:6333/collection`.

    Raises:
        UsageError: it is no such thing.
    """
    parts = urlsplit(text)
    above, _, name = parts.path.rstrip("/").rpartition("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or not name:
        raise UsageError(
            f"{shown(text)!r} names no collection of a server", "Write it as http://127.0.0.1:6333/COLLECTION."
        )
    if parts.username or parts.password:
        raise UsageError("an API key does not belong into the URL", "Set it in the environment: QDRANT_API_KEY.")
    return urlunsplit((parts.scheme, parts.netloc, above, "", "")), unquote(name)


def planned(server: Server, name: str, points: Iterable[Point], config: Mapping[str, Any]) -> Return:
    """Looks what is there; changes nothing.

    Args:
        server: where to.
        name: of the collection, or an alias of it.
        points: what would be put back.
        config: of the collection that they come from.

    Raises:
        RestoreError: the collection is not there, or its vectors are others.
    """
    collection = _resolved(server, name)
    present = server.get(at("collections", collection)).get("config", {})
    _demand_same_vectors(collection, vectors_of(config), vectors_of(present))
    count = overwritten = 0
    for batch in _batches(points):
        count += len(batch)
        overwritten += _present(server, collection, batch)
    return Return(server.url, collection, count, overwritten)


def put_back(
    server: Server, plan: Return, points: Iterable[Point], clock: Clock, passing: Callable[[int], None]
) -> int:
    """Writes the points and returns how many; each batch is asked for afterwards.

    Raises:
        RestoreError: the server refuses, or other points came than planned.
    """
    written = upsert(server, plan.collection, points, clock, passing=passing)
    if written != plan.points:
        raise RestoreError(f"{written} points were written to {shown(plan.collection)}, {plan.points} were planned")
    return written


def _resolved(server: Server, name: str) -> str:
    listed = (server.get(at("aliases")) or {}).get("aliases", ())
    aliases = {str(one["alias_name"]): str(one["collection_name"]) for one in listed}
    found = aliases.get(name, name)
    names = {str(one["name"]) for one in (server.get(at("collections")) or {}).get("collections", ())}
    if found not in names:
        known = ", ".join(map(shown, sorted(names)[:20])) or "none"
        raise RestoreError(f"{server.url} has no collection {shown(name)}", f"It has: {known}.")
    return found


def _demand_same_vectors(collection: str, recorded: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    for name, kind in recorded.items():
        if present.get(name) != kind:
            vector = f"the vector {shown(name)}" if name else "the vector"
            raise RestoreError(
                f"the points do not fit into {shown(collection)}: {vector} is {_kind(kind)} in the snapshot and "
                f"{_kind(present.get(name))} there",
                "Restore the whole collection under a name of its own instead.",
            )


def _kind(kind: Any) -> str:
    return "missing" if kind is None else " ".join(str(one) for one in kind if one not in (None, False))


def _batches(points: Iterable[Point]) -> Iterator[list[Point]]:
    batch: list[Point] = []
    for point in points:
        batch.append({"id": point["id"], "shard_key": point.get("shard_key")})
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _present(server: Server, collection: str, batch: list[Point]) -> int:
    """How many points of a batch are there."""
    count = 0
    for key, group in groupby(batch, lambda point: point["shard_key"]):
        body = {"ids": [point["id"] for point in group], "with_payload": False, "with_vector": False}
        if key is not None:
            body["shard_key"] = key
        count += len(server.post(at("collections", collection, "points"), body, safe=True) or ())
    return count
