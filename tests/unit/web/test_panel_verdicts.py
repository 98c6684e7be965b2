"""What the panel says of a job that has ended: a failure is never called a success."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recoup
from recoup.errors import ExitCode
from recoup.model.facts import Comparison
from recoup.model.json_values import plain
from recoup.model.manifest import Finding, SourceRecord
from recoup.model.reports import BackupReport, DrillReport, StoredCopy
from recoup.web._panel_verdicts import Verdict, verdict
from recoup.web.jobs import Job
from unit.web.running import CLOCK

NOW = CLOCK.now()


def job(*arguments: str, code: int | None = 0) -> Job:
    state: Any = "lost" if code is None else "ended"
    return Job("20261122T031500-ab12cd", arguments, "recoup", NOW, "", state, code, None if code is None else NOW)


def of(report: BackupReport | DrillReport, code: int | None = None) -> Verdict:
    """The verdict on a job that printed a report, and ended as the report says."""
    kind = "backup" if isinstance(report, BackupReport) else "drill"
    printed = json.loads(json.dumps({"type": kind, **plain(report)}))
    return verdict(job(kind, code=int(report.exit_code) if code is None else code), [printed])


@pytest.fixture(scope="module")
def reports(_stack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[BackupReport, DrillReport]:
    """Those of a real backup and its drill."""
    elsewhere = tmp_path_factory.mktemp("reports") / "backups"
    stack = recoup.open(_stack_folder / "recoup.yaml", overrides=[f"repositories.local.path={elsewhere}"])
    stack.create_repositories()
    return stack.backup(), stack.drill()


def with_source(report: BackupReport, name: str, **changes: Any) -> BackupReport:
    assert report.manifest
    record = replace(report.manifest.sources[name], **changes)
    outcome = record.outcome if record.outcome in ("suspicious", "incomplete") else "incomplete"
    sources = {**report.manifest.sources, name: record}
    return replace(report, manifest=replace(report.manifest, sources=sources, outcome=outcome))


def test_a_complete_backup_is_a_success_and_says_what_it_holds(reports: tuple[BackupReport, DrillReport]) -> None:
    found = of(reports[0])
    assert found.level == "success"
    assert reports[0].manifest
    assert found.headline.startswith(f"{reports[0].manifest.name} is complete: ")
    assert found.sentences == ("It holds notes, chat, and is stored in local.",)


HARMS: dict[str, tuple[Callable[[BackupReport], BackupReport], str, str]] = {
    "a source failed": (
        lambda r: replace(with_source(r, "chat", outcome="failed", error="no file"), errors={"chat": "no file"}),
        "warning",
        "chat: no file",
    ),
    "a source lacks a file": (
        lambda r: with_source(r, "notes", outcome="incomplete", findings=(Finding("unreadable", "a.txt", "no right"),)),
        "warning",
        "notes is incomplete: a.txt: no right",
    ),
    "a source is suspicious": (
        lambda r: with_source(r, "notes", outcome="suspicious"),
        "warning",
        "notes is suspicious: the set's details say more",
    ),
    "a repository failed": (
        lambda r: replace(r, repositories=(*r.repositories, StoredCopy("far", "s3://b", error="no answer"))),
        "warning",
        "far has not got it: no answer",
    ),
    "a repository lacks a source": (
        lambda r: replace(
            r, repositories=(replace(r.repositories[0], outcome="incomplete", left_out={"chat": "too large"}),)
        ),
        "warning",
        "local has not got chat: too large",
    ),
    "the prune failed": (
        lambda r: replace(r, repositories=(replace(r.repositories[0], prune_error="locked"),)),
        "warning",
        "local was not pruned: locked",
    ),
    "nothing was stored": (
        lambda r: replace(r, manifest=None, errors={"chat": "no file"}, repositories=()),
        "error",
        "chat: no file",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_backup_that_is_not_whole_is_no_success_and_says_why(
    reports: tuple[BackupReport, DrillReport], harm: str
) -> None:
    change, level, sentence = HARMS[harm]
    found = of(change(reports[0]))
    assert found.level == level
    assert sentence in found.sentences


def test_a_set_of_optional_sources_none_of_which_is_there_is_no_success(
    reports: tuple[BackupReport, DrillReport],
) -> None:
    manifest = reports[0].manifest
    assert manifest
    empty = replace(manifest, sources={"env": SourceRecord("files", "absent")})
    found = of(replace(reports[0], manifest=empty))
    assert found.level == "warning"
    assert "Not there, and optional: env." in found.sentences


def test_a_drill_that_passed_says_how_much_was_compared(reports: tuple[BackupReport, DrillReport]) -> None:
    found = of(reports[1])
    assert found.level == "success"
    assert "restores: 2 sources, " in found.headline


def with_drilled(report: DrillReport, **changes: Any) -> DrillReport:
    return replace(report, sources=(replace(report.sources[0], **changes), *report.sources[1:]))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"error": "it cannot be opened"}, "notes: it cannot be opened"),
        ({"comparisons": ()}, "notes: nothing was compared"),
        (
            {"comparisons": (Comparison("folder", "files", "3", "2", equal=False),)},
            "notes, folder, files: expected 3, found 2",
        ),
    ],
)
def test_a_drill_that_failed_names_each_difference(
    reports: tuple[BackupReport, DrillReport], changes: dict[str, Any], sentence: str
) -> None:
    found = of(with_drilled(reports[1], **changes))
    assert found.level == "error"
    assert "is not proven" in found.headline
    assert sentence in found.sentences


def test_a_drill_with_very_many_differences_says_how_many_more(reports: tuple[BackupReport, DrillReport]) -> None:
    lines = tuple(Comparison("table t", f"row {n}", "1", "2", equal=False) for n in range(500))
    found = of(with_drilled(reports[1], comparisons=lines))
    assert len(found.sentences) == 21
    assert found.sentences[-1] == "480 differences more"


def test_a_drill_that_could_not_look_at_a_source_is_no_clear_success(
    reports: tuple[BackupReport, DrillReport],
) -> None:
    absent = of(replace(reports[1], skipped={"env": "it was absent at the backup"}))
    assert (absent.level, absent.sentences) == ("success", ("Not drilled: env (it was absent at the backup).",))
    failed = of(replace(reports[1], skipped={"env": "it failed at the backup: no right"}))
    assert failed.level == "warning"


def test_a_copy_that_does_not_restore_is_an_error_though_another_one_does(
    reports: tuple[BackupReport, DrillReport],
) -> None:
    broken = with_drilled(reports[1], error="damaged", unreadable=True)
    found = of(replace(reports[1], earlier=(replace(broken, repository="near"),)))
    assert found.level == "error"
    assert "The copy in near does not restore." in found.sentences


def test_a_job_that_was_killed_is_an_error() -> None:
    found = verdict(job("backup", code=None), [])
    assert found.level == "error"
    assert "nobody knows how it ended" in found.headline


def test_a_job_says_its_error_and_the_hint() -> None:
    error = {"type": "error", "message": "there is no repository", "hint": "Create it.", "exit_code": 10}
    found = verdict(job("backup", code=10), [error])
    assert found == Verdict("error", "recoup backup failed.", ("there is no repository", "Create it."))
    stopped = verdict(job("drill", code=ExitCode.INTERRUPTED), [{**error, "message": "interrupted"}])
    assert (stopped.level, stopped.headline) == ("warning", "recoup drill was stopped.")


@pytest.mark.parametrize(("code", "level"), [(0, "error"), (4, "error"), (75, "warning"), (-9, "error"), (99, "error")])
def test_a_backup_without_a_report_is_no_success_whatever_its_code(code: int, level: str) -> None:
    assert verdict(job("backup", code=code), []).level == level


def test_a_verb_without_a_verdict_of_its_own_is_told_by_its_code() -> None:
    assert verdict(job("prune"), [{"type": "prune"}]) == Verdict("info", "recoup prune: it ended without an error.")


def test_a_report_that_contradicts_the_code_is_not_believed(reports: tuple[BackupReport, DrillReport]) -> None:
    for report in reports:
        assert of(report, code=1).level == "error"
        assert of(report, code=4).level == "error"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["backup", "drill", "prune"]),
    st.sampled_from([0, 1, 3, 4, 130, -15, None]),
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["backup", "drill", "error", "other"])},
            optional={"manifest": _json, "sources": _json, "repositories": _json, "message": _json, "set": _json},
        ),
        max_size=3,
    ),
)
def test_what_is_no_whole_report_is_never_a_success(verb: str, code: int | None, printed: list[dict[str, Any]]) -> None:
    assert verdict(job(verb, code=code), printed).level != "success"
