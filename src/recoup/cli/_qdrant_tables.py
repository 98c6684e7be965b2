"""What `recoup qdrant` shows to people: pure functions, fit for 80 columns."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from recoup.model.figures import counted, size
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.sources._base import Existing
    from recoup.sources.qdrant._returning import Return

_WIDTH = 80  # columns


def insight(told: Mapping[str, Any]) -> str:
    """What `inspect` tells of a collection."""
    points = told["points"]
    head = f"{shown(told['collection'])}: {'unknown' if points is None else f'{points:,}'} points"
    return "\n".join([head, *_about(told), *_shards(told), *_files(told), *_faults(told)])


def _about(told: Mapping[str, Any]) -> Iterator[str]:
    if told["method"]:
        yield _field("captured", f"method {told['method']}, from Qdrant {told['server'] or '(unknown version)'}")
    if told["aliases"]:
        yield _field("aliases", ", ".join(map(shown, told["aliases"])))
    params = (told["config"] or {}).get("params") or {}
    vectors = params.get("vectors") or {}
    named = {"(unnamed)": vectors} if "size" in vectors else vectors
    for name, about in named.items():
        several = ", multi" if about.get("multivector_config") else ""
        yield _field("vector", f"{shown(name)}: {about.get('size')} x {about.get('distance')}{several}")
    for name in params.get("sparse_vectors") or {}:
        yield _field("vector", f"{shown(name)}: sparse")
    for name, about in sorted((told["payload_schema"] or {}).items()):
        yield _field("index", f"{shown(name)}: {_kind(about)}")


def _kind(about: Any) -> str:
    """The type of a payload index, as a server, a snapshot or the engine tells it."""
    if isinstance(about, str):
        return about
    return str(about.get("data_type") or about.get("type") or json.dumps(about))


def _shards(told: Mapping[str, Any]) -> Iterator[str]:
    for shard in told["shards"]:
        points = shard.get("points")
        key = f", key {json.dumps(shard['key'])}" if shard.get("key") is not None else ""
        held = "?" if points is None else f"{points:,}"
        segments = counted(len(shard["segments"]), "segment")
        yield _field("shard", f"{shard['id']}{key}: {held} points, {segments}{_log(shard.get('wal') or ())}")
    if told["missing_shards"]:
        yield _field("missing", f"shards {', '.join(map(str, told['missing_shards']))} are not in these files")


def _log(files: Any) -> str:
    records = sum(file["records"] or 0 for file in files)
    faults = [file["fault"] for file in files if file["fault"]]
    if faults:
        return f", log damaged: {faults[0]}"
    return f", log with {counted(records, 'record')}" if files else ""


def _files(told: Mapping[str, Any]) -> Iterator[str]:
    for file in told["files"]:
        yield _field("file", f"{shown(file['name'])}: {size(file['bytes'])}, {file['form'] or 'unknown'}")


def _faults(told: Mapping[str, Any]) -> Iterator[str]:
    for fault in told["faults"]:
        yield _field("FAULT", fault)


def _field(name: str, text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=f"  {name:<9} ", subsequent_indent=" " * 12)


def points_plan(plan: "Return") -> str:
    """What putting points back will do."""
    fresh = plan.points - plan.overwritten
    return (
        f"{counted(plan.points, 'point')} into {shown(plan.collection)} at {plan.url}: "
        f"{fresh:,} are not there, {plan.overwritten:,} are there and would be overwritten"
    )


def restore_plan(plan: "Existing") -> str:
    """What a restore to a server will do."""
    lines = [f"To {plan.target}; there now: {plan.description}"]
    lines += [_field("", step).replace(" " * 12, "  * ", 1) for step in plan.steps]
    return "\n".join([*lines, textwrap.fill(plan.consequence, _WIDTH)])
