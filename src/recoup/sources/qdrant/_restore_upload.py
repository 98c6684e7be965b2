"""Whole shards on their way to a server: one copy of each to a node that holds the shard, always with a checksum."""

import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from recoup.errors import RestoreError
from recoup.model.events import Progress
from recoup.model.names import shown
from recoup.model.part import StreamPart
from recoup.sources._base import Site
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import MissingError, UnreachableError
from recoup.sources.qdrant._inventory import Collection, Inventory
from recoup.sources.qdrant._preflight import Undertaking
from recoup.sources.qdrant._restore_spool import Spooled, measure, require_all, require_recorded, shard_of, spool

_TRIES = 2


def upload_shards(
    plan: Undertaking, parts: Iterable[StreamPart], made: Collection, inventory: Inventory, folder: Path, site: Site
) -> None:
    """Uploads every shard; each part goes through a file of ours, which is removed again.

    Raises:
        DamagedError: a stored part is wrong, or does not hold what was recorded.
        ServerError: the server refuses, or is gone.
        RestoreError: a shard is on no node that can be reached.
    """
    seen = set()
    for part in parts:
        recorded = [shard for shard in plan.record.shards if shard.part == part.name]
        spooled = spool(part, folder / "snapshot", recorded[0].id if recorded else 0)
        try:
            for shard in require_recorded(plan.record, part.name, spooled.contents):
                server = node_of(made, shard.id, inventory)
                _upload(server, plan.into, shard.id, spooled, site)
        finally:
            spooled.path.unlink()
        seen.add(part.name)
    require_all(plan.record, seen)


def node_of(made: Collection, shard: int, inventory: Inventory) -> Server:
    """A node that holds a shard and can be reached.

    Raises:
        RestoreError: none can.
    """
    replicas = next((one.replicas for one in made.shards if one.id == shard), ())
    for replica in replicas:
        if node := inventory.node_of(replica.peer):
            return node.server
    raise RestoreError(
        f"no node that holds shard {shard} of {shown(made.name)} can be reached",
        "; ".join(inventory.lost.values()) or "List all nodes under `nodes:`.",
    )


def _upload(server: Server, collection: str, shard: int, spooled: Spooled, site: Site) -> None:
    name = f"recoup-{secrets.token_hex(8)}.snapshot"
    path = at("collections", collection, "shards", shard, "snapshots", "upload")
    cut = spooled.contents.form == "collection"
    measured = measure(spooled.path, shard) if cut else spooled
    for attempt in range(_TRIES):
        sent = 0

        def passing(count: int) -> None:
            nonlocal sent
            sent += count
            site.emit(Progress(f"upload shard {shard} of {collection}", sent, measured.size))

        content: Path | Iterator[bytes] = shard_of(spooled.path, shard) if cut else spooled.path
        try:
            server.upload(path, content, size=measured.size, name=name, checksum=measured.sha256, passing=passing)
            break
        except UnreachableError:
            if attempt == _TRIES - 1:
                raise
    site.emit(Progress(f"upload shard {shard} of {collection}", measured.size, measured.size, finished=True))
    _discard(server, collection, shard, name)


def _discard(server: Server, collection: str, shard: int, name: str) -> None:
    """Deletes the uploaded file where the server keeps it among its snapshots, to which it does not belong."""
    for path in (
        at("collections", collection, "snapshots"),
        at("collections", collection, "shards", shard, "snapshots"),
    ):
        try:
            listed = server.get(path) or ()
            if any(one.get("name") == name for one in listed):
                server.delete(f"{path}{at(name)}")
        except MissingError:
            continue
