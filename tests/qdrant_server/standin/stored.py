"""Snapshots that are kept in the snapshots folder: of a collection, of one shard, of everything."""

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qdrant_server.standin import layout, wals
from qdrant_server.standin.errors import bad_input, internal, not_found
from qdrant_server.standin.node import Node
from qdrant_server.standin.tar_writing import Member, tar

_STAMP = "%Y-%m-%d-%H-%M-%S"  # one second, so that two names of one second are the same name


def now(node: Node) -> datetime:
    """What a node takes for the time when it names a snapshot."""
    return datetime.now(UTC) + timedelta(seconds=node.switches.on.clock_ahead)


def folder_of(node: Node, collection: str = "", shard: int | None = None) -> Path:
    """Where the snapshots of a collection, of a shard, or of everything are."""
    if not collection:
        return node.settings.snapshots
    folder = node.settings.snapshots / collection
    return folder if shard is None else folder / "shards" / str(shard)


def listed(node: Node, folder: Path) -> list[dict[str, Any]]:
    """What is in a folder, as the lists of snapshots tell it."""
    names = sorted(entry.name for entry in folder.glob("*.snapshot")) if folder.is_dir() else []
    if node.settings.snapshot_storage == "s3" and folder.is_dir():
        return [described(node, path) for path in sorted(folder.rglob("*.snapshot"))]
    return [described(node, folder / name) for name in names]


def described(node: Node, path: Path) -> dict[str, Any]:
    """One snapshot: name, time of creation, bytes, and its checksum where the server knows one."""
    status = path.stat()
    made = datetime.fromtimestamp(status.st_mtime, UTC)
    found: dict[str, Any] = {"name": path.name, "creation_time": f"{made:%Y-%m-%dT%H:%M:%S}", "size": status.st_size}
    beside = path.with_name(f"{path.name}.checksum")
    if beside.exists() and node.settings.snapshot_storage != "s3":
        found["checksum"] = "0" * 64 if node.switches.on.wrong_checksum else beside.read_text()
    return found


def found(folder: Path, name: str) -> Path:
    """The file of a snapshot.

    Raises:
        Refused: 404.
    """
    path = folder / name
    if "/" in name or name in ("", ".", "..") or not path.is_file():
        raise not_found(f"Snapshot {name} not found")
    return path


def delete(folder: Path, name: str) -> bool:
    """Deletes a snapshot and its checksum.

    Returns:
        True.
    """
    path = found(folder, name)
    path.unlink()
    path.with_name(f"{name}.checksum").unlink(missing_ok=True)
    return True


def own_shard(node: Node, collection: str, shard: int) -> None:
    """Refuses a shard of which this node has no copy.

    Raises:
        Refused: 404 or 400.
    """
    if str(shard) not in node.state(collection)["shards"]:
        raise not_found(f"shard {shard} not found")
    if shard not in node.own_shards(collection):
        raise bad_input(f"Shard {shard} is not a local or queue proxy shard")


@contextmanager
def scratch(node: Node, prefix: str) -> Iterator[Path]:
    """A folder for the time of one piece of work."""
    base = node.settings.storage / "tmp"
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_collection(node: Node, collection: str) -> dict[str, Any]:
    """Makes and keeps a snapshot of this node's part of a collection."""
    name = f"{collection}-{node.peer}-{now(node):{_STAMP}}.snapshot"
    with node.counted("creation", collection), node.changing(f"snapshot {collection}"), scratch(node, name) as folder:
        members = collection_members(node, collection, folder)
        return _keep(node, tar(members), folder_of(node, collection) / name)


def create_shard(node: Node, collection: str, shard: int) -> dict[str, Any]:
    """Makes and keeps a snapshot of one shard."""
    own_shard(node, collection, shard)
    name = f"{collection}-shard-{shard}-{now(node):{_STAMP}}.snapshot"
    with (
        node.counted("creation", collection),
        node.changing(f"snapshot {collection}/{shard}"),
        scratch(node, name) as folder,
    ):
        frozen = freeze(node, collection, shard, folder)
        members = shard_members(node, collection, shard, frozen, layout.regular_segments(frozen, ""))
        return _keep(node, tar(members), folder_of(node, collection, shard) / name)


