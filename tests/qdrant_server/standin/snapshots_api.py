"""Snapshots over HTTP: stored ones, and streams of one shard."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qdrant_server.standin import layout, partial, stored, wals
from qdrant_server.standin.answers import Accepted, Answer, Download, Request, Result, Stream, Unchanged
from qdrant_server.standin.errors import Refused
from qdrant_server.standin.node import Node
from qdrant_server.standin.tar_writing import Member, tar


def in_background(work: Callable[[], object]) -> Accepted:
    """Goes on with a piece of work after the answer; what becomes of it is never told."""

    def quietly() -> None:
        try:
            work()
        except (Refused, OSError) as error:
            sys.stderr.write(f"in the background: {error}\n")

    threading.Thread(target=quietly, daemon=True).start()
    return Accepted()


def _done(request: Request, work: Callable[[], object]) -> Answer:
    return Result(work()) if request.waits else in_background(work)


def listed(node: Node, request: Request) -> Answer:
    name = node.resolved(request.collection)
    return Result(stored.listed(node, stored.folder_of(node, name)))


def create(node: Node, request: Request) -> Answer:
    node.created[request.collection] += 1
    name = node.resolved(request.collection)
    return _done(request, lambda: stored.create_collection(node, name))


def download(node: Node, request: Request) -> Answer:
    name = node.resolved(request.collection)
    return _file(node, stored.folder_of(node, name), request)


def delete(node: Node, request: Request) -> Answer:
    name = node.resolved(request.collection)
    return _removed(stored.folder_of(node, name), request)


def listed_of_shard(node: Node, request: Request) -> Answer:
    name = node.resolved(request.collection)
    stored.own_shard(node, name, request.shard)
    return Result(stored.listed(node, stored.folder_of(node, name, request.shard)))


def create_of_shard(node: Node, request: Request) -> Answer:
    name = node.resolved(request.collection)
    stored.own_shard(node, name, request.shard)
    return _done(request, lambda: stored.create_shard(node, name, request.shard))


def download_of_shard(node: Node, request: Request) -> Answer:
    name = node.resolved(request.collection)
    return _file(node, stored.folder_of(node, name, request.shard), request)


def delete_of_shard(node: Node, request: Request) -> Answer:
    name = node.resolved(request.collection)
    return _removed(stored.folder_of(node, name, request.shard), request)


def listed_full(node: Node, request: Request) -> Answer:
    return Result(stored.listed(node, stored.folder_of(node)))


def create_full(node: Node, request: Request) -> Answer:
    return _done(request, lambda: stored.create_full(node))


def download_full(node: Node, request: Request) -> Answer:
    return _file(node, stored.folder_of(node), request)


def delete_full(node: Node, request: Request) -> Answer:
    return _removed(stored.folder_of(node), request)


def _file(node: Node, folder: Path, request: Request) -> Answer:
    node.switches.pass_step("download")
    path = stored.found(folder, request.values["name"])
    return Download(path, ranges=node.settings.snapshot_storage != "s3")


def _removed(folder: Path, request: Request) -> Answer:
    name = request.values["name"]
    stored.found(folder, name)
    return _done(request, lambda: stored.delete(folder, name))


def stream(node: Node, request: Request) -> Answer:
    """The shard as it is now, nothing stored."""
    name = node.resolved(request.collection)
    stored.own_shard(node, name, request.shard)
    return _stream(node, request, name, _whole)


_Chosen = Callable[[Path, dict[str, Any]], Sequence[Member]]


def _whole(frozen: Path, manifest: dict[str, Any]) -> Sequence[Member]:
    return layout.streamed_segments(frozen)


def _stream(node: Node, request: Request, name: str, choose: _Chosen) -> Stream:
    """Freezes before the first byte is sent."""
    faults = node.switches.of_body(request.path)
    scratch = stored.scratch(node, "stream-")
    folder = scratch.__enter__()
    try:
        frozen = folder / "shard"
        manifest = node.shard(name, request.shard).frozen_manifest(frozen)
        wals.without_operations(frozen / "wal", stored.next_operation(manifest))
        if faults.lose_segment:
            _lose_biggest(frozen)
        members = stored.shard_members(node, name, request.shard, frozen, choose(frozen, manifest))
    except BaseException as error:
        scratch.__exit__(type(error), error, error.__traceback__)
        raise

    def pieces() -> Iterator[bytes]:
        try:
            yield b""
            yield from tar(members, limit=faults.cut_member)
        finally:
            scratch.__exit__(None, None, None)

    stamp = stored.now(node).strftime("%Y-%m-%d-%H-%M-%S")
    begun = pieces()
    next(begun)  # so that its end is reached whenever it is closed
    return Stream(f"{name}-shard-{request.shard}-{stamp}.snapshot", begun)


def _lose_biggest(frozen: Path) -> None:
    shutil.rmtree(layout.segment_folders(frozen)[-1])


def manifest(node: Node, request: Request) -> Answer:
    if node.switches.on.refuse_manifest:
        raise Refused(404, "", plain=True)
    name = node.resolved(request.collection)
    stored.own_shard(node, name, request.shard)
    return Result(node.shard(name, request.shard).manifest())


def create_partial(node: Node, request: Request) -> Answer:
    """What changed since the manifest that the sender has."""
    if node.switches.on.refuse_manifest:
        raise Refused(404, "", plain=True)
    known = partial.checked(request.json())
    name = node.resolved(request.collection)
    stored.own_shard(node, name, request.shard)
    if known and not partial.changed(node.shard(name, request.shard).manifest(), known):
        return Unchanged(f"Partial snapshot for shard {request.shard} contains no changes")
    return _stream(node, request, name, lambda frozen, manifest: partial.members(frozen, manifest, known))
