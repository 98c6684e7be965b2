"""One node: what it agreed on with the others, its own shards, its switches."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from qdrant_server.standin import peers
from qdrant_server.standin.errors import no_collection
from qdrant_server.standin.faults import Switches
from qdrant_server.standin.meta import Meta, State, Step, write_json
from qdrant_server.standin.settings import Settings
from qdrant_server.standin.shard_data import OpenShards, ShardData


class Node:
    """One server.

    Attributes:
        settings: what it was told at its start.
        meta: collections and aliases.
        switches: its faults.
        peer: its peer id.
        peers: URL by peer id, itself included; alone: itself.
        running: snapshots that are being made or recovered, by (kind, collection).
        created: how often a collection's snapshot was asked for, by the name that was given.
        ready: whether it has found the others.
        send_failures: how often another node did not answer, by its URL.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.storage.mkdir(parents=True, exist_ok=True)
        settings.snapshots.mkdir(parents=True, exist_ok=True)
        self.meta = Meta(settings.storage)
        self.switches = Switches()
        self.peer = self._own_peer()
        self.peers: dict[int, str] = {self.peer: settings.url}
        self.running: Counter[tuple[str, str]] = Counter()
        self.created: Counter[str] = Counter()
        self.send_failures: Counter[str] = Counter()
        self.ready = False
        self._lock = threading.RLock()
        self._changing: dict[str, threading.RLock] = {}
        self._opened = OpenShards(settings.storage / "tmp" / "empty")
        self._shards: dict[tuple[str, int], ShardData] = {}

    def _own_peer(self) -> int:
        path = self.settings.storage / "raft_state.json"
        if not path.exists():
            write_json(path, {"peer_id": random.randrange(10**15, 9 * 10**15)})
        return int(json.loads(path.read_text())["peer_id"])

    @property
    def distributed(self) -> bool:
        """Whether it is part of a cluster, be it the only node."""
        return bool(self.settings.peers)

    def resolved(self, name: str) -> str:
        """The collection behind a name or an alias.

        Raises:
            Refused: 404.
        """
        found = name if name in self.meta.collections else self.meta.aliases.get(name)
        if found is None or found not in self.meta.collections:
            raise no_collection(name)
        return found

    def state(self, collection: str) -> State:
        """What was agreed on a collection.

        Raises:
            Refused: 404.
        """
        try:
            return self.meta.collections[collection]
        except KeyError:
            raise no_collection(collection) from None

    def shard(self, collection: str, shard: int) -> ShardData:
        """This node's copy of a shard."""
        with self._lock:
            self.state(collection)
            key = (collection, shard)
            if key not in self._shards:
                folder = self.meta.folder(collection) / str(shard)
                self._shards[key] = ShardData(folder, lambda: self.state(collection)["config"], self._opened)
            return self._shards[key]

    def own_shards(self, collection: str) -> list[int]:
        """Ids of the shards of which this node has a copy."""
        shards = self.state(collection)["shards"]
        return sorted(int(shard) for shard, entry in shards.items() if str(self.peer) in entry["replicas"])

    def replica_state(self, collection: str, shard: int, peer: int) -> str:
        """State of a copy; a fault can show another one for this node's own."""
        shown = (self.switches.on.replica_states or {}).get(f"{collection}/{shard}")
        if shown and peer == self.peer:
            return shown
        return str(self.state(collection)["shards"][str(shard)]["replicas"][str(peer)])

    def changing(self, collection: str) -> threading.RLock:
        """Lets one at a time change a collection as a whole."""
        with self._lock:
            return self._changing.setdefault(collection, threading.RLock())

    def take(self, step: Step) -> None:
        """Takes a step that this or another node decided on."""
        with self._lock:
            if step["step"] in ("drop", "put"):
                self._forget(step["name"])
            self.meta.apply(step)

    def decide(self, step: Step) -> None:
        """Takes a step, here and on all nodes that can be reached."""
        self.take(step)
        for url in self.others():
            self.tell(url, "step", step)

    def others(self) -> list[str]:
        """URLs of the other nodes."""
        return [url for peer, url in self.peers.items() if peer != self.peer]

    def tell(self, url: str, path: str, body: object, patience: float = 30.0) -> Any:
        """Asks another node; None if it does not answer."""
        try:
            return peers.ask(url, path, body, self.settings.api_key, patience)
        except peers.Unreachable:
            self.send_failures[url] += 1
            return None

    def _forget(self, collection: str) -> None:
        for key in [key for key in self._shards if key[0] == collection]:
            self._shards.pop(key).remove()

    def join(self) -> None:
        """Tells the other nodes that it is there, and learns from them what was agreed while it was not."""
        for url in self.settings.peers:
            if url == self.settings.url:
                continue
            met = self.tell(url, "hello", {"peer": self.peer, "url": self.settings.url}, 5)
            if met is not None:
                self.peers[int(met["peer"])] = url
                self._adopt(met["meta"])
        self.send_failures.clear()

    def greeted(self, peer: int, url: str) -> dict[str, Any]:
        """What another node hears that comes up."""
        self.peers[peer] = url
        return {"peer": self.peer, "meta": {"collections": self.meta.collections, "aliases": self.meta.aliases}}

    def _adopt(self, meta: Mapping[str, Any]) -> None:
        for name in set(self.meta.collections) - set(meta["collections"]):
            self.take({"step": "drop", "name": name})
        for name, state in meta["collections"].items():
            known = self.meta.collections.get(name)
            if known and known["born"] != state["born"]:
                self.take({"step": "drop", "name": name})
            if known and known["born"] == state["born"]:
                self.meta.collections[name] = state
            else:
                self.take({"step": "put", "name": name, "state": state})
        self.take({"step": "alias", "aliases": meta["aliases"]})

    @contextmanager
    def counted(self, kind: str, collection: str) -> Iterator[None]:
        """Shows in the metrics that a snapshot is being made (`creation`) or recovered (`recovery`)."""
        with self._lock:
            self.running[kind, collection] += 1
            self.running["creation" if kind == "recovery" else "recovery", collection] += 0
        try:
            yield
        finally:
            with self._lock:
                self.running[kind, collection] -= 1

    def optimize_for_ever(self, ended: threading.Event) -> None:
        """Builds graphs in the background, as the optimizer does, until `ended`."""
        while not ended.wait(0.1):
            for (collection, _), shard in list(self._shards.items()):
                if shard.unindexed > self._threshold(collection):
                    shard.optimize()

    def _threshold(self, collection: str) -> float:
        state = self.meta.collections.get(collection)
        told = state["config"]["optimizer_config"]["indexing_threshold"] if state else None
        return float("inf") if not told else float(told)

    def optimizing(self, collection: str) -> bool:
        """Whether graphs of a collection are still to be built."""
        limit = self._threshold(collection)
        return any(shard.unindexed > limit for (name, _), shard in list(self._shards.items()) if name == collection)

    def pause(self, seconds: float) -> None:
        """Waits, for a fault."""
        if seconds:
            time.sleep(seconds)

    def close(self) -> None:
        """Writes everything out."""
        for shard in list(self._shards.values()):
            shard.close()
