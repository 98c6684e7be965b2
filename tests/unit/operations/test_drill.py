from collections.abc import Callable
from pathlib import Path

import pytest

from recoup.errors import ExitCode
from recoup.model.facts import Facts, Probe
from recoup.model.marks import standing
from recoup.model.names import SetName
from recoup.model.reports import DrillReport
from recoup.operations import drill
from recoup.repository.plain.repository import PlainRepository
from recoup.sources._base import NoRestoreOptions
from recoup.system.clock import SystemClock
from unit.operations.scripted import ScriptedCapture, ScriptedSource, back_up, made_repository, stream

FACTS = Facts({"table a": {"rows": 3}}, (Probe("c", "", "1", ("2", "3")),), 1)


@pytest.fixture
def repository(tmp_path: Path) -> PlainRepository:
    return made_repository(tmp_path / "repository")


def drilled(repository: PlainRepository, found: Facts, tmp_path: Path) -> DrillReport:
    source = ScriptedSource([ScriptedCapture(stream(), shown=FACTS)], found=found)
    manifest = back_up(repository, {"db": source}).manifest
    assert manifest is not None
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    plan = drill.plan(manifest, None)
    options = {"db": NoRestoreOptions()}
    return drill.run(plan, {"db": source}, options, repository, scratch, SystemClock(), lambda _: None, "host")


@pytest.mark.requirement("CI-6", "CI-7")
def test_a_drill_that_finds_the_same_facts_is_a_proof(repository: PlainRepository, tmp_path: Path) -> None:
    report = drilled(repository, FACTS, tmp_path)
    assert report.exit_code == ExitCode.OK
    name = SetName.parse(report.set)
    assert name is not None
    learned = standing(repository.marks(name), SystemClock().now())
    assert learned.proven is not None
    assert learned.restore_seconds == pytest.approx(report.sources[0].restore_seconds, abs=0.001)


@pytest.mark.requirement("CI-6", "CI-7")
@pytest.mark.parametrize(
    "found",
    [
        Facts({"table a": {"rows": 2}}, FACTS.probes, 1),
        Facts({}, FACTS.probes, 1),
        Facts({"table a": {"rows": 3}, "table b": {"rows": 0}}, FACTS.probes, 1),
        Facts(FACTS.values, (), 1),
        Facts(FACTS.values, (Probe("c", "", "1", ("2", "4")),), 1),
    ],
    ids=["another count", "a table lost", "a table too many", "a probe without answer", "another neighbour"],
)
def test_a_drill_that_finds_anything_else_fails_with_4(
    repository: PlainRepository, tmp_path: Path, found: Facts
) -> None:
    report = drilled(repository, found, tmp_path)
    assert report.exit_code == ExitCode.DAMAGED
    name = SetName.parse(report.set)
    assert name is not None
    after = standing(repository.marks(name), SystemClock().now())
    assert after.proven is None
    assert after.failed_proof is not None
    assert after.restore_seconds is None


def test_a_source_without_facts_proves_nothing(repository: PlainRepository, tmp_path: Path) -> None:
    source = ScriptedSource([ScriptedCapture(stream())])
    manifest = back_up(repository, {"db": source}).manifest
    assert manifest is not None
    (tmp_path / "scratch").mkdir()
    plan = drill.plan(manifest, None)
    report = drill.run(
        plan,
        {"db": source},
        {"db": NoRestoreOptions()},
        repository,
        tmp_path / "scratch",
        SystemClock(),
        lambda _: None,
        "host",
    )
    assert report.exit_code == ExitCode.DAMAGED
    assert "nothing to compare" in report.sources[0].error


def test_a_damaged_part_fails_the_drill(repository: PlainRepository, tmp_path: Path) -> None:
    source = ScriptedSource([ScriptedCapture(stream(), shown=FACTS)], found=FACTS)
    manifest = back_up(repository, {"db": source}).manifest
    assert manifest is not None
    (tmp_path / "repository" / manifest.name / "db" / "part").write_bytes(b"DATA")
    (tmp_path / "scratch").mkdir()
    report = drill.run(
        drill.plan(manifest, None),
        {"db": source},
        {"db": NoRestoreOptions()},
        repository,
        tmp_path / "scratch",
        SystemClock(),
        lambda _: None,
        "host",
    )
    assert report.exit_code == ExitCode.DAMAGED
    assert "SHA-256" in report.sources[0].error


@pytest.mark.parametrize("asked", [["db"], None])
def test_what_failed_at_the_backup_is_skipped_and_said(repository: PlainRepository, asked: list[str] | None) -> None:
    bad: Callable[[], ScriptedSource] = lambda: ScriptedSource([OSError("gone")])  # noqa: E731 - one word
    good = ScriptedSource([ScriptedCapture(stream(), shown=FACTS)])
    manifest = back_up(repository, {"db": good, "bad": bad()}).manifest
    assert manifest is not None
    plan = drill.plan(manifest, asked)
    assert plan.sources == ("db",)
    assert ("gone" in plan.skipped["bad"]) == (asked is None)
