"""Partial snapshots: the files of a shard that are newer than what the asker has."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdrant_server.standin import layout
from qdrant_server.standin.errors import Refused
from qdrant_server.standin.tar_writing import Member

Manifest = Mapping[str, Any]

_ALWAYS = ("segment.json", "version.info")


def checked(manifest: Any) -> Manifest:
    """A manifest as a request gives it.

    Raises:
        Refused: 400, in plain text.
    """
    if isinstance(manifest, Mapping):
        for segment in manifest.values():
            if not isinstance(segment, Mapping):
                kind = f"integer `{segment}`" if isinstance(segment, int) else "value"
                words = f"invalid type: {kind}, expected struct SegmentManifest at line 1 column 10"
                raise Refused(400, f"Json deserialize error: {words}", plain=True)
        return manifest
    raise Refused(400, "Json deserialize error: expected a map", plain=True)


def changed(own: Manifest, known: Manifest) -> bool:
    """Whether there is anything that the asker does not have."""
    versions = {name: segment["segment_version"] for name, segment in own.items()}
    return versions != {name: segment.get("segment_version") for name, segment in known.items()}


def members(frozen: Path, own: Manifest, known: Manifest) -> list[Member]:
    """The segments' files that are newer, each segment's manifest before them."""
    found: list[Member] = []
    for folder in layout.segment_folders(frozen):
        segment = own[folder.name]
        prefix = f"segments/{folder.name}/files/"
        found.append(Member(f"{prefix}segment_manifest.json", data=json.dumps(segment).encode()))
        found += layout.segment_files(folder, prefix, _newer(segment, known.get(folder.name)))
    return found


def _newer(segment: Manifest, known: Manifest | None) -> list[str]:
    """Names of the files to send; those without a version follow that of their segment."""
    files: Mapping[str, Any] = segment["file_versions"]
    if known is None:
        return [*files, *_ALWAYS]
    before = known["file_versions"]
    return [
        *_ALWAYS,
        *(name for name, version in files.items() if _is_newer(segment, known, version, before.get(name, -1))),
    ]


def _is_newer(segment: Manifest, known: Manifest, version: int | None, before: int | None) -> bool:
    now = segment["segment_version"] if version is None else version
    then = known["segment_version"] if before is None else before
    return now is None or then is None or now == 0 or now > then
