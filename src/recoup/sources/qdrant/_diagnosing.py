"""How a server and its collections are, and what the key may do: each in a sentence. Nothing is changed."""

from collections.abc import Iterable, Iterator

from recoup.errors import RecoupError
from recoup.model.names import shown
from recoup.sources._base import Symptom
from recoup.sources.qdrant import _choosing
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._faults import MissingError, ServerError
from recoup.sources.qdrant._inventory import ACTIVE, Collection, Inventory, Node, Replica
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._rights import needed

_STATES = {
    "green": "",
    "yellow": "",  # it is being optimized, which a snapshot does not mind
    "grey": "optimizations wait for a write: `PATCH /collections/NAME` with any setting starts them.",
    "red": "an optimization failed: the server's log says why. Look before it is the newest backup.",
}
"""What to do about a collection's status (Qdrant's documentation, Collections, "Collection info")."""


def diagnose(inventory: Inventory, collections: Iterable[Collection], options: Options) -> Iterator[Symptom]:
    """What is seen, the server first.

    Args:
        inventory: of the server.
        collections: those that the settings choose.
        options: the settings.
    """
    for node in inventory.nodes:
        yield _of_node(node, inventory.version)
    for peer, why in inventory.lost.items():
        message = f"node {peer} of the cluster cannot be reached: {why}"
        yield Symptom("warning", message, "Add its URL to `nodes`, or start it.")
    chosen = list(collections)
    yield from _of_key(inventory, chosen, options)
    for collection in chosen:
        yield _of_collection(collection)


def _of_node(node: Node, version: str) -> Symptom:
    peer = "" if node.peer is None else f", node {node.peer}"
    what = f"Qdrant {version} at {node.server.url}{peer}"
    try:
        node.server.text("/readyz")
    except MissingError:
        return Symptom("ok", f"{what} answers")  # before version 1.4 there is no such question
    except ServerError as error:
        return Symptom("warning", f"{what} says that it is not ready: {error.message}", "See the server's log.")
    return Symptom("ok", f"{what} is ready")


def _of_key(inventory: Inventory, chosen: list[Collection], options: Options) -> Iterator[Symptom]:
    """What the key may do, asked for each collection, or once where it is good for all."""
    key = "the key" if options.api_key is not None else "who has no key"
    for collection in chosen:
        try:
            may = _choosing.rights(inventory, collection)
        except RecoupError as error:
            yield Symptom("warning", f"what {key} may do is not known: {error.message}", error.hint)
            return
        where = "all collections" if may.everywhere else f"collection {shown(collection.name)}"
        if may.write:
            yield Symptom("ok", f"{key} may take snapshots of {where}")
        else:
            right = needed("POST", f"{at('collections', collection.name)}/snapshots")
            suffices = options.method == "scroll" or options.allow_scroll
            message = f"{key} may only read points of {where}"
            yield Symptom("ok" if suffices else "error", message, f"Snapshots need {right}.")
        if may.everywhere:
            return


def _of_collection(collection: Collection) -> Symptom:
    name = f"collection {shown(collection.name)}"
    shards = f" in {len(collection.shards)} shards" if len(collection.shards) > 1 else ""
    message = f"{name} is {collection.status or 'of unknown status'}, about {collection.points:,} points{shards}"
    inactive = [(s.id, r) for s in collection.shards for r in s.replicas if r.state != ACTIVE]
    if not all(any(r.state == ACTIVE for r in shard.replicas) for shard in collection.shards):
        return Symptom("error", f"{message}; {_copies(inactive)}", "See why its node is down; a backup would lack it.")
    if inactive:
        return Symptom("warning", f"{message}; {_copies(inactive)}", "See why its node is down.")
    if hint := _STATES.get(collection.status, "the server's log may say why."):
        return Symptom("error" if collection.status == "red" else "warning", message, hint[0].upper() + hint[1:])
    if collection.transfers:
        return Symptom("warning", f"{message}; {collection.transfers} shards are being moved", "Wait for its end.")
    return Symptom("ok", message)


def _copies(inactive: Iterable[tuple[int, Replica]]) -> str:
    return ", ".join(f"shard {number} at node {replica.peer} is {replica.state}" for number, replica in inactive)
