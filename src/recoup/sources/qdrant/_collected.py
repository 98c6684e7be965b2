"""One collection after its snapshots came: opened once more from our own files, described, and made into parts of a set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from recoup.errors import DamagedError, InterruptedRunError, RecoupError
from recoup.model.facts import Value
from recoup.model.manifest import Finding
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.sources._base import Site
from recoup.sources._staged import StagedFile
from recoup.sources.qdrant._described import Described, recorded, subject
from recoup.sources.qdrant._gathering import Gathering
from recoup.sources.qdrant._inventory import Collection, Shard
from recoup.sources.qdrant._job import Job
from recoup.sources.qdrant._openings import Openings
from recoup.sources.qdrant._record import (
    POINTS,
    CollectionRecord,
    ShardRecord,
    encode,
    folder_of,
    record_part,
    shard_part,
)
from recoup.sources.qdrant._spool import Spooled
from recoup.sources.qdrant._taking import Taken
from recoup.system.atomicfile import write_atomic

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
        collection: as the server told it.
        record: what goes beside the snapshots.
        files: part name to what came.
        findings: what is missing or doubtful.
        values: facts.
        counted: whether it is whole and was opened, so that its count can be compared with the live collection's.
    """

    collection: Collection
    record: CollectionRecord
    files: Mapping[str, Spooled]
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
        yield StreamPart(record_part(self.record.name), StagedFile(path), size=path.stat().st_size)
        path.unlink(missing_ok=True)
        yield from self.snapshots()

    def snapshots(self) -> Iterator[Part]:
        """What holds the points."""
        for name, file in self.files.items():
            yield StreamPart(name, StagedFile(file.path, sha256=file.sha256), size=file.size)
            file.path.unlink(missing_ok=True)  # a repository that could not take it over has read it

    def drop(self) -> None:
        """Removes the files that nobody wanted."""
        for file in self.files.values():
            file.path.unlink(missing_ok=True)


def collect(
    collection: Collection, jobs: Sequence[Job], ended: Iterator[Job], version: str, site: Site, openings: Openings
) -> Collected:
    """Opens what is taken of a collection, each shard as soon as it is here, and describes it.

    Args:
        collection: as the server told it.
        jobs: all that is to be taken of it.
        ended: the same as they end.
        version: of the server.
        site: seed of the probes.
        openings: opens it.

    Raises:
        InterruptedRunError: it was stopped.
    """
    bare = CollectionRecord(
        name=collection.name,
        method="stored",
        server=version,
        config=collection.config,
        payload_schema=collection.payload_schema,
        aliases=collection.aliases,
        shards=(),
        shard_keys=collection.shard_keys,
    )
    found = _opened(collection, bare, jobs, ended, openings)
    for _ in ended:  # after a failure the others are still on their way
        pass
    collected = _taken_of(collection, bare, jobs)
    whole = all(finding.harmless for finding in collected.findings)
    if isinstance(found, Described):
        _take_facts(collected, found, site.seed)
        if not collection.told:
            _take_schema(collected, found)
        collected.counted = whole and bool(collected.files)
    else:
        collected.findings.append(_unopened(collection, found))
    about = subject(collection.name)
    collected.values[about] = {**collected.values.get(about, {}), **recorded(collected.record)}
    return collected


def _opened(
    collection: Collection, bare: CollectionRecord, jobs: Sequence[Job], ended: Iterator[Job], openings: Openings
) -> Described | RecoupError:
    """What the opened shards show, or why they could not be opened."""
    try:
        with openings.opened(bare) as opening:
            for job in ended:
                if job.taken and job.taken.item.shard is not None:
                    _gather(opening.gathered, collection, [job.taken])
                    opening.look()
            whole = [job.taken for job in jobs if job.taken and job.taken.item.shard is None]
            _gather(opening.gathered, collection, whole)  # which one has the good copy shows when all are here
            return opening.described()
    except InterruptedRunError:
        raise
    except RecoupError as error:
        return error


def _taken_of(collection: Collection, bare: CollectionRecord, jobs: Sequence[Job]) -> Collected:
    """What came, before it was opened."""
    taken = [job.taken for job in jobs if job.taken]
    findings = [_failure(job) for job in jobs if not job.taken]
    findings += _remarks(jobs, taken)
    if not collection.told:
        findings.append(_untold(collection))
    files = {_part_name(collection.name, one): one.spooled for one in taken}
    return Collected(collection, _with_shards(bare, collection, taken), files, findings)


def _with_shards(bare: CollectionRecord, collection: Collection, taken: Sequence[Taken]) -> CollectionRecord:
    if not taken:
        return bare
    method = taken[0].method
    shards = _scrolled_shards(collection, taken[0]) if method == "scroll" else _shards(collection, taken)
    return replace(bare, method=method, shards=shards)


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
                increment=one.increment,
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


def _take_facts(collected: Collected, described: Described, seed: int) -> None:
    """The facts of the opened shards."""
    record = collected.record
    shards = tuple(
        replace(shard, points=described.points.get(shard.id, 0), ids=described.ids.get(shard.id, _NOBODY))
        for shard in record.shards
    )
    probes = tuple(described.probes)
    collected.record = replace(record, shards=shards, probes=probes, seed=seed if probes else None)
    collected.values = {about: dict(values) for about, values in described.values.items()}


def _gather(gathered: Gathering, collection: Collection, taken: Sequence[Taken]) -> None:
    """Puts shards in folders that the engine can load, as a drill will have them."""
    record = gathered.record
    if record is None or not taken:
        return
    more = _with_shards(record, collection, taken)
    gathered.record = replace(more, shards=(*record.shards, *more.shards))
    for one in taken:
        if one.method == "scroll":
            gathered.add_points(one.spooled.path)
            continue
        with one.spooled.path.open("rb", buffering=0) as file:
            name = _part_name(record.name, one)
            gathered.add_snapshot(name, file, one.item.shard or 0, logs=False)  # they were checked on their way
