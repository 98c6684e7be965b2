"""The cluster: what a node tells of it, and what the nodes ask each other."""

from datetime import UTC, datetime
from typing import Any

from qdrant_server.standin import replicating, snapshots_api
from qdrant_server.standin.answers import Answer, Request, Result
from qdrant_server.standin.errors import not_found
from qdrant_server.standin.node import Node

_QUESTIONS = ("count", "scroll", "retrieve", "query", "facet", "info")


def status(node: Node, request: Request) -> Result:
    if not node.distributed:
        return Result({"status": "disabled"})
    leader = min(node.peers)
    failures = {url: {"count": count, "latest_error": "transport error"} for url, count in node.send_failures.items()}
    raft: dict[str, Any] = {"term": 1, "commit": 9, "pending_operations": 0, "leader": leader}
    raft |= {"role": "Leader" if leader == node.peer else "Follower", "is_voter": True}
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return Result(
        {
            "status": "enabled",
            "peer_id": node.peer,
            "peers": {str(peer): {"uri": f"{url}/"} for peer, url in sorted(node.peers.items())},
            "raft_info": raft,
            "consensus_thread_status": {"consensus_thread_status": "working", "last_update": now},
            "message_send_failures": failures,
        }
    )


def hello(node: Node, request: Request) -> Result:
    """Another node is there."""
    body = request.json()
    return Result(node.greeted(int(body["peer"]), str(body["url"])))


def step(node: Node, request: Request) -> Result:
    """Another node decided on something."""
    node.take(request.json())
    return Result(True)


def shard(node: Node, request: Request) -> Answer:
    """Another node asks, or writes to, this node's copy of a shard."""
    verb = request.values["verb"]
    copy = node.shard(request.collection, request.shard)
    if verb in _QUESTIONS:
        return Result(copy.ask(verb, request.json()))
    if verb == "change":
        return Result(copy.change(request.json()))
    if verb == "snapshot":
        return snapshots_api.stream(node, request)
    if verb == "bring":
        return Result(replicating.bring(node, request.collection, request.shard, request.json()["from"]))
    raise not_found(verb)
