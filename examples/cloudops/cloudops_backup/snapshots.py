"""What a snapshot is called, and where it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from recoup import SetInfo
from recoup.model.manifest import Manifest, SourceRecord, StoredPart

DATE = "%Y-%m-%dT%H-%M-%S"
"""How a moment (UTC) is written in names."""

LATEST = "latest"

ARTEFACT = ".root/"
"""What stands before the key of a snapshot in Recoup's manifests (docs/format.md)."""


@dataclass(frozen=True)
class SnapshotInfo:
    """One snapshot of one collection.

    Attributes:
        name: `COLLECTION_DATE.snapshot` here, `DATE.snapshot` in the bucket.
        collection: which.
        created_at: when it was begun (UTC).
        size_bytes: of its file.
        location: path of the file, or `s3://BUCKET/KEY`.
        points: how many points it holds.
        repository: Recoup's name of the place, `local` or `s3`.
        set: Recoup's name of the set that it belongs to.
        recorded: what the collection was really called: after a restore the name that clients use is an alias.
    """

    name: str
    collection: str
    created_at: datetime
    size_bytes: int
    location: str
    points: int
    repository: str
    set: str
    recorded: str

    @property
    def date(self) -> str:
        """The moment, as names have it."""
        return f"{self.created_at:{DATE}}"


def snapshots_in(infos: Iterable[SetInfo], place: str) -> list[SnapshotInfo]:
    """The whole snapshots in sets, newest first. What failed or is doubtful is none.

    Args:
        infos: the sets of one repository.
        place: where that is: a folder or `s3://BUCKET`.
    """
    found = [snapshot for info in infos for snapshot in _of_set(info, place)]
    return sorted(found, key=lambda snapshot: snapshot.created_at, reverse=True)


def _of_set(info: SetInfo, place: str) -> Iterator[SnapshotInfo]:
    manifest = info.manifest
    if manifest is None:
        return
    for collection, record in manifest.sources.items():
        if record.outcome == "complete" and (part := _file(record)) is not None:
            yield _snapshot(info, manifest, collection, part, place)


def _file(record: SourceRecord) -> StoredPart | None:
    """The snapshot itself, which lies where recoup.yaml and s3.yaml want it; what Qdrant leaves out of it lies elsewhere."""
    return next((part for part in record.parts if part.path.startswith(ARTEFACT)), None)


def _snapshot(info: SetInfo, manifest: Manifest, collection: str, part: StoredPart, place: str) -> SnapshotInfo:
    key = part.path.removeprefix(ARTEFACT)
    counted = _collections(manifest.sources[collection])
    return SnapshotInfo(
        name=key.rpartition("/")[2],
        collection=collection,
        created_at=manifest.started.replace(microsecond=0),
        size_bytes=part.bytes,
        location=f"{place}/{key}",
        points=sum(int(values["points"] or 0) for values in counted.values()),
        repository=info.repository,
        set=info.name,
        recorded=next(iter(counted), collection),
    )


def _collections(record: SourceRecord) -> dict[str, dict[str, int | str | bool | None]]:
    """What was counted in the snapshot itself."""
    facts = record.facts.values if record.facts else {}
    return {
        subject.removeprefix("collection "): dict(values)
        for subject, values in facts.items()
        if subject.startswith("collection ") and "aliases" in values
    }


def chosen(snapshots: Iterable[SnapshotInfo], wanted: str) -> SnapshotInfo | None:
    """The newest of those that a person means; None when there is none.

    Args:
        snapshots: newest first.
        wanted: `latest`, a name, or the beginning of a date: `2026-11-20` is the newest one of that day.
    """
    for snapshot in snapshots:
        names = (snapshot.name, f"{snapshot.collection}_{snapshot.date}.snapshot")
        if wanted in (LATEST, *names) or (wanted[:1].isdigit() and snapshot.date.startswith(wanted)):
            return snapshot
    return None
