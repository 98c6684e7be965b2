"""Points of a collection: over all its shards, wherever their copies are. HTTP and gRPC both speak to this."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from qdrant_server.standin import configs, peers
from qdrant_server.standin.errors import Refused, bad_input, internal, not_found
from qdrant_server.standin.node import Node

Json = Mapping[str, Any]
ShardKey = str | int

_WRITABLE = ("Active", "Recovery", "ManualRecovery", "Partial", "Initializing", "Listener", "Resharding")


class Points:
    """The points of one collection.

    Args:
        node: the node that is asked.
        collection: the collection's name or an alias of it.

    Raises:
        Refused: 404.
    """

    def __init__(self, node: Node, collection: str) -> None:
        self.node = node
        self.name = node.resolved(collection)

    @property
    def state(self) -> dict[str, Any]:
        return self.node.state(self.name)

    def upsert(self, points: Sequence[Json], key: object = None) -> int:
        """Writes points, each into its shards.

        Returns:
            number of the operation.
        """
        for point in points:
            self._check(point)
        return self._spread("upsert", points, key)

    def update_vectors(self, points: Sequence[Json], key: object = None) -> int:
        return self._spread("update_vectors", points, key)

    def change(self, change: Json, key: object = None) -> int:
        """Changes points that are named by `points` (ids) or `filter`; see `updates.engine_operation`."""
        done = [self._write(shard, self._local(change, shard, key)) for shard in self._asked(key)]
        return max(done, default=0)

    def count(self, json: Json) -> int:
        return sum(self._ask(shard, "count", json) for shard in self._asked(json.get("shard_key")))

    def scroll(self, json: Json) -> dict[str, Any]:
        """One page of points in the order of their ids, or of a field.

        Returns:
            `points` and `next_page_offset`.
        """
        limit = json.get("limit") or 10
        question = {**json, "limit": limit + 1}
        found = [
            self._keyed(record, shard)
            for shard in self._asked(json.get("shard_key"))
            for record in self._ask(shard, "scroll", question)
        ]
        if json.get("order_by"):
            return {"points": found[:limit], "next_page_offset": None}
        page = _unique(sorted(found, key=lambda record: id_order(record["id"])))
        following = page[limit]["id"] if len(page) > limit else None
        return {"points": page[:limit], "next_page_offset": following}

    def retrieve(self, json: Json) -> list[dict[str, Any]]:
        found: dict[Any, dict[str, Any]] = {}
        for shard in self._asked(json.get("shard_key")):
            for record in self._ask(shard, "retrieve", json):
                found.setdefault(record["id"], self._keyed(record, shard))
        return [found[name] for name in map(_canonical, json["ids"]) if name in found]

    def query(self, json: Json) -> list[dict[str, Any]]:
        """The nearest points, best first."""
        if json.get("query") is None:
            return list(self.scroll({**json, "limit": json.get("limit") or 10})["points"])
        limit = json.get("limit") or 10
        offset = json.get("offset") or 0
        question = self._by_vector(json) | {"limit": limit + offset}
        shards = self._asked(json.get("shard_key"))
        found = [self._keyed(point, shard) for shard in shards for point in self._ask(shard, "query", question)]
        found.sort(key=lambda point: (point["score"] * self._direction(json), id_order(point["id"])))
        return _unique(found)[offset : offset + limit]

    def facet(self, json: Json) -> list[dict[str, Any]]:
        counts: dict[Any, int] = {}
        for shard in self._asked(json.get("shard_key")):
            for hit in self._ask(shard, "facet", json):
                counts[hit["value"]] = counts.get(hit["value"], 0) + hit["count"]
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
        return [{"value": value, "count": count} for value, count in ranked[: json.get("limit") or 10]]

    def info(self) -> list[dict[str, Any]]:
        """What the engine tells of each shard."""
        return [self._ask(shard, "info", {}) for shard in self._asked(None)]

    def index(self, field: str, schema: Any) -> int:
        """Makes a payload index in all shards; None as schema: drops it."""
        if schema is None:
            change: dict[str, Any] = {"kind": "delete_index", "field_name": field}
        else:
            change = {"kind": "create_index", "field_name": field, "field_schema": schema}
        done = [self._write(shard, change) for shard in self._asked(None)]
        self.node.decide({"step": "index", "name": self.name, "field": field, "schema": schema})
        return max(done, default=0)

    def _check(self, point: Json) -> None:
        params = self.state["config"]["params"]["vectors"]
        vector = point.get("vector")
        if "size" in params and isinstance(vector, list):
            _check_length(vector, params["size"])
        if isinstance(vector, Mapping):
            self._check_names(vector)
        _canonical(point["id"])

    def _check_names(self, vectors: Json) -> None:
        known = {*configs.vector_names(self.state["config"]), *self.state["config"]["params"].get("sparse_vectors", {})}
        if unknown := set(vectors) - known:
            raise bad_input(f"Not existing vector name error: {min(unknown)}")

    def _spread(self, kind: str, points: Sequence[Json], key: object) -> int:
        shards: dict[int, list[Json]] = {}
        ids = [_canonical(point["id"]) for point in points]
        for choice in [self._of_key(each) for each in _keys(key)] or [self._routable()]:
            for point, shard in zip(points, _homes(ids, choice), strict=True):
                shards.setdefault(shard, []).append(point)
        done = [self._write(shard, {"kind": kind, "points": part}) for shard, part in sorted(shards.items())]
        return max(done, default=0)

    def _routable(self) -> list[int]:
        if self.state["config"]["params"].get("sharding_method") == "custom":
            raise bad_input("Shard key not specified")
        return [int(shard) for shard in self.state["shards"]]

    def _of_key(self, key: ShardKey) -> list[int]:
        found = [int(shard) for shard, entry in self.state["shards"].items() if _same_key(entry["key"], key)]
        if not found:
            raise not_found(f"Shard key {key} not found")
        return sorted(found)

    def _asked(self, key: object) -> list[int]:
        if not _keys(key):
            return sorted(map(int, self.state["shards"]))
        return [shard for each in _keys(key) for shard in self._of_key(each)]

    def _local(self, change: Json, shard: int, key: object) -> Json:
        """The part of a change by ids that concerns one shard."""
        if change.get("points") is None or self.state["config"]["params"].get("sharding_method") == "custom":
            return change
        choice = self._asked(key)
        homes = _homes([_canonical(point) for point in change["points"]], choice)
        return {
            **change,
            "points": [point for point, home in zip(change["points"], homes, strict=True) if home == shard],
        }

    def _write(self, shard: int, change: Json) -> int:
        """Writes into every copy that takes writes; a copy whose node is gone is dead from then on."""
        if not change.get("points", True):
            return 0
        done = 0
        lost = []
        for peer, url in self._copies(shard, _WRITABLE):
            try:
                done = max(done, self._write_to(peer, url, shard, change))
            except peers.Unreachable:
                self.node.send_failures[url] += 1
                lost.append(peer)
        if not done:
            raise internal(f"The replica set for shard {shard} on peer {self.node.peer} has no active replica")
        for peer in lost:
            step = {"step": "replica", "name": self.name, "shard": shard, "peer": peer, "state": "Dead"}
            self.node.decide(step)
        return done

    def _write_to(self, peer: int, url: str, shard: int, change: Json) -> int:
        if peer == self.node.peer:
            return self.node.shard(self.name, shard).change(change)
        path = peers.shard_path(self.name, shard, "change")
        return int(peers.ask(url, path, change, self.node.settings.api_key))

    def _ask(self, shard: int, question: str, json: Json) -> Any:
        for peer, url in self._copies(shard, ("Active",)):
            if peer == self.node.peer:
                return self.node.shard(self.name, shard).ask(question, json)
            path = peers.shard_path(self.name, shard, question)
            try:
                return peers.ask(url, path, json, self.node.settings.api_key)
            except peers.Unreachable:
                self.node.send_failures[url] += 1
        raise internal(f"The replica set for shard {shard} on peer {self.node.peer} has no active replica")

    def _copies(self, shard: int, states: Iterable[str]) -> list[tuple[int, str]]:
        """Peer and URL of the copies in one of the states, this node's first."""
        replicas = map(int, self.state["shards"][str(shard)]["replicas"])
        fit = [peer for peer in replicas if self.node.replica_state(self.name, shard, peer) in states]
        return [(peer, self.node.peers.get(peer, "")) for peer in sorted(fit, key=lambda peer: peer != self.node.peer)]

    def _keyed(self, record: dict[str, Any], shard: int) -> dict[str, Any]:
        key = self.state["shards"][str(shard)]["key"]
        return record if key is None else {**record, "shard_key": key}

    def _by_vector(self, json: Json) -> dict[str, Any]:
        query = json["query"]
        if isinstance(query, Mapping) and "nearest" in query:
            query = query["nearest"]
        if isinstance(query, int | str):
            return {**json, "query": self._vector_of(query, json), "filter": _without(query, json.get("filter"))}
        return {**json, "query": query}

    def _vector_of(self, point: int | str, json: Json) -> Any:
        found = self.retrieve({"ids": [point], "with_payload": False, "with_vector": True})
        if not found:
            raise not_found(f"No point with id {point} found")
        vector = found[0]["vector"]
        return vector[json.get("using") or ""] if isinstance(vector, Mapping) else vector

    def _direction(self, json: Json) -> int:
        """1 where the smallest score is the best."""
        vectors = self.state["config"]["params"]["vectors"]
        params = vectors if "size" in vectors else vectors.get(json.get("using") or "", {})
        return 1 if params.get("distance") in ("Euclid", "Manhattan") else -1