def create_full(node: Node) -> dict[str, Any]:
    """Makes and keeps a snapshot of everything; leaves the collections' checksums behind, as the server does."""
    name = f"full-snapshot-{now(node):{_STAMP}}.snapshot"
    members: list[Member] = []
    mapping = {}
    with scratch(node, name) as folder:
        for collection in sorted(node.meta.collections):
            node.created[collection] += 1
            made = create_collection(node, collection)["name"]
            os.replace(folder_of(node, collection) / made, folder / made)
            members.append(Member(made, file=folder / made))
            mapping[collection] = made
        told = {"collections_mapping": mapping, "collections_aliases": node.meta.aliases}
        members.append(Member("config.json", data=json.dumps(told).encode()))
        return _keep(node, tar(members), folder_of(node) / name)


def freeze(node: Node, collection: str, shard: int, folder: Path) -> Path:
    """Copies one shard as it is now, its WAL without operations.

    Returns:
        the copy's folder.
    """
    frozen = folder / f"shard-{shard}"
    manifest = node.shard(collection, shard).frozen_manifest(frozen)
    wals.without_operations(frozen / "wal", next_operation(manifest))
    return frozen


def next_operation(manifest: dict[str, Any]) -> int:
    """Number of the operation that comes after all that the segments hold."""
    return max((segment["segment_version"] or 0 for segment in manifest.values()), default=0) + 1


def shard_members(node: Node, collection: str, shard: int, frozen: Path, segments: Iterable[Member]) -> list[Member]:
    """The snapshot of one shard."""
    clocks = layout.clocks_member(node.peer, 1)
    return layout.single_shard(segments, frozen, clocks, replicas(node, collection, shard))


def replicas(node: Node, collection: str, shard: int) -> dict[str, Any]:
    """`replica_state.json` of a shard."""
    peers = node.state(collection)["shards"][str(shard)]["replicas"]
    return {"is_local": str(node.peer) in peers, "this_peer_id": node.peer, "peers": peers}


def collection_members(node: Node, collection: str, folder: Path) -> list[Member]:
    """The snapshot of this node's part of a collection; its shards are frozen one after another."""
    state = node.state(collection)
    members: list[Member] = []
    for shard in sorted(map(int, state["shards"])):
        if shard in node.own_shards(collection):
            frozen = folder / f"shard-{shard}"
            manifest = node.shard(collection, shard).frozen_manifest(frozen)
            wals.with_operations(frozen / "wal", next_operation(manifest))
            members += layout.regular_segments(frozen, f"{shard}/")
            members.append(layout.clocks_member(node.peer, 1, f"{shard}/"))
            members += layout.wal_members(frozen, f"{shard}/")
        members += layout.shard_tail(replicas(node, collection, shard), f"{shard}/")
    return [*members, *layout.collection_tail(state["config"], key_mapping(state), state["schema"])]


def key_mapping(state: dict[str, Any]) -> list[dict[str, Any]]:
    """`shard_key_mapping.json` of a collection."""
    return [
        {"key": key, "shard_ids": sorted(int(shard) for shard, entry in state["shards"].items() if entry["key"] == key)}
        for key in state["keys"]
    ]


_keeping = threading.Lock()


def _keep(node: Node, pieces: Iterable[bytes], path: Path) -> dict[str, Any]:
    """Writes a snapshot beside the others; one of the same name is replaced."""
    node.switches.pass_step("create")
    node.pause(node.switches.on.create_delay)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".tmp", delete=False) as writer:
        written = Path(writer.name)
        try:
            for piece in pieces:
                room(node, path, len(piece), writer.tell())
                digest.update(piece)
                writer.write(piece)
        except BaseException:
            written.unlink()
            raise
    with _keeping:
        os.replace(written, path)
        path.with_name(f"{path.name}.checksum").write_text(digest.hexdigest())
    return described(node, path)


def room(node: Node, path: Path, length: int, before: int = 0) -> None:
    """Refuses what a full snapshots folder has no room for.

    Args:
        path: what is being written.
        length: bytes to be written now.
        before: bytes of it that are written already and not yet seen on the disk.

    Raises:
        Refused: 500.
    """
    quota = node.switches.on.snapshots_quota
    if not quota:
        return
    kept = sum(file.stat().st_size for file in _files(node.settings.snapshots) if not file.name.endswith(".tmp"))
    if kept + before + length > quota:
        raise internal(f"failed to write to file `{path}`: No space left on device (os error 28)")


def _files(folder: Path) -> Sequence[Path]:
    with suppress(OSError):
        return [file for file in folder.rglob("*") if file.is_file()]
    return []
