"""Waiting for a restored collection, and checking it: a 200 of the server's means nothing.

Qdrant answers 200 to a snapshot without one of its segments, with other bytes in it, and to a cluster's collection of which two
thirds are missing. So everything is counted and compared with what was recorded, on every node.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from recoup.errors import RestoreError
from recoup.model.events import Emit, Event, Progress
from recoup.model.facts import MINIMUM_OVERLAP, Probe, overlap
from recoup.model.names import shown
from recoup.sources._point_ids import IdDigest
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import MissingError, UnreachableError
from recoup.sources.qdrant._inventory import ACTIVE, Collection, Inventory, Node, collection
from recoup.sources.qdrant._record import CollectionRecord
from recoup.system.clock import Clock

PAGE = 10_000
"""Ids asked for at once: 400 KB of JSON."""

_POLL = 0.2  # seconds between two looks
_SETTLING = (
    60.0  # seconds that counts may still change: servers before 1.19 apply the end of their log after they are ready
)
_IDS_MODULUS = 1 << 256


def wait_until_whole(
    inventory: Inventory, name: str, copies: int, clock: Clock, emit: Emit, timeout: float
) -> Collection:
    """Waits until every copy of every shard is active, nothing is being moved, and the collection is green on every node.

    Args:
        inventory: of the server.
        name: the collection.
        copies: shards that were restored, for the progress.
        clock: time.
        emit: where news go.
        timeout: seconds.

    Raises:
        RestoreError: it is not in time; the message says what is missing.
    """
    end = clock.monotonic() + timeout
    nudged = False
    while True:
        missing, grey, seen = _missing(inventory, name)
        if not missing:
            emit(Progress(f"wait for {name}", copies, copies, finished=True))
            return seen
        emit(Progress(f"wait for {name}", 0, copies))
        if clock.monotonic() > end:
            raise RestoreError(
                f"{shown(name)} is not whole after {timeout:g} seconds: {missing}",
                "See the server's log, or give it more time with --timeout SECONDS.",
            )
        if grey and not nudged:  # optimizations wait for an update to go on
            inventory.server.patch(at("collections", name), {"optimizers_config": {}})
            nudged = True
        clock.sleep(_POLL)


def _missing(inventory: Inventory, name: str) -> tuple[str, bool, Collection]:
    """What keeps a collection from being whole, and whether its optimizations stand still."""
    views = [_view(node, name, inventory) for node in inventory.nodes]
    for node, view in zip(inventory.nodes, views, strict=True):
        where = f" on {node.server.url}" if len(views) > 1 else ""
        if not view.status:
            return f"it is not there{where}", False, view
        for shard in view.shards:
            for replica in shard.replicas:
                if replica.state != ACTIVE:
                    return f"a copy of shard {shard.id} is {replica.state}{where}", False, view
        if view.transfers:
            return f"{view.transfers} shards are being copied{where}", False, view
        if view.status != "green":
            return f"it is {view.status}{where}", view.status == "grey", view
    return "", False, inventory.collection(name)


def _view(node: Node, name: str, inventory: Inventory) -> Collection:
    try:
        return collection((node,), name, inventory.aliases)
    except (MissingError, UnreachableError):
        return Collection(name, {}, {})


def check(
    inventory: Inventory, name: str, record: CollectionRecord, clock: Clock, emit: Emit, *, by_shard: bool
) -> None:
    """Compares a restored collection with its record: counts, ids, shards, payload indexes, neighbours, on every node.

    Args:
        inventory: of the server.
        name: the collection.
        record: what it has to be.
        clock: time.
        emit: where news go.
        by_shard: whether its shards have to be those of the record; not when points went in one by one.

    Raises:
        RestoreError: something differs; the message says what.
    """
    _check_counts(inventory, name, record, clock)
    if by_shard:
        _check_shards(inventory, name, record, clock)
    for node in inventory.nodes:
        _check_schema(node.server, name, record)
        _check_ids(node.server, name, record, emit)
    mean, indexed = neighbours(inventory.server, name, record.probes)
    if mean < MINIMUM_OVERLAP:
        raise RestoreError(
            f"{shown(name)} does not find the neighbours that it found at the backup: overlap {mean:.4f} by exact search, "
            f"at least {MINIMUM_OVERLAP} is demanded"
        )
    message = f"{shown(name)} holds the {points_of(record):,} points of the set, by count and ids"
    fields: dict[str, Any] = {"collection": name, "points": points_of(record)}
    if record.probes:
        message += f"; {len(record.probes)} neighbour questions: overlap {mean:.4f} exact, {indexed:.4f} indexed"
        fields |= {"probes": len(record.probes), "overlap": mean, "indexed_overlap": indexed}
    emit(Event("collection_checked", clock.now(), message, fields=fields))


def points_of(record: CollectionRecord) -> int:
    """Points of all shards."""
    return sum(shard.points for shard in record.shards)


def ids_of(record: CollectionRecord) -> str:
    """Digest of the ids of all shards: those of the shards are sums, so that they can be added up."""
    return f"{sum(int(shard.ids, 16) for shard in record.shards) % _IDS_MODULUS:064x}"


def count(server: Server, name: str) -> int:
    """Exact number of points."""
    answer = server.post(at("collections", name, "points", "count"), {"exact": True}, safe=True, wait=None)
    return int((answer or {}).get("count", -1))


def _check_counts(inventory: Inventory, name: str, record: CollectionRecord, clock: Clock) -> None:
    wanted = points_of(record)
    end = clock.monotonic() + _SETTLING
    while True:
        found = {node.server.url: count(node.server, name) for node in inventory.nodes}
        if all(number == wanted for number in found.values()):
            return
        if clock.monotonic() > end or any(number > wanted for number in found.values()):
            url, number = next((url, number) for url, number in found.items() if number != wanted)
            raise RestoreError(
                f"{shown(name)} has {number:,} of {wanted:,} points on {url}", "The server said that all went well."
            )
        clock.sleep(_POLL)


def _check_shards(inventory: Inventory, name: str, record: CollectionRecord, clock: Clock) -> None:
    """Numbers and keys of the shards, and the points that every copy reports of itself."""
    end = clock.monotonic() + _SETTLING
    while True:
        problem = _shard_problem(inventory.collection(name), record)
        if not problem:
            return
        if clock.monotonic() > end:
            raise RestoreError(f"{shown(name)}: {problem}", "`--via points` restores the points one by one.")
        clock.sleep(_POLL)


def _shard_problem(found: Collection, record: CollectionRecord) -> str:
    shards = {shard.id: shard for shard in found.shards}
    if sorted(shards) != sorted(shard.id for shard in record.shards):
        return f"its shards are {sorted(shards)}, recorded are {sorted(shard.id for shard in record.shards)}"
    for recorded in record.shards:
        shard = shards[recorded.id]
        if shard.key != recorded.key or type(shard.key) is not type(recorded.key):
            return f"shard {shard.id} has the key {shard.key!r}, recorded is {recorded.key!r}"
        for replica in shard.replicas:
            if replica.points is not None and replica.points != recorded.points:
                return f"shard {shard.id} has {replica.points:,} of {recorded.points:,} points (peer {replica.peer})"
    return ""


def _check_schema(server: Server, name: str, record: CollectionRecord) -> None:
    about = server.get(at("collections", name))
    found = _schema(about.get("payload_schema") or {})
    wanted = _schema(record.payload_schema)
    for field in sorted({*found, *wanted}):
        if found.get(field) != wanted.get(field):
            raise RestoreError(
                f"{shown(name)}: the payload index of {shown(field)} is {_index(found.get(field))} on {server.url}, "
                f"recorded is {_index(wanted.get(field))}"
            )


def _schema(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        field: {key: value for key, value in about.items() if key != "points" and value is not None}
        for field, about in schema.items()
    }


def _index(about: Mapping[str, Any] | None) -> str:
    return "missing" if about is None else str(about.get("params") or about.get("data_type"))


def _check_ids(server: Server, name: str, record: CollectionRecord, emit: Emit) -> None:
    digest, total = IdDigest(), points_of(record)
    for point_id in ids(server, name):
        digest.add(point_id)
        if digest.count % PAGE == 0:
            emit(Progress(f"check {name}", digest.count, total))
    emit(Progress(f"check {name}", digest.count, total, finished=True))
    if digest.count != total or digest.hex() != ids_of(record):
        raise RestoreError(
            f"{shown(name)} has other points than the set: {digest.count:,} were listed on {server.url}, "
            f"{total:,} are recorded, and the digests of their ids differ"
        )


def ids(server: Server, name: str) -> Iterator[Any]:
    """All ids of a collection, page by page."""
    offset: Any = None
    while True:
        body = {"limit": PAGE, "offset": offset, "with_payload": False, "with_vector": False}
        answer = server.post(at("collections", name, "points", "scroll"), body, safe=True, wait=None) or {}
        yield from (point["id"] for point in answer.get("points", ()))
        offset = answer.get("next_page_offset")
        if offset is None:
            return


def neighbours(server: Server, name: str, probes: Iterable[Probe]) -> tuple[float, float]:
    """Mean overlap of the recorded neighbours with those found by exact and by indexed search; 1.0 without probes."""
    exact, indexed = [], []
    for probe in probes:
        exact.append(overlap(probe.neighbours, _asked(server, name, probe, exact=True)))
        indexed.append(overlap(probe.neighbours, _asked(server, name, probe, exact=False)))
    return _mean(exact), _mean(indexed)


def _asked(server: Server, name: str, probe: Probe, *, exact: bool) -> tuple[str, ...]:
    body: dict[str, Any] = {
        "query": point_id(probe.point),
        "limit": max(len(probe.neighbours), 1),
        "params": {"exact": exact},
        "with_payload": False,
    }
    if probe.vector:
        body["using"] = probe.vector
    answer = server.post(at("collections", name, "points", "query"), body, safe=True, wait=None) or {}
    return tuple(str(point["id"]) for point in answer.get("points", ()))


def point_id(text: str) -> int | str:
    """A point's id from its text."""
    return int(text) if text.isdecimal() else text


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 1.0
