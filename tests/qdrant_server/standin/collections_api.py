"""Collections, their aliases, shard keys and payload indexes."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from qdrant_server.standin import configs, indexes
from qdrant_server.standin.answers import Request, Result
from qdrant_server.standin.errors import Refused, bad_input, internal, no_collection, not_found
from qdrant_server.standin.node import Node
from qdrant_server.standin.points import Points


def create(node: Node, request: Request) -> Result:
    name = request.collection
    check_name(name)
    if name in (".", ".."):
        raise internal(f"Invalid path to delete: {node.settings.storage}/collections/{name}")
    with node.changing(name):
        create_collection(node, name, request.json())
    return Result(True)


def check_name(name: str) -> None:
    """Refuses what no collection can be called.

    Raises:
        Refused: 422.
    """
    found = re.search(r'[<>:"/\\|?*\0\x1f]', name)
    if found:
        raise _invalid_name(f'collection name cannot contain "{found.group()}" char')
    if not 1 <= len(name) <= 255:
        raise _invalid_name(f'value "{name}" invalid, must be from 1 to 255 characters')


def _invalid_name(words: str) -> Refused:
    return Refused(422, f"Validation error in path parameters: [collection_name: {words}]")


def create_collection(node: Node, name: str, body: Mapping[str, Any]) -> None:
    """Creates an empty collection, its shards spread over the nodes.

    Raises:
        Refused: 409 or 400.
    """
    if name in node.meta.collections:
        raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
    if name in node.meta.aliases:
        raise bad_input(f"Can't create collection with name {name}. Alias with the same name already exists")
    configs.checked_vectors(body)
    custom = body.get("sharding_method") == "custom"
    number = body.get("shard_number") or (1 if custom else len(node.peers))
    config = configs.completed(body, number)
    state: dict[str, Any] = {"born": uuid4().hex, "config": config, "schema": {}, "keys": [], "shards": {}}
    if not custom:
        state["shards"] = placed(node, range(number), config["params"]["replication_factor"], None)
    node.decide({"step": "put", "name": name, "state": state})


def placed(
    node: Node, shards: range, replication: int, key: Any, among: list[int] | None = None, state: str = "Active"
) -> dict[str, Any]:
    """Shards with their copies, round robin over the peers; the first peer changes from one collection to the next."""
    peers = among or sorted(node.peers)
    first = len(node.meta.collections)
    return {
        str(shard): {
            "key": key,
            "replicas": {
                str(peers[(first + shard + copy) % len(peers)]): state for copy in range(min(replication, len(peers)))
            },
        }
        for shard in shards
    }


def update(node: Node, request: Request) -> Result:
    name = node.resolved(request.collection)
    config = configs.updated(node.state(name)["config"], request.json())
    node.decide({"step": "config", "name": name, "config": config})
    return Result(True)


def delete(node: Node, request: Request) -> Result:
    """Deletes a collection by its own name; anything else is no error and does nothing."""
    if request.collection not in node.meta.collections:
        return Result(False)
    with node.changing(request.collection):
        node.decide({"step": "drop", "name": request.collection})
    return Result(True)


def listed(node: Node, request: Request) -> Result:
    names = sorted(name for name in node.meta.collections if request.access.sees(name))
    return Result({"collections": [{"name": name} for name in names]})


def exists(node: Node, request: Request) -> Result:
    known = request.collection in node.meta.collections or request.collection in node.meta.aliases
    return Result({"exists": known})


def info(node: Node, request: Request) -> Result:
    points = Points(node, request.collection)
    told = points.info()
    state = points.state
    schema: dict[str, Any] = {}
    for shard in told:
        for field, entry in shard["fields"].items():
            schema[field] = {**entry, "points": entry["points"] + schema.get(field, {"points": 0})["points"]}
    return Result(
        {
            "status": _status(node, points.name),
            "optimizer_status": "ok",
            "indexed_vectors_count": sum(shard["indexed"] for shard in told),
            "points_count": sum(shard["points"] for shard in told),
            "segments_count": sum(shard["segments"] for shard in told),
            "config": state["config"],
            "payload_schema": schema,
            "update_queue": {"length": 0},
        }
    )


def _status(node: Node, name: str) -> str:
    settled = all(
        node.replica_state(name, int(shard), int(peer)) == "Active"
        for shard, entry in node.state(name)["shards"].items()
        for peer in entry["replicas"]
    )
    return "green" if settled and not node.optimizing(name) else "yellow"


def cluster_info(node: Node, request: Request) -> Result:
    """Where a collection's shards are, seen from this node."""
    name = node.resolved(request.collection)
    shards = sorted(node.state(name)["shards"].items(), key=lambda pair: int(pair[0]))
    local, remote = [], []
    for text, entry in shards:
        shard = int(text)
        key = {} if entry["key"] is None else {"shard_key": entry["key"]}
        for peer in sorted(map(int, entry["replicas"])):
            state = node.replica_state(name, shard, peer)
            if peer == node.peer:
                count = node.shard(name, shard).ask("count", {})
                local.append({"shard_id": shard, **key, "points_count": count, "state": state})
            else:
                remote.append({"shard_id": shard, **key, "peer_id": peer, "state": state})
    told = {"peer_id": node.peer, "shard_count": len(shards), "local_shards": local, "remote_shards": remote}
    return Result({**told, "shard_transfers": []})


