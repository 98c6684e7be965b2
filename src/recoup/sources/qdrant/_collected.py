"""One collection after its snapshots came: opened once more from our own files, described, and made into parts of a set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from recoup.errors import DamagedError, RecoupError
from recoup.model.facts import Value
from recoup.model.manifest import Finding
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.sources._base import Site
from recoup.sources._staged import StagedFile
from recoup.sources.qdrant._described import Described, describe, recorded, subject
from recoup.sources.qdrant._gathering import Gathering
from recoup.sources.qdrant._inventory import Collection, Shard
from recoup.sources.qdrant._job import Job
from recoup.sources.qdrant._opened import Engine
from recoup.sources.qdrant._record import (
    POINTS,
    CollectionRecord,
    ShardRecord,
    encode,
    folder_of,
    record_part,
    shard_part,
)
from recoup.sources.qdrant._taking import Taken
from recoup.system.atomicfile import make_private_folder, write_atomic
from recoup.system.subprocesses import ChildFailedError
from recoup.system.tempdirs import remove_tree

UNKNOWN = -1
"""Points of a shard that the engine could not open."""

_NOBODY = f"{0:064x}"
"""Digest of no ids."""

_OF_NODE = re.compile(r"-[0-9]+-(?P<time>[0-9]{4}(?:-[0-9]{2}){5})\.snapshot")
"""What follows the collection's name in that of its snapshot on the server: peer id and time."""


@dataclass
class Collected:
    """A collection, ready to be stored.

    Attributes:
        record: what goes beside the snapshots.
        files: part name to its file.
        findings: what is missing or doubtful.
        values: facts.
        counted: whether it is whole and was opened, so that its count can be compared with the live collection's.
    """

    record: CollectionRecord
    files: Mapping[str, Path]
    findings: list[Finding]
    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    counted: bool = False

    def parts(self, folder: Path) -> Iterator[Part]:
        """The record, then the snapshots.

        Args:
            folder: for the record's file.
        """
        path = folder / "record"
        write_atomic(path, encode(self.record))
        yield _part(record_part(self.record.name), path)
        path.unlink(missing_ok=True)
        for name, file in self.files.items():
            yield _part(name, file)
            file.unlink(missing_ok=True)  # a repository that could not take it over has read it

    def drop(self) -> None:
        """Removes the files that nobody wanted."""
        for file in self.files.values():
            file.unlink(missing_ok=True)


def _part(name: str, path: Path) -> StreamPart:
    return StreamPart(name, StagedFile(path), size=path.stat().st_size)


def collect(
    collection: Collection, jobs: Sequence[Job], version: str, site: Site, folder: Path, engine: Engine
) -> Collected:
    """Opens what was taken of a collection and describes it.

    Args:
        collection: as the server told it.
        jobs: all that was to be taken of it, ended.
        version: of the server.
        site: seed of the probes.
        folder: for what is unpacked; it is removed again.
        engine: opens it.
    """
    taken = [job.taken for job in jobs if job.taken]
    findings = [_failure(job) for job in jobs if not job.taken]
    findings += _remarks(jobs, taken)
    if not collection.told:
        findings.append(_untold(collection))
    method = taken[0].method if taken else "stored"
    bare = CollectionRecord(
        name=collection.name,
        method=method,
        server=version,
        config=collection.config,
        payload_schema=collection.payload_schema,
        aliases=collection.aliases,
        shards=(),
        shard_keys=collection.shard_keys,
    )
    files = {_part_name(collection.name, one): one.spooled.path for one in taken}
    shards = _scrolled_shards(collection, taken[0]) if method == "scroll" and taken else _shards(collection, taken)
    whole = not findings or all(finding.harmless for finding in findings)
    collected = Collected(replace(bare, shards=shards), files, findings)
    try:
        described = _described(collected, taken, site, folder, engine)
        if not collection.told:
            _take_schema(collected, described)
    except (RecoupError, ChildFailedError) as error:
        collected.findings.append(_unopened(collection, error))
    else:
        collected.counted = whole and bool(taken)
    about = subject(collection.name)
    collected.values[about] = {**collected.values.get(about, {}), **recorded(collected.record)}
    return collected


def _untold(collection: Collection) -> Finding:
    message = "the server cannot tell about it while a shard has no copy: "
    message += (
        "its payload schema is that of the shards" if collection.config else "its configuration is not in the set"
    )
    return Finding("unreadable", f"collection {shown(collection.name)}", message)


def _failure(job: Job) -> Finding:
    error = job.error
    message = "was deleted before it could be taken" if job.gone else (error.message if error else "was not taken")
    return Finding("unreadable", job.item.what, message)


