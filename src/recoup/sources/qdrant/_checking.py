"""Waiting for a restored collection, and checking it: a 200 of the server's means nothing.

Qdrant answers 200 to a snapshot without one of its segments, with other bytes in it, and to a cluster's collection of which two
thirds are missing. So everything is counted and compared with what was recorded, on every node.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from recoup.errors import RestoreError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.facts import MINIMUM_OVERLAP, Probe, overlap
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources._point_ids import IdDigest
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import MissingError, ServerError, UnreachableError
from recoup.sources.qdrant._inventory import ACTIVE, Collection, Inventory, collection
from recoup.sources.qdrant._record import CollectionRecord
from recoup.system.clock import Clock

PAGE = 10_000
"""Ids asked for at once: 400 KB of JSON."""

_AWAY = 60.0  # seconds that a node may not answer, for a restart
_POLL = 0.2  # seconds between two looks
_SETTLING = 60.0  # seconds that a wrong count has to stay the same where something may still be applied
_QUIET = 2.0  # the same where nothing is left to be applied
_MOVING = 600.0  # seconds that a wrong count may go on changing
_IDS_MODULUS = 1 << 256


def wait_until_whole(inventory: Inventory, name: str, copies: int, clock: Clock, emit: Emit, timeout: float) -> None:
    """Waits until every copy of every shard is active, nothing is being moved, and the collection is green on every node.

    Copies on nodes that could not be reached from the beginning are not waited for.

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
    begun = seen = clock.monotonic()
    nudged = False
    while (missing := _missing(inventory, name)) is not None:
        emit(Progress(f"wait for {name}", 0, copies, unit="copies of shards"))
        now = clock.monotonic()
        seen = seen if missing.away else now
        if now - begun > timeout or now - seen > _AWAY:
            raise RestoreError(
                f"{shown(name)} is not whole after {now - begun:.0f} seconds: {missing.what}",
                "See the server's log, or give it more time with --timeout SECONDS.",
            )
        if missing.grey and not nudged:  # optimizations wait for an update to go on
            inventory.server.patch(at("collections", name), {"optimizers_config": {}})
            nudged = True
        clock.sleep(_POLL)
    emit(Progress(f"wait for {name}", copies, copies, finished=True, unit="copies of shards"))


class _Missing(Struct):
    """What keeps a collection from being whole; `grey`: optimizations stand still; `away`: a node does not answer."""

    what: str
    grey: bool = False
    away: bool = False


def _missing(inventory: Inventory, name: str) -> _Missing | None:
    for node in inventory.nodes:
        where = f" on {node.server.url}" if len(inventory.nodes) > 1 else ""
        try:
            view = collection((node,), name, inventory.aliases)
        except MissingError:
            return _Missing(f"it is not there{where}")
        except UnreachableError as error:
            return _Missing(error.message, away=True)
        except ServerError as error:  # a shard without an active copy cannot be asked
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return _Missing(error.text or error.message)
        for shard in view.shards:
            for replica in shard.replicas:
                if replica.state != ACTIVE and replica.peer not in inventory.lost:
                    return _Missing(f"a copy of shard {shard.id} is {replica.state}{where}")
        if view.transfers:
            return _Missing(f"{view.transfers} shards are being copied{where}")
        if view.status != "green" and not (
            inventory.lost and view.status == "yellow"
        ):  # yellow for the copies there, too
            return _Missing(f"it is {view.status}{where}", grey=view.status == "grey")
    return None


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
    if counted(record):
        _check_counts(inventory, name, record, clock)
    if by_shard:
        _check_shards(inventory, name, record, clock)
    for node in inventory.nodes:
        _check_schema(node.server, name, record)
        if counted(record):
            _check_ids(node.server, name, record, emit)
    mean, indexed = neighbours(inventory.server, name, record.probes)
    if mean < MINIMUM_OVERLAP:
        raise RestoreError(
            f"{shown(name)} does not find the neighbours that it found at the backup: overlap {mean:.4f} by exact search, "
            f"at least {MINIMUM_OVERLAP} is demanded"
        )
    _tell(name, record, clock, emit, mean, indexed)


