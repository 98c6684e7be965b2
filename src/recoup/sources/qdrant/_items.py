"""What has to be taken of a collection, from which nodes, and what cannot be."""

from collections.abc import Mapping

from recoup.model.manifest import Finding
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._inventory import ACTIVE, Collection, Inventory, Node, Shard
from recoup.sources.qdrant._record import Method
from recoup.sources.qdrant._taking import Item


class Only(Struct):
    """What is taken of a collection here, while others take the rest of it.

    Attributes:
        shard: its number; None for the whole collection.
        methods: for the first try, the second, ...
    """

    shard: int | None
    methods: tuple[Method, ...]


def items(
    inventory: Inventory, collection: Collection, method: Method, only: int | None = None
) -> tuple[list[Item], list[Finding]]:
    """The snapshots that make a collection whole, and a finding for each shard of which no good copy can be reached.

    Args:
        inventory: of the server.
        collection: which.
        method: of the first try.
        only: number of the one shard that is wanted; None for all.
    """
    if method == "scroll":
        return [Item(collection, None, inventory.nodes)], []
    shards = [shard for shard in collection.shards if only in (None, shard.id)]
    good = {shard.id: good_nodes(inventory, shard) for shard in shards}
    lost = [_lost(inventory, collection, shard) for shard in shards if not good[shard.id]]
    if method == "collection":
        return _whole(inventory, collection, good), lost
    if only is not None and not shards:
        item = f"collection {shown(collection.name)} shard {only}"
        lost.append(Finding("unreadable", item, "was deleted before it could be taken"))
    found = [Item(collection, shard.id, good[shard.id]) for shard in shards if good[shard.id]]
    return _spread(found), lost


def good_nodes(inventory: Inventory, shard: Shard) -> tuple[Node, ...]:
    """The nodes that can be reached and have an active copy."""
    nodes = (inventory.node_of(replica.peer) for replica in shard.replicas if replica.state == ACTIVE)
    return tuple(node for node in nodes if node is not None)


def _whole(inventory: Inventory, collection: Collection, good: Mapping[int, tuple[Node, ...]]) -> list[Item]:
    """One item for each node that has a good copy of something; of a collection without shards, one of the first node."""
    holders = [node for node in inventory.nodes if any(node in nodes for nodes in good.values())]
    return [Item(collection, None, (node,)) for node in holders or inventory.nodes[:1]]


def _spread(found: list[Item]) -> list[Item]:
    """Asks the nodes in turn, so that the work is shared between those that have copies."""
    load: dict[str, int] = {}
    spread = []
    for item in found:
        nodes = sorted(item.nodes, key=lambda node: load.get(node.server.url, 0))
        load[nodes[0].server.url] = load.get(nodes[0].server.url, 0) + 1
        spread.append(Item(item.collection, item.shard, tuple(nodes)))
    return spread


def _lost(inventory: Inventory, collection: Collection, shard: Shard) -> Finding:
    reasons = [
        f"peer {replica.peer} is {replica.state}"
        if replica.state != ACTIVE
        else inventory.lost.get(replica.peer or 0, f"peer {replica.peer} is not listed under `nodes:`")
        for replica in shard.replicas
    ]
    told = "; ".join(reasons) or "it has no copy at all"
    message = f"shard {shard.id} has no reachable active copy: {told}"
    return Finding("unreadable", f"collection {shown(collection.name)} shard {shard.id}", message)
