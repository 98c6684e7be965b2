"""Recovering collections and shards from snapshots: uploaded, from a URL, or from a file on the server.

What the server does not look at is not looked at here either: a snapshot without a segment gives fewer points and 200.
"""

import hashlib
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qdrant_server.standin import collections_api, replicating, stored
from qdrant_server.standin.answers import Answer, Request, Result
from qdrant_server.standin.errors import Refused, bad_input, internal, not_found
from qdrant_server.standin.multipart import file_of
from qdrant_server.standin.node import Node
from qdrant_server.standin.snapshots_api import in_background
from qdrant_server.standin.tar_reading import MalformedError, unpack

_PRIORITIES = ("no_sync", "snapshot", "replica")


def checked_checksum(checksum: str | None) -> str:
    """The checksum in lower case; empty without one.

    Raises:
        Refused: 422.
    """
    text = (checksum or "").strip().lower()
    if text and (len(text) != 64 or set(text) - set("0123456789abcdef")):
        told = f'{{"length": Number({len(text)}), "expected_length": Number(64), "value": String("{text}")}}'
        words = f"[checksum: Validation error: invalid_sha256_hash [{told}]]"
        raise Refused(422, f"Validation error in query parameters: {words}")
    return text


def checked_priority(priority: str | None) -> str:
    """How copies on other nodes follow; `snapshot` where nothing is said.

    Raises:
        Refused: 400.
    """
    if priority is not None and priority not in _PRIORITIES:
        known = ", ".join(f"`{name}`" for name in _PRIORITIES)
        raise Refused(
            400, f"Deserialize error in query parameters: unknown variant `{priority}`, expected one of {known}"
        )
    return priority or "snapshot"


def upload(node: Node, request: Request) -> Answer:
    """Recovers a collection from the file in the request, which stays in the snapshots folder."""
    checksum = checked_checksum(request.query.get("checksum"))
    priority = checked_priority(request.query.get("priority"))
    name = node.meta.aliases.get(request.collection, request.collection)
    collections_api.check_name(name)
    with stored.scratch(node, "upload-") as folder:
        file, told = file_of(node, request, folder)
        _compare(file, checksum)
        kept = stored.folder_of(node, request.collection) / (Path(told).name or "upload.snapshot")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, kept)

    def work() -> None:
        with node.counted("recovery", request.collection):
            recover_collection(node, name, kept, priority)

    return _done(request, True, work)


def recover(node: Node, request: Request) -> Answer:
    """Recovers a collection from where the request says."""
    body = request.json()
    checksum, priority = checked_checksum(body.get("checksum")), checked_priority(body.get("priority"))
    name = node.meta.aliases.get(request.collection, request.collection)

    def work() -> None:
        with node.counted("recovery", request.collection), stored.scratch(node, f"recover-{name}-") as folder:
            file = _located(node, body, folder)
            _compare(file, checksum)
            recover_collection(node, name, file, priority)

    return _done(request, True, work)


def upload_shard(node: Node, request: Request) -> Answer:
    """Recovers one shard from the file in the request."""
    return _shard_upload(node, request, partial=False)


def upload_partial(node: Node, request: Request) -> Answer:
    """Takes over a partial snapshot of one shard."""
    return _shard_upload(node, request, partial=True)


def recover_shard(node: Node, request: Request) -> Answer:
    """Recovers one shard from a URL, or from a stored snapshot of it by its name."""
    body = request.json()
    checksum, priority = checked_checksum(body.get("checksum")), checked_priority(body.get("priority"))
    name = node.resolved(request.collection)
    location = str(body["location"])
    if location.startswith("file:"):
        raise bad_input("Snapshot path should not contain ./ and should be a file name")

    def work() -> None:
        with stored.scratch(node, "recover-shard-") as folder:
            if "://" in location:
                file = _located(node, body, folder)
            else:
                file = stored.found(stored.folder_of(node, name, request.shard), location)
            _compare(file, checksum)
            recover_one(node, name, request.shard, file, priority)

    return _done(request, True, work)


def _shard_upload(node: Node, request: Request, *, partial: bool) -> Answer:
    checksum = checked_checksum(request.query.get("checksum"))
    priority = checked_priority(request.query.get("priority"))
    name = node.resolved(request.collection)
    if str(request.shard) not in node.state(name)["shards"]:
        raise not_found(f"shard {request.shard} not found")
    with stored.scratch(node, "upload-") as folder:
        file, _ = file_of(node, request, folder)
        _compare(file, checksum)
        recover_one(node, name, request.shard, file, priority, partial=partial)
    return Result(None)