def _remarks(jobs: Sequence[Job], taken: Sequence[Taken]) -> Iterator[Finding]:
    unchecked = next((one for one in taken if one.unchecked), None)
    if unchecked is not None:
        yield Finding("unchecked", unchecked.item.what, unchecked.unchecked, harmless=True)
    for job in jobs:
        if job.again and job.taken:
            message = f"had to be taken again, at {job.taken.first:%H:%M:%S} UTC: it is later than the others"
            yield Finding("again", job.item.what, message, harmless=True)


def _unopened(collection: Collection, error: RecoupError) -> Finding:
    what = "cannot be opened as it was captured" if isinstance(error, DamagedError) else "could not be opened"
    return Finding("suspicious", f"collection {shown(collection.name)}", f"{what}: {error.message}")


def _part_name(collection: str, taken: Taken) -> str:
    if taken.method == "scroll":
        return f"{folder_of(collection)}/{POINTS}"
    if taken.item.shard is not None:
        return shard_part(collection, taken.item.shard)
    of_server = _OF_NODE.fullmatch(taken.name.removeprefix(collection))
    time = of_server["time"] if of_server else f"{taken.last:%Y-%m-%d-%H-%M-%S}"
    peer = "" if taken.node.peer is None else f"-{taken.node.peer}"  # a server that runs alone has no other's beside it
    folder = folder_of(collection)
    return f"{folder}/{folder}{peer}-{time}.snapshot"


def _shards(collection: Collection, taken: Sequence[Taken]) -> tuple[ShardRecord, ...]:
    """Each shard once, from the first snapshot that has a good copy of it."""
    found: dict[int, ShardRecord] = {}
    known = {shard.id: shard for shard in collection.shards}
    for one in taken:
        for number, contents in one.spooled.contents.shards.items():
            if number in found or (one.item.shard is None and not contents.active):
                continue
            shard = known.get(number)
            found[number] = ShardRecord(
                id=number,
                first=one.first,
                last=one.last,
                points=UNKNOWN,
                ids=_NOBODY,
                part=_part_name(collection.name, one),
                key=shard.key if shard else None,
                node=one.node.server.url,
                peer=one.node.peer,
                replicas=_states(shard) if shard else {},
                segments=contents.records(),
            )
    return tuple(found[number] for number in sorted(found))


def _scrolled_shards(collection: Collection, taken: Taken) -> tuple[ShardRecord, ...]:
    """The shards of a collection whose points were read one by one: nobody knows which point came from which.

    So all points of a shard key stand at its first shard; how many that are is known when the file was opened.
    """
    tally = taken.tally
    first = ShardRecord(
        id=0,
        first=taken.first,
        last=taken.last,
        points=tally.points if tally else UNKNOWN,
        ids=tally.ids if tally else _NOBODY,
        part=_part_name(collection.name, taken),
        node=taken.node.server.url,
        peer=taken.node.peer,
    )
    nothing = replace(first, points=0, ids=_NOBODY)
    known = collection.shards
    return tuple(
        replace(nothing if number else first, id=shard.id, key=shard.key, replicas=_states(shard))
        for number, shard in enumerate(known)
    ) or (first,)


def _states(shard: Shard) -> dict[str, str]:
    return {str(copy.peer): copy.state for copy in shard.replicas}


def _take_schema(collected: Collected, described: Described) -> None:
    """The payload schema as the opened shards have it, where the server could not tell it."""
    schema = next(iter(described.payload_schema.values()), {})
    collected.record = replace(collected.record, payload_schema=dict(schema))


def _described(collected: Collected, taken: Sequence[Taken], site: Site, folder: Path, engine: Engine) -> Described:
    """With the facts of the opened shards; what was unpacked for that is removed."""
    record = collected.record
    root = folder / "opened"
    make_private_folder(root)
    try:
        described = describe(record.name, _gathered(record, taken, root).folders, site.seed, engine=engine)
    finally:
        remove_tree(root)
    shards = tuple(
        replace(shard, points=described.points.get(shard.id, 0), ids=described.ids.get(shard.id, _NOBODY))
        for shard in record.shards
    )
    probes = tuple(described.probes)
    collected.record = replace(record, shards=shards, probes=probes, seed=site.seed if probes else None)
    collected.values = {about: dict(values) for about, values in described.values.items()}
    return described


def _gathered(record: CollectionRecord, taken: Sequence[Taken], root: Path) -> Gathering:
    """The shards in folders that the engine can load, as a drill will have them."""
    gathered = Gathering(root, record.name, record)
    for one in taken:
        name = _part_name(record.name, one)
        if one.method == "scroll":
            gathered.add_points(one.spooled.path)
            continue
        with one.spooled.path.open("rb", buffering=0) as file:
            gathered.add_snapshot(name, file, one.item.shard or 0)
    return gathered