def _check_length(vector: list[Any], size: int) -> None:
    rows = vector if vector and isinstance(vector[0], list) else [vector]
    for row in rows:
        if len(row) != size:
            raise bad_input(f"Vector dimension error: expected dim: {size}, got {len(row)}")


def id_order(point: int | str) -> tuple[bool, Any]:
    """Sorts ids as the engine does: numbers, then UUIDs."""
    return (isinstance(point, str), point)


def _canonical(point: Any) -> int | str:
    """An id as the engine gives it back.

    Raises:
        Refused: it is neither a whole number nor a UUID.
    """
    if isinstance(point, int) and not isinstance(point, bool) and 0 <= point < 2**64:
        return point
    try:
        return str(UUID(point))
    except (AttributeError, TypeError, ValueError):
        text = f"value {point} is not a valid point ID, valid values are either an unsigned integer or a UUID"
        raise Refused(400, f"Format error in JSON body: {text}") from None


def _homes(ids: Sequence[int | str], shards: Sequence[int]) -> Sequence[int]:
    """The shard of each id; numpy, which is slow to load, is needed where there are several."""
    if len(shards) == 1:
        return [shards[0]] * len(ids)
    from qdrant_server.routing import shards_of

    return shards_of(ids, shards)


def _unique(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without ids that came before: a point may be in two shards."""
    found: dict[Any, dict[str, Any]] = {}
    for record in records:
        found.setdefault(record["id"], record)
    return list(found.values())


def _keys(key: Any) -> list[ShardKey]:
    if key is None:
        return []
    if isinstance(key, Mapping):
        return [key["target"]]
    return list(key) if isinstance(key, list) else [key]


def _same_key(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _without(point: int | str, given: Json | None) -> Json:
    """A filter that leaves out the point that is asked for."""
    own = {"must_not": [{"has_id": [point]}]}
    return {**own, "must": [given]} if given else own


def finite(value: float) -> float | None:
    """A number as JSON can have it."""
    return value if math.isfinite(value) else None