def _done(request: Request, value: Any, work: Any) -> Answer:
    if not request.waits:
        return in_background(work)
    work()
    return Result(value)


def _compare(file: Path, checksum: str) -> None:
    if not checksum:
        return
    with file.open("rb") as reader:
        own = hashlib.file_digest(reader, "sha256").hexdigest()
    if own != checksum:
        raise Refused(400, f"Checksum mismatch: expected {own}, actual {checksum}")


def _located(node: Node, body: Mapping[str, Any], folder: Path) -> Path:
    """The file that a request names."""
    location = str(body["location"])
    parts = urllib.parse.urlsplit(location)
    if parts.scheme == "file":
        return _inside(node, Path(urllib.parse.unquote(parts.path)))
    if not node.settings.enable_snapshot_url_recovery:
        raise Refused(403, "Forbidden: Snapshot recovery from URL is disabled")
    target = folder / "downloaded.snapshot"
    headers = {"api-key": str(body["api_key"])} if body.get("api_key") else {}
    asked = urllib.request.Request(location, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
    except urllib.error.HTTPError as error:
        status = f"{error.code} {error.reason}"
        raise bad_input(f"Failed to download tar from {location}: status - {status}") from None
    except OSError:
        raise internal(f"Http request error: error sending request for url ({location})") from None
    return target


def _inside(node: Node, path: Path) -> Path:
    folder = node.settings.snapshots.resolve()
    if not path.resolve().is_relative_to(folder):
        raise Refused(403, f'Forbidden: Snapshot file path must be inside the snapshots directory "{folder}"')
    if not path.is_file():
        raise bad_input(f"Snapshot file {path} does not exist")
    return path


def recover_collection(node: Node, name: str, file: Path, priority: str) -> None:
    """Puts a collection into the state of a snapshot, and creates it where it is not there.

    Raises:
        Refused: as the server does, with its words.
    """
    node.switches.pass_step("recover")
    node.pause(node.switches.on.recover_delay)
    with stored.scratch(node, f"col-{name}-recovery-") as folder:
        _unpacked(file, folder)
        config = _json(folder / "config.json", folder)
        shards = _checked_shards(node, folder, config)
        for shard in shards:
            _unpack_segments(folder / str(shard))
        with node.changing(name):
            _create(node, name, config, folder)
            for shard in sorted(node.state(name)["shards"], key=int):
                _take_shard(node, name, int(shard), folder / shard, priority)


def _create(node: Node, name: str, config: dict[str, Any], folder: Path) -> None:
    """Makes sure that a collection is there into which the snapshot fits."""
    if name not in node.meta.collections:
        params = {key: value for key, value in config["params"].items() if not key.startswith("read_fan_out")}
        others = {key: value for key, value in config.items() if key != "params"}
        body = {**params, **others, "optimizers_config": config["optimizer_config"]}
        collections_api.create_collection(node, name, body)
        schema = _json(folder / "payload_index.json", folder) if (folder / "payload_index.json").exists() else {}
        for field, params in schema.get("schema", {}).items():
            node.decide({"step": "index", "name": name, "field": field, "schema": params})
        return
    own = node.state(name)["config"]["params"]
    if any(own[key] != config["params"][key] for key in ("vectors", "shard_number")):
        told = f"Collection vectors: {own['vectors']} Snapshot Vectors: {config['params']['vectors']}"
        raise bad_input(f"Snapshot is not compatible with existing collection: {told}")


def _checked_shards(node: Node, folder: Path, config: Mapping[str, Any]) -> list[int]:
    """Ids of the shards in an unpacked snapshot of a collection."""
    shards = _shard_ids(folder, config)
    for shard in shards:
        if not (folder / str(shard) / "shard_config.json").exists():
            raise internal(f"Can't read shard config at {folder / str(shard)}")
        state = folder / str(shard) / "replica_state.json"
        local = state.exists() and json.loads(state.read_bytes())["is_local"]
        if not local and not node.distributed:
            raise internal(f"Can't restore snapshot in local mode with missing data at shard: {folder / str(shard)}")
    return shards


def _shard_ids(folder: Path, config: Mapping[str, Any]) -> list[int]:
    if config["params"].get("sharding_method") != "custom":
        return list(range(config["params"]["shard_number"]))
    mapping = folder / "shard_key_mapping.json"
    entries = json.loads(mapping.read_bytes()) if mapping.exists() else []
    return sorted(shard for entry in entries for shard in entry["shard_ids"])


def _take_shard(node: Node, name: str, shard: int, folder: Path, priority: str) -> None:
    """Takes over one shard of a collection's snapshot; one that the snapshot does not hold stays as it is."""
    replicas = node.state(name)["shards"][str(shard)]["replicas"]
    if (folder / "wal").is_dir() and (folder / "segments").is_dir():
        _put(node, name, shard, folder, priority)
    elif str(node.peer) in replicas and (folder / "segments").is_dir() | (not node.distributed):
        words = f"Replica {node.peer} of shard {shard} has state Some(Active), but expected Some(ManualRecovery)"
        raise bad_input(words)


def recover_one(node: Node, name: str, shard: int, file: Path, priority: str, *, partial: bool = False) -> None:
    """Puts one shard into the state of its snapshot, or takes over a partial one.

    Raises:
        Refused: as the server does, with its words.
    """
    node.switches.pass_step("recover")
    node.pause(node.switches.on.recover_delay)
    with node.counted("recovery", name), stored.scratch(node, f"shard-{shard}-recovery-") as folder:
        _unpacked(file, folder)
        if partial:
            _merge(node, name, shard, file)
            return
        _refuse_partial(folder)
        for needed in ("shard_config.json", "replica_state.json"):
            if not (folder / needed).exists():
                raise internal(f"failed to open file `{folder / needed}`: No such file or directory (os error 2)")
        _unpack_segments(folder)
        _put(node, name, shard, folder, priority)


def take_copy(node: Node, name: str, shard: int, file: Path, folder: Path) -> None:
    """Puts the snapshot of another node's copy in the place of this node's; no other copy follows."""
    folder.mkdir()
    _unpacked(file, folder)
    _unpack_segments(folder)
    _loadable(folder)
    node.shard(name, shard).replace(folder)


def _merge(node: Node, name: str, shard: int, file: Path) -> None:
    try:
        node.shard(name, shard).merge(file)
    except Exception as error:  # noqa: BLE001 - the engine's words are all there is
        raise internal(f"failed to recover partial snapshot: {error}") from None
    replicating.after_recovery(node, name, shard, "snapshot")


def _refuse_partial(folder: Path) -> None:
    for found in sorted(folder.glob("segments/*/files/segment_manifest.json")):
        words = "ensure you are not recovering partial snapshot on shard snapshot endpoint"
        segment = found.parent.parent.name
        raise bad_input(
            f"Validation failed: invalid shard snapshot: segment {segment} contains segment manifest; {words}"
        )


def _put(node: Node, name: str, shard: int, folder: Path, priority: str) -> None:
    """Puts unpacked data in the place of a shard's."""
    copy = node.shard(name, shard)
    if node.switches.on.empty_restore:
        copy.clear()
    else:
        _loadable(folder)
        try:
            copy.replace(folder)
        except Exception as error:  # noqa: BLE001 - the engine's words are all there is
            raise internal(f"failed to load local shard: {error}") from None
    replicating.after_recovery(node, name, shard, priority)


def _loadable(folder: Path) -> None:
    """Leaves what the engine opens: segments and WAL."""
    for entry in folder.iterdir():
        if entry.name not in ("segments", "wal"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (folder / "wal").mkdir(exist_ok=True)


def _unpacked(file: Path, folder: Path) -> None:
    try:
        with file.open("rb") as reader:
            unpack(reader, folder)
    except MalformedError as error:
        raise internal(f"File IO error: {error}") from None
    except OSError as error:
        raise internal(f"File IO error: {os.strerror(error.errno or 0)}") from None


def _json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        words = f"failed to open file `{path}`: No such file or directory (os error 2)"
        raise internal(f"File IO error: {words}") from None
    except ValueError as error:
        raise internal(f"File IO error: failed to read `{path}`: {error}") from None


def _unpack_segments(folder: Path) -> None:
    """Brings the segments of either form to where the engine looks for them."""
    if not (folder / "segments").is_dir():
        return
    for entry in sorted((folder / "segments").iterdir()):
        if entry.suffix == ".tar":
            _unpack_segment(entry)
        elif (entry / "files").is_dir():
            _lift(entry / "files", entry)


def _unpack_segment(file: Path) -> None:
    folder = file.with_suffix("")
    try:
        with file.open("rb") as reader:
            unpack(reader, folder)
    except MalformedError as error:
        words = f'Failed to restore snapshot from "{file}": Service runtime error: IO Error: {error}'
        raise internal(words) from None
    file.unlink()
    if (folder / "snapshot" / "files").is_dir():
        _lift(folder / "snapshot" / "files", folder)
        with suppress(OSError):
            (folder / "snapshot").rmdir()


def _lift(source: Path, target: Path) -> None:
    for entry in source.iterdir():
        entry.rename(target / entry.name)
    source.rmdir()
