"""A drill on a running server: restored under scratch names, captured again, compared, removed."""

import dataclasses
import json
from pathlib import Path

import pytest

from recoup.errors import RecoupError
from recoup.model.facts import Facts, compare
from recoup.sources.qdrant._cleanup import cleanup
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._drilling import drilled
from recoup.sources.qdrant._restore_options import DrillOptions, RestoreOptions
from recoup.system.host import holder_token
from recoup.system.unpacking import write_part

from .conftest import Rig, Set, points


def taken(rig: Rig, folder: Path, **options: object) -> tuple[Set, Facts]:
    with rig.source(**options).capture() as capture:
        for part in capture.parts():
            write_part(part, folder)
        return Set(folder), capture.facts()


def differing(rig: Rig, a_set: Set, facts: Facts, tmp_path: Path) -> list[str]:
    source = drilled(rig.source(), DrillOptions(server=rig.server.url))
    scratch = tmp_path / "drill"
    scratch.mkdir()
    with source.scratch(scratch) as twin:
        twin.restore(a_set.parts, RestoreOptions())
        assert any(name.startswith("recoup_drill_") for name in rig.server.collections())
        lines = compare(facts, twin.facts())
    assert len(lines) > 10
    return [f"{line.subject}: {line.name}" for line in lines if not line.equal]


@pytest.mark.parametrize("method", ["stored", "scroll"])
def test_what_was_captured_is_proven_on_a_server_and_nothing_stays_there(rig: Rig, method: str, tmp_path: Path) -> None:
    rig.fill("docs", aliases=["current", "other"])
    a_set, facts = taken(rig, tmp_path / "set", method=method)
    assert differing(rig, a_set, facts, tmp_path) == []
    assert rig.server.collections() == ["docs"]
    assert rig.aliases() == {"current": "docs", "other": "docs"}
    assert rig.leaves_nothing()


def test_a_drill_on_a_server_can_fail(rig: Rig, tmp_path: Path) -> None:
    rig.fill("docs")
    _, facts = taken(rig, tmp_path / "set")
    changed = points()
    changed[7]["payload"]["text"] = "other words"
    rig.upsert("docs", changed)
    other, _ = taken(rig, tmp_path / "other")
    found = differing(rig, other, facts, tmp_path)
    assert [name for name in found if "sampled payloads" in name]
    assert rig.server.collections() == ["docs"]


def test_a_set_that_does_not_restore_leaves_nothing_on_the_server(rig: Rig, a_set: Set, tmp_path: Path) -> None:
    a_set.change(
        "docs", lambda r: dataclasses.replace(r, shards=(dataclasses.replace(r.shards[0], points=7), *r.shards[1:]))
    )
    source = drilled(rig.source(), DrillOptions(server=rig.server.url))
    with source.scratch(tmp_path) as twin, pytest.raises(RecoupError, match="points"):
        twin.restore(a_set.parts, RestoreOptions())
    assert (rig.server.collections(), rig.leaves_nothing()) == (["docs"], True)


def test_the_scratch_collections_of_a_killed_drill_are_removed_by_the_next_cleanup(rig: Rig, state: Path) -> None:
    rig.fill("recoup_drill_0011_0")
    state.mkdir(parents=True)
    host = holder_token().split("-")[0]
    dead = state / f"qdrant-drill-{host}-00000000-1-0-00000000.jsonl"
    dead.write_text(json.dumps({"url": rig.server.url, "name": "recoup_drill_0011_0"}) + "\n")
    with Server(rig.server.url) as server:
        assert cleanup([server], dry_run=True) == ("the scratch collection recoup_drill_0011_0 of a drill was removed",)
        assert rig.server.collections() == ["recoup_drill_0011_0"]
        assert len(cleanup([server])) == 1
    assert rig.server.collections() == []
    assert not dead.exists()


def test_without_a_server_the_twin_stays_in_a_folder(rig: Rig) -> None:
    source = rig.source()
    assert drilled(source, DrillOptions()) is source
