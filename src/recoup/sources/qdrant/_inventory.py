"""What there is on a server: nodes, collections, shards, where their copies are, aliases.

In a cluster every node knows all shards but serves only its own, so each has to be reached by a URL of its own. Those not
listed in the settings are looked for at the host that the cluster names, with the first node's port.
"""

import contextlib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any
from urllib.parse import urlsplit

from recoup.errors import EmptySourceError, RefusedError, SourceError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at, require_allowed
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ForbiddenError, MissingError, ServerError, UnreachableError
from recoup.sources.qdrant._record import ShardKey

ACTIVE = "Active"
"""State of a copy that holds all points and answers."""


class Node(Struct):
    """One node that can be reached.

    Attributes:
        server: how.
        peer: its peer id; None where it runs alone, or where the key may not ask.
    """

    server: Server
    peer: int | None = None


class Replica(Struct):
    """One copy of a shard.

    Attributes:
        peer: whose; None where the server tells none.
        state: `Active`, `Dead`, `Partial`, ...
        points: roughly how many, where the node itself said so.
    """

    peer: int | None
    state: str
    points: int | None = None


class Shard(Struct):
    """One shard of a collection.

    Attributes:
        id: its number.
        key: its shard key; None without custom sharding.
        replicas: its copies.
    """

    id: int
    key: ShardKey | None
    replicas: tuple[Replica, ...]


class Collection(Struct):
    """One collection as the server tells it.

    Attributes:
        name: its own name.
        config: parameters, HNSW, optimizers, WAL, quantization, strict mode, metadata.
        payload_schema: field to its index parameters, without the counts.
        status: `green`, `yellow`, `grey` or `red`.
        points: roughly how many.
        segments: how many, on the node that was asked.
        shards: by id; empty where the key may not see them (`shards_known` is False then).
        transfers: shards being moved between nodes now.
        aliases: names that lead to it, sorted.
        shards_known: False when the key may not ask for the shards.
        told: False when the server could not tell all of it, because nobody has one of its shards: its payload schema is
            not known then, and its configuration only where the telemetry has it.
    """

    name: str
    config: Mapping[str, Any]
    payload_schema: Mapping[str, Any]
    status: str = ""
    points: int = 0
    segments: int = 0
    shards: tuple[Shard, ...] = ()
    transfers: int = 0
    aliases: tuple[str, ...] = ()
    shards_known: bool = True
    told: bool = True

    @property
    def shard_keys(self) -> tuple[ShardKey, ...]:
        """Shard keys in the order of the lowest id of their shards: the order in which to create them again."""
        keys: list[ShardKey] = []
        for shard in self.shards:
            if shard.key is not None and not any(_same(shard.key, key) for key in keys):
                keys.append(shard.key)
        return tuple(keys)


def _same(one: ShardKey, other: ShardKey) -> bool:
    return type(one) is type(other) and one == other


class Inventory(Struct):
    """What a server or cluster holds.

    Attributes:
        version: of the first node.
        nodes: all that can be reached; the first is the one of the settings.
        names: the collections' own names, sorted.
        aliases: alias to collection.
        distributed: True in a cluster.
        lost: peer id to the reason why that node cannot be reached.
    """

    version: str
    nodes: tuple[Node, ...]
    names: tuple[str, ...]
    aliases: Mapping[str, str]
    distributed: bool = False
    lost: Mapping[int, str] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        """The node of the settings, which answers for all."""
        return self.nodes[0].server

    def collection(self, name: str) -> Collection:
        """Asks for one collection.

        Raises:
            MissingError: it is gone.
            ServerError: the server does not answer.
        """
        return collection(self.nodes, name, self.aliases)

    def again(self) -> tuple[str, ...]:
        """The names of the collections that there are now, sorted."""
        return _names(self.server)

    def node_of(self, peer: int | None) -> Node | None:
        """The node of a peer id, where it can be reached; a server alone is the only one."""
        if not self.distributed:
            return self.nodes[0]
        return next((node for node in self.nodes if node.peer == peer), None)


