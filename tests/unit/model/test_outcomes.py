"""What a run shows of conditions: of what it looked at, and of nothing else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from recoup.errors import ExitCode
from recoup.model import outcomes
from recoup.model.manifest import Host, Manifest, SourceRecord, outcome_of
from recoup.model.outcomes import Outcome
from recoup.model.reports import (
    BackupReport,
    CopiedSet,
    CopyReport,
    Damage,
    DrillReport,
    Problem,
    RepositoryStatus,
    SourceDrill,
    StatusReport,
    StoredCopy,
    VerifyReport,
)
from recoup.sinks import _measuring

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def backup(errors: dict[str, str] | None = None, **sources: str) -> BackupReport:
    records = {name: SourceRecord("files", outcome, "why not") for name, outcome in sources.items()}  # type: ignore[arg-type]
    outcome = outcome_of(records)
    asked = tuple(records)
    manifest = Manifest(
        "0" * 32, "backup_x", "shop", Host("box", "linux"), "1", "3", NOON, NOON, outcome, asked, records
    )
    copies = (StoredCopy("main", "/srv", "backup_x", outcome),)
    return BackupReport(manifest if sources else None, "main", 1.0, errors or {}, repositories=copies)


def keys(outcome: Outcome) -> list[str]:
    return [one.key for one in outcome.problems]


def settled(outcome: Outcome, key: str, repository: str = "") -> bool:
    return outcome.settles(Problem(key, "critical", repository, "", "it is wrong"))


def test_a_complete_backup_reports_nothing_and_settles_its_sources_alone() -> None:
    outcome = outcomes.of_backup(backup(db="complete"), ["db"])
    assert keys(outcome) == []
    assert settled(outcome, "run:backup:source:db")
    assert settled(outcome, "run:backup:repository:main")
    assert settled(outcome, "run:backup:whole:@main,db")
    assert not settled(outcome, "run:backup:source:vectors")
    assert not settled(outcome, "run:backup:whole:@main,db,vectors")
    assert not settled(outcome, "run:backup:whole:@offsite,db")
    assert not settled(outcome, "run:prune:whole:")
    assert not settled(outcome, "too-old:main:db")


@pytest.mark.requirement("CO-2", "CI-9")
def test_a_source_that_failed_is_critical_and_the_other_one_is_settled() -> None:
    outcome = outcomes.of_backup(
        backup({"db": "connection refused"}, db="failed", vectors="complete"), ["db", "vectors"]
    )
    (found,) = outcome.problems
    assert (found.key, found.level, found.source) == ("run:backup:source:db", "critical", "db")
    assert found.sentence == "db was not backed up: connection refused"
    assert settled(outcome, "run:backup:source:vectors")


@pytest.mark.parametrize("how", ["suspicious", "incomplete"])
def test_a_source_that_is_doubtful_is_a_warning(how: str) -> None:
    (found,) = outcomes.of_backup(backup(db=how), ["db"]).problems
    assert (found.level, found.sentence) == ("warning", f"the backup of db is {how}: why not")


def test_a_repository_that_got_nothing_is_a_condition_of_its_own() -> None:
    report = replace(
        backup(db="complete"),
        repositories=(StoredCopy("main", "/srv", "x", "complete"), StoredCopy("offsite", "s3://", error="no bucket")),
    )
    outcome = outcomes.of_backup(report, ["db"])
    assert keys(outcome) == ["run:backup:repository:offsite"]
    assert settled(outcome, "run:backup:repository:main")


def test_a_run_that_stored_nothing_settles_nothing() -> None:
    outcome = outcomes.of_backup(backup({"db": "gone"}), ["db", "vectors"])
    assert keys(outcome) == ["run:backup:source:db"]
    assert not settled(outcome, "run:backup:source:vectors")
    assert not settled(outcome, "run:backup:repository:main")


def test_a_set_that_is_doubtful_in_one_repository_alone_is_told_of_it() -> None:
    copies = (StoredCopy("main", "/srv", "x", "complete"), StoredCopy("offsite", "s3://", "x", "suspicious"))
    outcome = outcomes.of_backup(replace(backup(db="complete"), repositories=copies), ["db"])
    (found,) = outcome.problems
    assert found.key == "run:backup:repository:offsite"
    assert found.sentence == "the set in offsite is suspicious, by its own history there"
    assert settled(outcome, "run:backup:repository:main")
    reverse = replace(backup(db="suspicious"), repositories=(*copies[1:], copies[0]))
    assert keys(outcomes.of_backup(reverse, ["db"])) == ["run:backup:source:db"]


def test_of_a_set_that_is_doubtful_in_one_repository_alone_no_number_says_that_it_is_good() -> None:
    copies = (StoredCopy("main", "/srv", "x", "complete"), StoredCopy("offsite", "s3://", "x", "suspicious"))
    measured = _measuring.of_backup(replace(backup(db="complete"), repositories=copies))
    assert {one.labels["repository"] for one in measured} == {"main"}


def test_a_code_that_nothing_explains_is_still_told() -> None:
    report = replace(backup(db="complete"), repositories=(StoredCopy("main", "/srv", "x", "incomplete"),))
    assert report.manifest is not None
    report = replace(report, manifest=replace(report.manifest, outcome="incomplete"))
    (found,) = outcomes.of_backup(report, ["db"]).problems
    assert found.sentence == "backup ended with exit code 3: not all was done"


def test_a_run_that_an_error_ended_is_told_with_its_scope_and_settles_nothing() -> None:
    scope = outcomes.scope_of(["db"], ["main"])
    outcome = outcomes.stopped("backup", scope, 10, "there is no repository", "Mount it.")
    (found,) = outcome.problems
    assert (found.key, found.hint) == ("run:backup:whole:@main,db", "Mount it.")
    assert not settled(outcome, "run:backup:whole:@main,db")


@pytest.mark.parametrize("code", [ExitCode.INTERRUPTED, ExitCode.SKIPPED])
def test_a_run_that_somebody_stopped_is_neither_good_nor_bad(code: ExitCode) -> None:
    outcome = outcomes.stopped("backup", outcomes.scope_of(["db"]), code, "interrupted")
    assert outcome.problems == ()
    assert not settled(outcome, "run:backup:source:db")


def test_what_a_run_for_several_repositories_left_is_over_when_all_of_them_were_seen() -> None:
    both = status(RepositoryStatus("main", 1), RepositoryStatus("offsite", 1))
    assert settled(both, "failed-backup:main, offsite:", "main, offsite")
    assert not settled(status(RepositoryStatus("main", 1)), "failed-backup:main, offsite:", "main, offsite")


def verify(*damaged: str) -> list[VerifyReport]:
    reports = [VerifyReport("sound", 1, 1, 1.0, (), 1.0, "main")]
    return reports + [VerifyReport(one, 1, 1, 1.0, (Damage("f", "changed", "m"),), 1.0, "main") for one in damaged]


def test_damage_is_over_only_when_every_byte_of_every_set_was_read() -> None:
    assert keys(outcomes.of_verify(verify("a"), ["main"], all_sets=True, all_bytes=True)) == [
        "run:verify:repository:main"
    ]
    for all_sets, all_bytes in [(True, False), (False, True), (True, True)]:
        outcome = outcomes.of_verify(verify(), ["main"], all_sets=all_sets, all_bytes=all_bytes)
        assert settled(outcome, "run:verify:repository:main") is (all_sets and all_bytes)
        assert settled(outcome, "run:verify:whole:@main") is all_sets


def drill(*, passed: bool) -> DrillReport:
    source = SourceDrill("db", "files", 1, 1.0, (), error="" if passed else "does not open")
    return DrillReport("backup_x", 1.0, NOON, (source,), {}, 1.0, "main")


def test_a_drill_that_failed_is_told_and_an_old_set_does_not_settle_it() -> None:
    outcome = outcomes.of_drill([drill(passed=False)], 4, ["db"], newest=True)
    assert keys(outcome) == ["run:drill:source:db"]
    assert not settled(outcome, "run:drill:source:db")
    failed = {one.key for one in outcome.problems}
    assert failed == {"run:drill:source:db"}
    empty = outcomes.of_drill([], 0, ["db"], newest=False)
    assert not settled(empty, "run:drill:whole:db")


def test_a_copy_of_one_set_does_not_settle_that_others_are_missing() -> None:
    failed = CopyReport("main", "offsite", (CopiedSet("a", error="no space"),), 1.0)
    assert keys(outcomes.of_copy(failed, everything=True)) == ["run:copy:repository:offsite"]
    good = CopyReport("main", "offsite", (CopiedSet("a", "a"),), 1.0)
    assert settled(outcomes.of_copy(good, everything=True), "run:copy:repository:offsite")
    assert not settled(outcomes.of_copy(good, everything=False), "run:copy:repository:offsite")


def test_a_prune_by_filter_does_not_settle_that_the_whole_one_failed() -> None:
    assert settled(outcomes.of_prune(0, ["main"], everything=True), "run:prune:whole:@main")
    assert not settled(outcomes.of_prune(0, ["main"], everything=False), "run:prune:whole:@main")
    assert keys(outcomes.of_prune(13, ["main"], everything=True)) == ["run:prune:whole:@main"]


def status(*repositories: RepositoryStatus) -> Outcome:
    return outcomes.of_status(StatusReport((), 0, "", "", repositories, ()), 0)


def test_status_settles_what_it_could_see_and_no_outcome_of_a_run() -> None:
    outcome = status(RepositoryStatus("main", 1))
    assert settled(outcome, "too-old:main:db", "main")
    assert settled(outcome, "schedule-silent")
    assert settled(outcome, "run:status:whole:@main")
    assert not settled(outcome, "too-old:offsite:db", "offsite")
    assert not settled(outcome, "run:backup:source:db")


@pytest.mark.parametrize(
    ("key", "told", "echo"),
    [
        ("failed-backup:main:", "run:backup:source:db", True),
        ("failed-backup:main:db", "run:backup:source:db", True),
        ("failed-backup:main:vectors", "run:backup:source:db", False),
        ("failed-backup:main:db", "run:backup:whole:@main,db", True),
        ("failed-verify:main:", "run:verify:repository:main", True),
        ("failed-verify:main:", "run:backup:source:db", False),
        ("failed-verify:main:", "run:verify:repository:offsite", False),
        ("failed-backup:main, offsite:", "run:backup:repository:offsite", True),
        ("failed-drill:main:db", "run:drill:source:db", True),
        ("doubtful:main:db", "run:backup:source:db", True),
        ("doubtful:main:db", "run:backup:source:other", False),
        ("too-old:main:db", "run:backup:source:db", False),
    ],
)
def test_status_does_not_say_once_more_what_a_run_has_told(key: str, told: str, echo: bool) -> None:
    found = outcomes.echoed(Problem(key, "warning", "main", "db", "it is wrong"), [told])
    assert found == ({told} if echo else set())


def test_of_a_repository_that_cannot_be_read_nothing_is_over() -> None:
    outcome = status(RepositoryStatus("main", failure="no such folder"))
    assert not settled(outcome, "too-old:main:db", "main")
    assert not settled(outcome, "run:status:whole:@main")
