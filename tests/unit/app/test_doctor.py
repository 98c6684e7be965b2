"""What `doctor` says of this machine."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode
from recoup.model.reports import VerbRun
from recoup.model.schedule import JobState
from recoup.operations._conditions import Known
from recoup.operations._machine import findings
from recoup.operations.doctor import Report
from recoup.scheduler.active import Entry
from recoup.system.statefile import state_path

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CONFIG = """
version: 1
stack: small
sources:
  chat: {kind: files, path: chat.db}
repositories:
  local: {path: backups}
"""


@pytest.fixture
def stack(tmp_path: Path) -> recoup.Stack:
    (tmp_path / "chat.db").write_text("hello")
    (tmp_path / "recoup.yaml").write_text(CONFIG)
    found = recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path)
    found.create_repositories()
    return found


def told(report: Report, subject: str) -> list[tuple[str, str]]:
    return [(one.severity, one.message) for one in report.findings if one.subject == subject]


def test_of_a_sound_machine_nothing_is_wrong(stack: recoup.Stack) -> None:
    stack.backup()
    report = stack.doctor()
    assert {one.severity for one in report.findings} == {"ok"}
    assert "no schedule is configured" in told(report, "schedule")[0][1]
    assert "did all that was asked" in told(report, "last runs")[0][1]
    assert re.search(
        r"holds 1 set; [\d,]+ bytes are free, and a backup needs about", told(report, "repository local")[0][1]
    )


@pytest.mark.requirement("CI-15")
def test_a_folder_that_others_may_write_to_is_a_warning(stack: recoup.Stack, tmp_path: Path) -> None:
    (tmp_path / "backups").chmod(0o777)
    report = stack.doctor()
    assert ("warning", f"others may write to {tmp_path / 'backups'} (mode 777)") in told(report, "repository local")
    assert report.exit_code == ExitCode.OK


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of Apprise's services
def test_whom_no_notice_can_reach_is_told_before_one_is_needed(stack: recoup.Stack, tmp_path: Path) -> None:
    entries = [
        "{kind: apprise, url: 'nosuch://token-1234567@host'}",
        "{kind: prometheus, path: missing/it.prom}",
        "{kind: webhook, url: 'http://127.0.0.1/'}",
    ]
    (tmp_path / "recoup.yaml").write_text(f"{CONFIG}notify: [{', '.join(entries)}]\n")
    report = recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path).doctor()
    found = {one.subject: (one.severity, one.message) for one in report.findings if one.subject.startswith("notify")}
    assert [severity for severity, _ in found.values()] == ["warning", "warning", "ok"]
    assert "none that Apprise knows" in found["notify apprise"][1]
    assert "token" not in str(report)
    assert f"{tmp_path / 'missing'} is not there" in found["notify prometheus"][1]


@pytest.mark.requirement("CI-15")
def test_folders_that_the_configuration_names_are_looked_at(tmp_path: Path, stack: recoup.Stack) -> None:
    (tmp_path / "recoup.yaml").write_text(f"{CONFIG}staging: spool/deep\nevents: {{log: chat.db/log}}\n")
    report = recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path).doctor()
    [(severity, message)] = told(report, "staging")
    assert (severity, "bytes are free" in message) == ("ok", True)
    assert not (tmp_path / "spool").exists()
    [(severity, message)] = told(report, "events.log")
    assert severity == "warning"
    assert message.endswith("chat.db is no folder")


@pytest.mark.requirement("CI-15")
def test_the_last_runs_are_told_with_why_they_failed(stack: recoup.Stack, tmp_path: Path) -> None:
    (tmp_path / "chat.db").unlink()
    stack.backup()
    [(severity, message)] = told(stack.doctor(), "last runs")
    assert severity == "warning"
    assert "exit code 1: chat" in message


def test_a_memory_that_was_put_aside_is_told(stack: recoup.Stack) -> None:
    stack.backup()
    state_path("small").write_bytes(b"no database" * 1000)
    stack.backup()
    [(severity, message)] = told(stack.doctor(), "memory")
    assert severity == "warning"
    assert "small.db.damaged" in message


@pytest.mark.requirement("CI-15", "CI-8")
@pytest.mark.parametrize(
    ("entry", "alive", "next_due", "severities"),
    [
        (Entry("/etc/cron.d/recoup-small"), NOW, NOW + timedelta(hours=1), ["ok", "ok"]),
        (
            Entry("/etc/cron.d/recoup-small", "it is gone", "Install it."),
            NOW,
            NOW + timedelta(hours=1),
            ["error", "ok"],
        ),
        (
            Entry("/etc/cron.d/recoup-small"),
            NOW - timedelta(days=1),
            NOW - timedelta(hours=23),
            ["ok", "error", "ok"],
        ),
        (Entry("/etc/cron.d/recoup-small"), NOW, NOW - timedelta(hours=2), ["ok", "error", "ok"]),
        (Entry("/etc/cron.d/recoup-small"), None, NOW + timedelta(hours=1), ["ok", "warning"]),
    ],
)
def test_what_calls_the_schedule_and_whether_it_does(
    entry: Entry, alive: datetime | None, next_due: datetime, severities: list[str]
) -> None:
    known = Known(jobs=(JobState("backup", "backup", next_due=next_due),), alive=alive)
    found = list(findings(known, [entry], None, NOW))
    assert [one.severity for one in found] == severities
    assert all(one.hint for one in found if one.severity != "ok")


def test_only_the_last_run_of_each_verb_is_told() -> None:
    runs = tuple(
        VerbRun(verb, (), "local", NOW, NOW, code) for verb, code in [("backup", 0), ("backup", 1), ("prune", 1)]
    )
    assert [one.severity for one in findings(Known(runs), (), None, NOW) if one.subject == "last runs"] == [
        "ok",
        "warning",
    ]