def look(servers: Sequence[Server], *, allow_remote: bool = True) -> Inventory:
    """Looks around: nodes, names and aliases. The collections themselves are asked one by one, when they are needed.

    Args:
        servers: the configured node, then further ones.
        allow_remote: False when only hosts of this machine may be contacted.

    Raises:
        SourceError: the first node cannot be reached, or is no Qdrant; a listed node cannot be reached is told in `lost` instead.
        RefusedError: a node is not this machine, and `allow_remote` is off.
    """
    for server in servers:
        require_allowed(server.url, allow_remote=allow_remote)
    first = servers[0]
    version = first.version
    cluster = _cluster(first)
    names = _names(first)
    aliases = {
        str(one["alias_name"]): str(one["collection_name"])
        for one in (first.get(at("aliases")) or {}).get("aliases", ())
    }
    if cluster is not None and cluster.get("status") != "enabled":
        return Inventory(version, (Node(first),), names, aliases)
    nodes, lost = _nodes(servers, cluster, names, allow_remote=allow_remote)
    distributed = cluster is not None or len(servers) > 1
    return Inventory(version, nodes, names, aliases, distributed, lost)


def _names(server: Server) -> tuple[str, ...]:
    answer = server.get(at("collections")) or {}
    return tuple(sorted(str(one["name"]) for one in answer.get("collections", ())))


def _cluster(server: Server) -> Mapping[str, Any] | None:
    """What a node says of its cluster; None where the key may not ask."""
    try:
        answer = server.get(at("cluster"))
    except ForbiddenError as error:
        if error.status == 401:
            raise
        return None
    return answer if isinstance(answer, dict) else {}


def _nodes(
    servers: Sequence[Server], cluster: Mapping[str, Any] | None, names: Sequence[str], *, allow_remote: bool
) -> tuple[tuple[Node, ...], dict[int, str]]:
    nodes: list[Node] = []
    failed: list[str] = []
    for server in servers:
        try:
            nodes.append(Node(server, _peer_of(server, names)))
        except UnreachableError as error:
            failed.append(error.message)
    if not nodes:
        raise SourceError("; ".join(failed), "See whether Qdrant runs there.")
    lost: dict[int, str] = {}
    peers = (cluster or {}).get("peers", {})
    for text, about in peers.items():
        peer = int(text)
        if any(node.peer == peer for node in nodes):
            continue
        found, reason = _guessed(servers[0], peer, str(about.get("uri", "")), allow_remote=allow_remote)
        if found is not None:
            nodes.append(found)
        else:
            lost[peer] = "; ".join([*failed, reason])
    return tuple(nodes), lost


def _peer_of(server: Server, names: Sequence[str]) -> int | None:
    """A node's own peer id: from the cluster, else (with a key for one collection) from a collection."""
    cluster = _cluster(server)
    if cluster is not None:
        peer = cluster.get("peer_id")
        return int(peer) if peer is not None else None
    for name in names:
        try:
            return int(server.get(at("collections", name, "cluster"))["peer_id"])
        except (ForbiddenError, MissingError):
            continue
    return None


def _guessed(first: Server, peer: int, uri: str, *, allow_remote: bool) -> tuple[Node | None, str]:
    """A node that nobody listed: the peer's host with the first node's scheme and port, if it says that it is the one."""
    host = urlsplit(uri).hostname
    known = urlsplit(first.url)
    if not host:
        return None, f"peer {peer} is not listed under `nodes:`"
    address = f"[{host}]" if ":" in host else host
    url = f"{known.scheme}://{address}:{known.port or (443 if known.scheme == 'https' else 6333)}{known.path}"
    if url == first.url:
        return None, f"peer {peer} is not listed under `nodes:`"
    try:
        require_allowed(url, allow_remote=allow_remote)
        server = first.at(url)
        if _peer_of(server, ()) == peer:
            return Node(server, peer), ""
    except (RefusedError, ServerError) as error:
        return None, f"{error.message} (list its URL under `nodes:`)"
    return None, f"peer {peer} is not listed under `nodes:`, and {url} is another one"


