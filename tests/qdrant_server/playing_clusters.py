"""Playing the recording of a cluster: which node holds which shard is for the server to choose, so nodes are cast anew."""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any
from urllib.parse import unquote

from qdrant_server.asking import Answer
from qdrant_server.playing import Playing
from qdrant_server.recordings import Exchange, exchanges
from qdrant_server.starting import Started

_RECORDING = "cluster"
_SOURCES = {"r1": "docs", "cust2": "cust"}
"""Collections made from another one's snapshots, node by node: cast as that one."""

_CHOSEN = "cust"
"""The collection whose shards lie where the server chooses, key by key."""


class ClusterPlaying(Playing):
    """A replay in which node `n` of the recording is, for each collection, the node that holds the shards that `n` held."""

    def __init__(
        self,
        nodes: Sequence[Started],
        substitutes: Mapping[tuple[str, int], Callable[[Playing], Any]],
        headers: Callable[[Exchange], Mapping[str, str]],
    ) -> None:
        super().__init__(nodes, substitutes, headers)
        self._cast: dict[str, tuple[int, ...]] = {}
        self._made: list[Exchange] = []
        self._peers = [int(node.ask("GET", "/cluster")["peer_id"]) for node in nodes]

    def server(self, exchange: Exchange) -> Started:
        """The node that a request goes to."""
        return self.nodes[self._roles(_collection(exchange))[exchange.node]]

    def node(self, collection: str, number: int) -> Started:
        """The server that is node `number` for a collection."""
        return self.nodes[self._roles(collection)[number]]

    def send(self, exchange: Exchange) -> Answer:
        """Sends a recorded request; one that makes a collection from another one's snapshot until its shards lie as that one's.

        Where they lie is the server's choice: each further collection makes it choose anew.
        """
        name = _collection(exchange)
        if name == _CHOSEN:
            self._place_as_recorded(exchange)
        answer = super().send(exchange)
        if not exchange.uploads or name not in _SOURCES or exchange.node != 0:
            return answer
        fillers: list[str] = []
        while self._places(name) != self._places(_SOURCES[name]) and self._places(name) and len(fillers) < 60:
            fillers.append(f"filler-{len(fillers)}")
            self.nodes[0].ask("DELETE", f"/collections/{name}")
            self.nodes[0].ask("PUT", f"/collections/{fillers[-1]}", {"vectors": {"size": 1, "distance": "Dot"}})
            answer = super().send(exchange)
        for filler in fillers:
            self.nodes[0].ask("DELETE", f"/collections/{filler}")
        return answer

    def _place_as_recorded(self, exchange: Exchange) -> None:
        """Makes the collection with shard keys again until no node holds two of its shards, as was recorded.

        Which node gets a key is a real server's choice; each further collection makes it choose anew.
        """
        if exchange.method == "PUT":
            self._made.append(exchange)
            return
        made, self._made = self._made, []
        for number in range(60 if made else 0):
            if self._found(_CHOSEN) is not None:
                return
            self.nodes[0].ask("DELETE", f"/collections/{_CHOSEN}")
            self.nodes[0].ask("PUT", f"/collections/before-{number}", {"vectors": {"size": 1, "distance": "Dot"}})
            self.nodes[0].ask("DELETE", f"/collections/before-{number}")
            for one in made:
                super().send(one)

    def _places(self, collection: str) -> list[frozenset[int]]:
        """The shards that each node holds; empty where there are none."""
        answers = [node.ask("GET", f"/collections/{collection}/cluster") for node in self.nodes]
        held = [_held(answer) for answer in answers]
        return held if any(held) else []

    def _judged(self, exchange: Exchange, answer: Any) -> list[str]:
        roles = self._roles(_collection(exchange))
        recorded = {peer: f"node {number}" for number, peer in enumerate(_recorded_peers())}
        self.comparison.peers = recorded | {self._peers[role]: f"node {number}" for number, role in enumerate(roles)}
        return super()._judged(exchange, answer)

    def _roles(self, collection: str) -> tuple[int, ...]:
        source = _SOURCES.get(collection, collection)
        if source not in self._cast:
            roles = self._found(source)
            if roles is None:
                return tuple(range(len(self.nodes)))
            self._cast[source] = roles
        return self._cast[source]

    def _found(self, collection: str) -> tuple[int, ...] | None:
        """The order of nodes in which they hold what the recorded ones held; None while the collection is not there."""
        wanted = [_held(answer) for answer in _recorded_placements(collection)]
        answers = [node.http.get(f"/collections/{collection}/cluster") for node in self.nodes]
        if not wanted or not all(answer.is_success for answer in answers):
            return None
        actual = [_held(answer.json()["result"]) for answer in answers]
        fitting = (roles for roles in permutations(range(len(actual))) if [actual[role] for role in roles] == wanted)
        return next(fitting, None)


def _collection(exchange: Exchange) -> str:
    steps = exchange.path.partition("?")[0].split("/")
    return unquote(steps[2]) if len(steps) > 2 and steps[1] == "collections" else "docs"


def _held(placement: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(shard["shard_id"] for shard in placement["local_shards"])


def _recorded_placements(collection: str) -> list[Mapping[str, Any]]:
    """What each node told first of the collection's shards; of the key-wise one, when all its keys were there."""
    path = f"/collections/{collection}/cluster"
    told: dict[int, Mapping[str, Any]] = {}
    for exchange in exchanges(_RECORDING):
        if exchange.path == path and exchange.status == 200:
            told.setdefault(exchange.node, exchange.response["json"]["result"])
    return [told[number] for number in sorted(told)]


def _recorded_peers() -> list[int]:
    return [placement["peer_id"] for placement in _recorded_placements("docs")]
