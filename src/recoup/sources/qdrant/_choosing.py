"""How a collection can be taken: by the settings, the server's version, the key's rights, and what else is captured."""

from collections.abc import Callable

from recoup.errors import SourceError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at, version_of
from recoup.sources.qdrant._faults import ForbiddenError, MissingError, ServerError
from recoup.sources.qdrant._inventory import Collection, Inventory
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._record import Method
from recoup.sources.qdrant._rights import needed

LISTED_SINCE = (1, 14, 1)
"""The first version that tells which segments a shard has, so that a stream can be checked."""

_SHARDS_SINCE = (1, 8)
"""The first version whose shards' own snapshots are used; before it, a whole collection's."""

_NOBODY = "recoup-asks-for-its-rights.snapshot"
"""A snapshot that does not exist: deleting it changes nothing, and tells whether the key could."""


class Rights(Struct):
    """What a key may do with one collection.

    Attributes:
        write: whether it may make and stream snapshots.
        list: whether it may ask for the segments of a shard.
        everywhere: whether that holds for all collections, as the key is not one collection's.
    """

    write: bool
    list: bool
    everywhere: bool


def rights(inventory: Inventory, collection: Collection) -> Rights:
    """Tries calls that change nothing."""
    base = at("collections", collection.name)
    server = inventory.server
    write = _allowed(lambda: server.delete(f"{base}{at('snapshots', _NOBODY)}"))
    shard = next(iter(collection.shards), None)
    listed = False
    if shard is not None and version_of(inventory.version) >= LISTED_SINCE:
        node = next((n for replica in shard.replicas if (n := inventory.node_of(replica.peer))), inventory.nodes[0])
        manifest = f"{base}{at('shards', shard.id, 'snapshot', 'partial', 'manifest')}"
        listed = _allowed(lambda: node.server.get(manifest), missing=False)
    everywhere = _allowed(lambda: server.get(at("cluster")))
    return Rights(write, listed, everywhere)


def _allowed(call: Callable[[], object], *, missing: bool = True) -> bool:
    """True unless the key is refused.

    Args:
        call: what to try.
        missing: what it means that there is nothing of that name.
    """
    try:
        call()
    except ForbiddenError:
        return False
    except MissingError:
        return missing
    except ServerError as error:
        return error.status == 400  # another node's shard
    return True


def methods(
    options: Options, inventory: Inventory, collection: Collection, may: Rights, *, shards: int, shared: bool
) -> tuple[Method, ...]:
    """The method for the first try, the second, ...

    Args:
        options: the settings.
        inventory: of the server.
        collection: which.
        may: the key's rights.
        shards: how many shards are taken in all.
        shared: whether other sources are part of the same cut, so that this one should stand still shortly.

    Raises:
        SourceError: the key lacks a right, and reading the points one by one is not allowed.
    """
    if options.method == "scroll":
        return ("scroll",)
    if not may.write or not collection.shards_known:
        return (_without_rights(options, inventory, collection, may),)
    if options.method != "auto":
        return (options.method,)
    if version_of(inventory.version) < _SHARDS_SINCE:
        return ("collection",)
    if options.incremental and may.list:
        return ("stream", "stream", "stored")
    if not may.list or shared or options.max_request is not None or shards > workers(options, shards):
        return ("stored", "stream")
    return ("stream", "stream", "stored")


def _without_rights(options: Options, inventory: Inventory, collection: Collection, may: Rights) -> Method:
    if options.method == "auto" and options.allow_scroll:
        return "scroll"
    base = at("collections", collection.name)
    right = needed("GET", f"{base}/cluster") if may.write else needed("POST", f"{base}/snapshots")
    what = f"the key may not take snapshots of collection {shown(collection.name)} at {inventory.server.url}"
    hint = f"Method {options.method} needs {right}."
    if options.method == "auto":
        hint += (
            " With `allow_scroll: true` the points are read one by one instead, which needs the right to read alone."
        )
    raise SourceError(what, hint)


def workers(options: Options, shards: int) -> int:
    """How many snapshots are taken at the same time."""
    return options.workers or max(1, min(8, shards))