def collection(nodes: Sequence[Node], name: str, aliases: Mapping[str, str]) -> Collection:
    """Asks every node for one collection and puts together what they say; a node speaks for its own copies.

    Raises:
        MissingError: it is gone.
        ServerError: the first node does not answer.
    """
    first = nodes[0].server
    about, told = _about(first, name)
    leading = tuple(sorted(alias for alias, target in aliases.items() if target == name))
    common = Collection(
        name,
        about.get("config", {}),
        {key: _parameters(value) for key, value in (about.get("payload_schema") or {}).items()},
        str(about.get("status", "")),
        int(about.get("points_count") or 0),
        int(about.get("segments_count") or 0),
        aliases=leading,
        told=told,
    )
    try:
        views = _views(nodes, name)
    except ForbiddenError:
        return replace(common, shards_known=False)
    transfers = max(len(view.get("shard_transfers") or ()) for view in views)
    return replace(common, shards=_shards(views), transfers=transfers)


def _about(server: Server, name: str) -> tuple[Mapping[str, Any], bool]:
    """What a server says of a collection, and whether it could say all of it: it cannot while a shard has no copy at all."""
    try:
        return server.get(at("collections", name)), True
    except ServerError as error:
        if error.status != 500:
            raise
    with contextlib.suppress(ServerError):
        telemetry = server.get(at("telemetry"), details_level=2)
        for one in (telemetry.get("collections") or {}).get("collections") or ():
            if one.get("id") == name and one.get("config"):
                return {"config": one["config"]}, False
    return {}, False


def _views(nodes: Sequence[Node], name: str) -> list[Mapping[str, Any]]:
    """What every node says of a collection's shards; one that died meanwhile says nothing."""
    views: list[Mapping[str, Any]] = []
    for number, node in enumerate(nodes):
        try:
            views.append(node.server.get(at("collections", name, "cluster")))
        except (UnreachableError, MissingError):
            if number == 0:
                raise
    return views


def _parameters(field_schema: Mapping[str, Any]) -> dict[str, Any]:
    """An index's parameters without the number of points, which changes by itself."""
    return {key: value for key, value in field_schema.items() if key != "points"}


def _shards(views: Iterable[Mapping[str, Any]]) -> tuple[Shard, ...]:
    keys: dict[int, ShardKey | None] = {}
    replicas: dict[int, dict[int | None, Replica]] = {}
    for view in views:
        own = view.get("peer_id")
        for remote in view.get("remote_shards") or ():
            number = int(remote["shard_id"])
            keys.setdefault(number, remote.get("shard_key"))
            replica = Replica(int(remote["peer_id"]), str(remote["state"]))
            replicas.setdefault(number, {}).setdefault(replica.peer, replica)
        for local in view.get("local_shards") or ():
            number = int(local["shard_id"])
            keys.setdefault(number, local.get("shard_key"))
            peer = int(own) if own is not None else None
            points = local.get("points_count")
            # a node knows its own copy best
            replicas.setdefault(number, {})[peer] = Replica(peer, str(local["state"]), points)
    return tuple(
        Shard(number, keys[number], tuple(sorted(replicas[number].values(), key=lambda one: one.peer or 0)))
        for number in sorted(keys)
    )


def choose(
    names: Iterable[str], patterns: Sequence[str], *, allow_empty: bool, aliases: Mapping[str, str] | None = None
) -> list[str]:
    """The collections that patterns name, by their own names or by an alias: shell patterns, a leading `!` excludes.

    A restore may have made an alias of a collection's former name, and clients, as settings, go on using it.

    Args:
        names: all there are.
        patterns: of the settings.
        allow_empty: whether a pattern may match nothing.
        aliases: alias to collection.

    Raises:
        EmptySourceError: a pattern matches nothing, or nothing is left.
    """
    called = {name: [name] for name in sorted(names)}
    for alias, name in (aliases or {}).items():
        called.get(name, []).append(alias)
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    for pattern in wanted:
        if not allow_empty and not any(_matches(one, [pattern]) for ones in called.values() for one in ones):
            there = ", ".join(shown(name) for name in list(called)[:20]) or "none"
            raise EmptySourceError(
                f"no collection matches {shown(pattern)!r}",
                f"There are: {there}. Correct the pattern, or set allow_empty: true.",
            )
    chosen = [
        name
        for name, ones in called.items()
        if any(_matches(one, wanted) for one in ones) and not any(_matches(one, unwanted) for one in ones)
    ]
    if not chosen and not allow_empty:
        raise EmptySourceError("the patterns leave no collection", "Correct them, or set allow_empty: true.")
    return chosen


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