def shard_keys(node: Node, request: Request) -> Result:
    state = node.state(node.resolved(request.collection))
    return Result({"shard_keys": [{"key": key} for key in state["keys"]]})


def create_shard_key(node: Node, request: Request) -> Result:
    _demand_cluster(node)
    name = node.resolved(request.collection)
    body = request.json()
    with node.changing(name):
        state = node.state(name)
        params = state["config"]["params"]
        if params.get("sharding_method") != "custom":
            raise bad_input("Shard Key cannot be created with Auto sharding method")
        key = body["shard_key"]
        if any(type(known) is type(key) and known == key for known in state["keys"]):
            raise bad_input(f"Sharding key {key} already exists for collection {name}")
        first = max(map(int, state["shards"]), default=0) + 1
        number = body.get("shards_number") or params["shard_number"]
        copies = body.get("replication_factor") or params["replication_factor"]
        added = placed(node, range(first, first + number), copies, key, body.get("placement"))
        _decide_keys(node, name, [*state["keys"], key], {**state["shards"], **added})
        for field, schema in state["schema"].items():
            Points(node, name).index(field, schema)
    return Result(True)


def _demand_cluster(node: Node) -> None:
    if not node.distributed:
        raise Refused(400, "Bad request: Distributed mode disabled")


def delete_shard_key(node: Node, request: Request) -> Result:
    _demand_cluster(node)
    name = node.resolved(request.collection)
    key = request.json()["shard_key"]
    with node.changing(name):
        state = node.state(name)
        if key not in state["keys"]:
            raise bad_input(f"Sharding key {key} does not exist for collection {name}")
        left = {shard: entry for shard, entry in state["shards"].items() if entry["key"] != key}
        _decide_keys(node, name, [known for known in state["keys"] if known != key], left)
    return Result(True)


def _decide_keys(node: Node, name: str, keys: list[Any], shards: dict[str, Any]) -> None:
    node.decide({"step": "key", "name": name, "keys": keys, "shards": shards})


def aliases(node: Node, request: Request) -> Result:
    return Result({"aliases": _aliases(node, request.access.sees)})


def aliases_of(node: Node, request: Request) -> Result:
    name = node.resolved(request.collection)
    return Result({"aliases": _aliases(node, lambda target: target == name)})


def _aliases(node: Node, wanted: Callable[[str], bool]) -> list[dict[str, str]]:
    pairs = sorted(node.meta.aliases.items())
    return [{"alias_name": alias, "collection_name": target} for alias, target in pairs if wanted(target)]


def change_aliases(node: Node, request: Request) -> Result:
    """Shows all actions at once. Where one is refused, those before it stay done: so does the real server."""
    with node.changing(""):
        aliases = dict(node.meta.aliases)
        try:
            for action in request.json()["actions"]:
                for verb, body in action.items():
                    _act(node, aliases, verb, body)
            node.switches.pass_step("switch")
        finally:
            if aliases != node.meta.aliases:
                node.decide({"step": "alias", "aliases": aliases})
    return Result(True)


def _act(node: Node, aliases: dict[str, str], verb: str, body: Mapping[str, str]) -> None:
    if verb == "delete_alias":
        aliases.pop(body["alias_name"], None)
    elif verb == "rename_alias":
        if body["old_alias_name"] not in aliases:
            raise not_found(f"Alias {body['old_alias_name']} does not exists!")
        aliases[body["new_alias_name"]] = aliases.pop(body["old_alias_name"])
    else:
        if body["collection_name"] not in node.meta.collections:
            raise no_collection(body["collection_name"])
        if body["alias_name"] in node.meta.collections:
            raise Refused(409, f"Wrong input: Collection `{body['alias_name']}` already exists!")
        aliases[body["alias_name"]] = body["collection_name"]


def create_index(node: Node, request: Request) -> Result:
    points = Points(node, request.collection)
    body = request.json()
    return changed(request, points.index(body["field_name"], indexes.checked(body.get("field_schema"))))


def delete_index(node: Node, request: Request) -> Result:
    points = Points(node, request.collection)
    return changed(request, points.index(request.values["field"], None))


def changed(request: Request, operation: int) -> Result:
    """What a change of points or indexes answers: other than elsewhere, who does not say `wait=true` is not waited for."""
    status = "completed" if request.query.get("wait") == "true" else "acknowledged"
    return Result({"operation_id": operation, "status": status})
