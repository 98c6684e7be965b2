"""What a server says that a shard's segments consist of: which files, and at which of its operations each changed last.

`GET .../snapshot/partial/manifest` tells it of a shard now, `segment_manifest.json` in a partial snapshot of a segment there.
A request for a partial snapshot brings the manifest of what its sender has, and gets the files that are newer
(`lib/segment/src/segment/snapshot.rs` of Qdrant 1.18.3; recorded exchanges show the same rule):

* a file without a version (null) has that of its segment;
* a file is newer when its version is higher than the known one, is 0, or when the file or its segment is not known;
* `segment.json` and `version.info` have no version and always come, and so does the manifest itself.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from recoup.errors import DamagedError
from recoup.model.names import shown
from recoup.model.structs import Struct

UNVERSIONED = ("segment.json", "version.info")
"""Files of every segment that no manifest names."""

_PUT_BACK = "the server was put back to another state"

Manifest = Mapping[str, Any]
"""Segment id to what is said of it, as JSON: `segment_id`, `segment_version`, `file_versions`."""


class DoubtfulError(DamagedError):
    """What came does not surely fit what is there: a full snapshot has to be taken."""


class Versions(Struct):
    """One segment's.

    Attributes:
        segment: number of the last operation that changed it.
        files: file to that of the last operation that changed it, where it has one of its own.
    """

    segment: int | None
    files: Mapping[str, int | None]

    def of(self, name: str) -> int | None:
        """The version that counts for a file; None where nobody knows."""
        own = self.files[name]
        return self.segment if own is None else own


def versions_of(manifest: Manifest, segment: str) -> Versions:
    """Reads what is said of one segment.

    Raises:
        DoubtfulError: it is not what a server says.
    """
    told = manifest.get(segment)
    if not isinstance(told, Mapping) or told.get("segment_id", segment) != segment:
        raise DoubtfulError(f"what is told of segment {shown(segment)} is of another one")
    version, files = told.get("segment_version"), told.get("file_versions")
    if not isinstance(files, Mapping) or not all(_is_version(one) for one in (version, *files.values())):
        raise DoubtfulError(f"what is told of segment {shown(segment)} has no versions")
    return Versions(version, files)


def _is_version(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def newer(now: Versions, known: Versions | None, name: str) -> bool:
    """Whether a file of a segment has to come, as its asker does not have it.

    Raises:
        DoubtfulError: it is older than what the asker has: the server went back to an earlier state.
    """
    if known is None or name not in known.files:
        return True
    version, before = now.of(name), known.of(name)
    if version is None or before is None or version == 0:
        return True
    if version < before:
        raise DoubtfulError(f"{shown(name)} is older than in the earlier set: {_PUT_BACK}")
    return version > before


def same(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests tell the same of the same segments.

    Raises:
        DoubtfulError: one of them is not what a server says.
    """
    return one.keys() == other.keys() and all(versions_of(one, name) == versions_of(other, name) for name in one)


def restricted(manifest: Manifest, segments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of a manifest what is said of files that are there; what else it names was replaced before they were read.

    Args:
        manifest: read before the files were.
        segments: segment id to the names of its files.

    Raises:
        DoubtfulError: it is not what a server says.
    """
    kept = {}
    for segment, files in segments.items():
        if segment in manifest:
            versions = versions_of(manifest, segment)
            named = {name: version for name, version in versions.files.items() if name in files}
            kept[segment] = {"segment_id": segment, "segment_version": versions.segment, "file_versions": named}
    return kept


def from_base(
    partial: Manifest, known: Manifest, came: Mapping[str, Mapping[str, int]], base: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Which files of the base belong to the new state: segment to file to length in bytes.

    Args:
        partial: the manifest of each segment in the partial snapshot.
        known: the manifest that was sent: of the base.
        came: segment to the files in the partial snapshot, with their length.
        base: the same of the base.

    Raises:
        DoubtfulError: something does not fit.
    """
    wanted: dict[str, dict[str, int]] = {}
    for segment, files in came.items():
        if segment not in partial:
            raise DoubtfulError(f"segment {segment} came without its manifest")
        missing = dict(_missing(partial, known, segment, files, base.get(segment, {})))
        if missing:
            wanted[segment] = missing
    return wanted


def _missing(
    partial: Manifest, known: Manifest, segment: str, came: Mapping[str, int], base: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """The files of one segment that did not come."""
    now = versions_of(partial, segment)
    before = versions_of(known, segment) if segment in known else None
    if before is not None and (now.segment or 0) < (before.segment or 0):
        raise DoubtfulError(f"segment {segment} is older than in the earlier set: {_PUT_BACK}")
    for name in UNVERSIONED:
        if name not in came:
            raise DoubtfulError(f"segment {segment} came without {name}")
    for name in now.files:
        if newer(now, before, name) and name not in came:
            raise DoubtfulError(f"{shown(name)} of segment {segment} changed and did not come")
        if name not in came:
            if name not in base:
                raise DoubtfulError(f"the earlier set has no {shown(name)} of segment {segment}")
            yield name, base[name]