def _tell(name: str, record: CollectionRecord, clock: Clock, emit: Emit, mean: float, indexed: float) -> None:
    if not counted(record):
        message = f"nobody knows how many points {shown(name)} has to have: they could not be counted at the backup"
        emit(Event("collection_unproven", clock.now(), message, Level.WARNING, fields={"collection": name}))
        return
    message = f"{shown(name)} holds the {points_of(record):,} points of the set, by count and ids"
    fields: dict[str, Any] = {"collection": name, "points": points_of(record)}
    if record.probes:
        message += f"; {len(record.probes)} neighbour questions: overlap {mean:.4f} exact, {indexed:.4f} indexed"
        fields |= {"probes": len(record.probes), "overlap": mean, "indexed_overlap": indexed}
    emit(Event("collection_checked", clock.now(), message, fields=fields))


def counted(record: CollectionRecord) -> bool:
    """Whether the set knows how many points there were; it does not where the engine could not open what was captured."""
    return all(shard.points >= 0 for shard in record.shards)


def points_of(record: CollectionRecord) -> int:
    """Points of all shards, as far as they are known."""
    return sum(max(shard.points, 0) for shard in record.shards)


def ids_of(record: CollectionRecord) -> str:
    """Digest of the ids of all shards: those of the shards are sums, so that they can be added up."""
    return f"{sum(int(shard.ids, 16) for shard in record.shards) % _IDS_MODULUS:064x}"


def count(server: Server, name: str) -> int:
    """Exact number of points."""
    answer = server.post(at("collections", name, "points", "count"), {"exact": True}, safe=True, wait=None)
    return int((answer or {}).get("count", -1))


def _check_counts(inventory: Inventory, name: str, record: CollectionRecord, clock: Clock) -> None:
    wanted = points_of(record)

    def problem() -> str:
        for node in inventory.nodes:
            number = count(node.server, name)
            if number != wanted:
                return f"{shown(name)} has {number:,} of {wanted:,} points on {node.server.url}"
        return ""

    if found := _settled(inventory, name, problem, clock):
        raise RestoreError(found, "The server itself reported no error.")


def _check_shards(inventory: Inventory, name: str, record: CollectionRecord, clock: Clock) -> None:
    """Numbers and keys of the shards, and the points that every copy reports of itself."""
    found = _settled(inventory, name, lambda: _shard_problem(inventory.collection(name), record), clock)
    if found:
        raise RestoreError(f"{shown(name)}: {found}", "`--via points` restores the points one by one.")


def _settled(inventory: Inventory, name: str, problem: Callable[[], str], clock: Clock) -> str:
    """What is wrong and stays so; empty when nothing is.

    Servers before 1.19 apply the end of their log after they say that they are ready. Those since 1.17 tell how much is left.
    """
    begun = clock.monotonic()
    latest, since = "", begun
    while found := problem():
        now = clock.monotonic()
        if found != latest:
            latest, since = found, now
        left = max((_left_to_apply(node.server, name) for node in inventory.nodes), default=0)
        patience = _SETTLING if left else _QUIET
        if now - since >= patience or now - begun > _MOVING:
            return found
        clock.sleep(_POLL)
    return ""


def _left_to_apply(server: Server, name: str) -> int:
    """Updates that a server has still to apply; -1 where it tells none."""
    queue = server.get(at("collections", name)).get("update_queue")
    return int(queue.get("length", -1)) if isinstance(queue, dict) else -1


def _shard_problem(found: Collection, record: CollectionRecord) -> str:
    shards = {shard.id: shard for shard in found.shards}
    if sorted(shards) != sorted(shard.id for shard in record.shards):
        return f"its shards are {sorted(shards)}, recorded are {sorted(shard.id for shard in record.shards)}"
    for recorded in record.shards:
        shard = shards[recorded.id]
        if shard.key != recorded.key or type(shard.key) is not type(recorded.key):
            return f"shard {shard.id} has the key {shard.key!r}, recorded is {recorded.key!r}"
        for replica in shard.replicas:
            if replica.points is not None and replica.points != recorded.points >= 0:
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
            emit(Progress(f"check {name}", digest.count, total, unit="points"))
    emit(Progress(f"check {name}", digest.count, total, finished=True, unit="points"))
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
