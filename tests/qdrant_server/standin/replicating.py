"""How the copies of a shard on other nodes follow the one that was recovered."""

import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from qdrant_server.standin import peers, stored
from qdrant_server.standin.errors import Refused
from qdrant_server.standin.node import Node


def after_recovery(node: Node, name: str, shard: int, priority: str) -> None:
    """Sets the states of all copies.

    With `snapshot` the other copies are dead until they have been brought from this one, which goes on by itself; with `replica`
    this one is brought from another that is active, where there is one; with `no_sync` nothing follows.
    """
    replicas: dict[str, Any] = node.state(name)["shards"][str(shard)]["replicas"]
    others = [int(peer) for peer in replicas if int(peer) != node.peer]
    active = [peer for peer in others if replicas[str(peer)] == "Active"]
    if priority == "replica" and active:
        _bring(node, name, shard, node.peers[active[0]])
        _set(node, name, shard, node.peer, "Active")
        return
    _set(node, name, shard, node.peer, "Recovery" if node.switches.on.recovery_delay else "Active")
    if priority == "snapshot":
        for peer in others:
            _set(node, name, shard, peer, "Dead")
    if others or node.switches.on.recovery_delay:
        threading.Thread(target=_follow, args=(node, name, shard, others, priority), daemon=True).start()


def _follow(node: Node, name: str, shard: int, others: list[int], priority: str) -> None:
    with suppress(Refused, peers.Unreachable):  # the collection may be gone by now
        time.sleep(node.switches.on.recovery_delay)
        _set(node, name, shard, node.peer, "Active")
        for peer in others if priority == "snapshot" else []:
            _set(node, name, shard, peer, "Recovery")
            path = peers.shard_path(name, shard, "bring")
            if node.tell(node.peers[peer], path, {"from": node.settings.url}) is None:
                _set(node, name, shard, peer, "Dead")


def _set(node: Node, name: str, shard: int, peer: int, state: str) -> None:
    node.decide({"step": "replica", "name": name, "shard": shard, "peer": peer, "state": state})


def catch_up(node: Node) -> None:
    """Brings the copies that died while this node was away, from nodes where they live."""
    for name in list(node.meta.collections):
        for shard in node.own_shards(name):
            states = node.state(name)["shards"][str(shard)]["replicas"]
            sources = [int(peer) for peer, state in states.items() if state == "Active" and int(peer) != node.peer]
            if states[str(node.peer)] == "Dead" and sources:
                with suppress(Refused, peers.Unreachable):
                    _set(node, name, shard, node.peer, "Recovery")
                    bring(node, name, shard, node.peers[sources[0]])


def bring(node: Node, name: str, shard: int, url: str) -> bool:
    """Replaces this node's copy by another node's and makes it active."""
    _bring(node, name, shard, url)
    _set(node, name, shard, node.peer, "Active")
    return True


def _bring(node: Node, name: str, shard: int, url: str) -> None:
    from qdrant_server.standin import recovering

    path = peers.shard_path(name, shard, "snapshot")
    with stored.scratch(node, "bring-") as folder:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as writer:
            peers.fetch(url, path, {}, node.settings.api_key, writer)
        recovering.take_copy(node, name, shard, Path(writer.name), folder / "unpacked")
