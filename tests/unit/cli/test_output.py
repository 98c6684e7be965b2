"""What the command prints at 80 columns, compared with files: `RECOUP_UPDATE_GOLDEN=1 pytest tests/unit/cli` writes them anew.

The help of the verbs is laid out by Typer, so those files go with the version in the lock file.
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recoup.cli import _diff_report, _listing, _nagios, _reference, _stats_report, _status_report, _tables
from recoup.cli.main import VERBS, command, run
from recoup.errors import ExitCode
from recoup.model import figures
from recoup.model.facts import Comparison, Facts
from recoup.model.manifest import Finding, Frozen, Host, Manifest, SourceRecord, StoredPart, outcome_of
from recoup.model.marks import Standing
from recoup.model.reports import (
    BackupReport,
    CopiedSet,
    CopyReport,
    Damage,
    DrillReport,
    Problem,
    RepairReport,
    RepositoryStatus,
    RestoredSource,
    RestoreReport,
    SetInfo,
    SourceDrill,
    StatusReport,
    StatusRow,
    StoredCopy,
    VerbRun,
    VerifyReport,
)
from recoup.operations import backup, diff, doctor, stats
from recoup.repository._base import ChunkSum

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "cli"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def compare(file: Path, text: str) -> None:
    if os.environ.get("RECOUP_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text, "if this is wanted: RECOUP_UPDATE_GOLDEN=1 pytest tests/unit/cli"


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "RECOUP_CONFIG", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "80", "LINES": "40", "NO_COLOR": "1", "TERM": "dumb", "HOME": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield


@pytest.mark.parametrize(
    "verb",
    [
        "",
        *[verb.name for verb in VERBS if not verb.hidden],
        "config check",
        "config schema",
        *[f"qdrant {name}" for name in command(next(v for v in VERBS if v.name == "qdrant")).commands],
    ],
)
def test_the_help_of_each_verb_is_as_kept(verb: str, plain_terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb.split(), "--help"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert max(len(line) for line in told.out.splitlines()) <= 80
    compare(GOLDEN / "help" / f"{verb.replace(' ', '-') or 'recoup'}.txt", _stripped(told.out))


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_the_listed_help_of_a_verb_is_the_beginning_of_its_own(verb: Any) -> None:
    assert command(verb).help.startswith(verb.help)


def test_every_option_of_every_verb_is_explained() -> None:
    for verb in VERBS:
        loaded = command(verb)
        for below in (loaded, *getattr(loaded, "commands", {}).values()):
            unexplained = [p.name for p in below.params if not p.help and p.name != "help"]
            assert not unexplained, f"{verb.name}: {unexplained}"


ERRORS = {
    "unknown-verb": ["bakup"],
    "unknown-option": ["backup", "--bogus"],
    "missing-argument": ["note", "latest"],
    "no-configuration": ["backup"],
    "missing-file": ["-c", "missing.yaml", "backup"],
    "bad-duration": ["backup", "--wait-lock", "soon"],
    "missing-repository": ["-r", "./nowhere", "list"],
    "contradiction": ["restore", "--all", "--source", "chat"],
    "bad-target": ["-r", "./nowhere", "restore", "--target", "a", "--target", "b"],
    "bad-report": ["drill", "--report", "proof.pdf"],
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_words_of_an_error_are_as_kept(
    name: str, plain_terminal: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(ERRORS[name]) != 0
    told = capsys.readouterr()
    assert told.out == ""
    compare(GOLDEN / "errors" / f"{name}.txt", told.err.replace(str(tmp_path), "/work"))


# --- tables ---------------------------------------------------------------------------------------------------------


def part(path: str, size: int) -> StoredPart:
    return StoredPart("part", "stream", path, size, size // 2, "ab" * 32, "cd" * 32, "zstd")


def record(kind: str, size: int, **more: Any) -> SourceRecord:
    facts = Facts({"table main.messages": {"rows": 6_613, "schema": "9f" * 32}})
    moment = Frozen(NOW - timedelta(hours=3), NOW - timedelta(hours=3))
    known = {"frozen": moment, "facts": facts, "parts": (part(f"x/{kind}", size),), "method": "online backup"}
    return SourceRecord(kind, **{"outcome": "complete", **known, **more})


SOURCES = {
    "cache": record("duckdb", 3_400_000_000),
    "chat": record("sqlite", 51_200),
    "storage": record("files", 812_000_000, outcome="incomplete", finding_count=2),
    "vectors": SourceRecord("qdrant-local", "failed", error="/srv/app/data/qdrant cannot be read: Permission denied"),
    "env": SourceRecord("files", "absent"),
}


def manifest(name: str, sources: dict[str, SourceRecord], hours: float) -> Manifest:
    begun = NOW - timedelta(hours=hours)
    return Manifest(
        id="0" * 32,
        name=name,
        stack="docmind",
        host=Host("vm", "Linux x86_64"),
        recoup="0.1.0",
        python="3.11.7",
        started=begun,
        finished=begun + timedelta(seconds=8),
        outcome=outcome_of(sources),
        requested=tuple(sorted(sources)),
        sources=sources,
    )


GOOD = {name: SOURCES[name] for name in ("cache", "chat", "env")}
INFOS = (
    SetInfo("local", "backup_20261101_020000", None, problem="manifest.json is not valid JSON (cut short or damaged)"),
    SetInfo("local", "backup_20261119_020000", manifest("backup_20261119_020000", SOURCES, 58)),
    SetInfo(
        "local",
        "backup_20261120_020000",
        manifest("backup_20261120_020000", GOOD, 34),
        Standing(pinned=True, pin_reason="audit", failed_proof=NOW),
    ),
    SetInfo(
        "local",
        "backup_20261121_090000",
        manifest("backup_20261121_090000", GOOD, 3),
        Standing(proven=NOW - timedelta(hours=2)),
    ),
)

DRILL = DrillReport(
    "backup_20261121_090000",
    10_800.0,
    NOW,
    (
        SourceDrill("cache", "duckdb", 3_400_000_000, 17.0, (Comparison("table a", "rows", "5", "5", equal=True),)),
        SourceDrill(
            "chat",
            "sqlite",
            51_200,
            0.5,
            (
                Comparison("table messages", "rows", "6,613", "6,613", equal=True),
                Comparison("table messages", "schema", "9f9f9f", "8e8e8e", equal=False),
            ),
        ),
        SourceDrill("storage", "files", 0, 0.1, (), error="storage/a.bin is not what the manifest says"),
    ),
    {"env": "it was absent at the backup"},
    18.2,
)

_BACKUP_PLAN = backup.Plan(
    (
        backup.Row("cache", "duckdb", True, False, 3_400_000_000),
        backup.Row("vectors", "qdrant-local", False, False, 0, "it is not there"),
        backup.Row("env", "files", False, True, 0),
    ),
    3_740_000_000,
    9_000_000_000,
)

_STATUS = StatusReport(
    (
        StatusRow(
            "local",
            "cache",
            "backup_20261121_090000",
            NOW - timedelta(hours=3),
            10_800.0,
            3_400_000_000,
            NOW - timedelta(days=2),
            max_age_seconds=86_400.0,
            median_bytes=3_300_000_000,
            next_due=NOW + timedelta(hours=14),
        ),
        StatusRow(
            "local", "storage", "backup_20261119_020000", NOW, 208_800.0, 9, None, "the newest try is incomplete"
        ),
        StatusRow("local", "vectors", "", None, None, 0, None, "never backed up"),
    ),
    3,
    "backup_20261121_090000",
    "complete",
    (
        RepositoryStatus("local", 3, 9_000_000_000, 150_000_000.0),
        RepositoryStatus("usb", failure="it is not mounted"),
    ),
    (
        Problem("never:local:vectors", "critical", "local", "vectors", "never backed up", "`recoup backup` makes one."),
        Problem("doubtful:local:storage", "warning", "local", "storage", "the newest | try\nis incomplete"),
    ),
    (VerbRun("prune", (), "local", NOW, NOW - timedelta(hours=8), 0), VerbRun("drill", (), "local", NOW, NOW, 4)),
)

_DOCTOR = doctor.Report(
    (
        doctor.Finding("ok", "source cache", "can be read, about 3,400,000,000 bytes"),
        doctor.Finding("error", "source vectors", "is not there: data/qdrant", "Correct its path."),
        doctor.Finding("warning", "repository local", "a stale lock of `backup` on vm, process 4711"),
    )
)

_VERIFY = (
    VerifyReport("backup_20261121_090000", 20_003, 3_400_051_200, 1.0, (), 20.0),
    VerifyReport("backup_20261120_020000", 3, 1_700, 0.05, (Damage("chat/chat.db", "changed", "differs"),), 0.1),
    VerifyReport("backup_20261119_020000", 3, 1_700, 1.0, (), 0.1, outcome="incomplete"),
    VerifyReport("backup_20261118_020000", 3, 1_700, 0.05, (), 0.1, outcome="complete"),
    VerifyReport("backup_20261117_020000", 3, 1_700, 0.05, (), 0.1, outcome="suspicious"),
)

_RESTORE = RestoreReport(
    "backup_20261121_090000",
    (
        RestoredSource("cache", "/srv/app/cache/docmind.duckdb", 3_400_000_000, "/srv/app/cache/docmind.before"),
        RestoredSource("chat", "/srv/app/data/chat.db", error="it is open in process 4711", exit_code=ExitCode.REFUSED),
    ),
    18.0,
)

_STORED = manifest("backup_20261121_090000", GOOD, 3)
_NEAR = StoredCopy("local", "/srv/backups", _STORED.name, "complete", _STORED.stored_bytes)
_BACKED_UP = BackupReport(_STORED, "local", 75.0, {}, repositories=(_NEAR,))
_COPIES = (
    replace(_NEAR, prune_error="a restore is running"),
    StoredCopy("usb", "/mnt/usb", error="there is no repository 'usb' at /mnt/usb", code=ExitCode.NO_REPOSITORY),
    replace(_NEAR, repository="safe", outcome="incomplete", left_out={"models": "store_once does not work there"}),
)
_COPIED = CopyReport(
    "local",
    "usb",
    (
        CopiedSet("backup_20261119_020000", "backup_20261119_020000", there=True),
        CopiedSet("backup_20261120_020000", "backup_20261120_020000_2", 1_700_000_000, 12.0),
        CopiedSet("backup_20261121_020000", error="chat/chat.db is not what was stored", code=ExitCode.DAMAGED),
    ),
    12.5,
)
_LEFT = Damage("models/weights.bin", "changed", "models/weights.bin is not what was stored")
_REPAIRED = (
    RepairReport("backup_20261120_020000", "local", "usb", ("chat/chat.db",), (), 2.0),
    RepairReport("backup_20261121_020000", "local", "usb", (), (_LEFT,), 2.0, ("usb has no copy of it",)),
)
_SEVERAL = [
    SetInfo("local", _STORED.name, _STORED),
    SetInfo("usb", _STORED.name, _STORED),
]

_DIFF = diff.DiffReport(
    "backup_20261120_020000",
    "backup_20261121_020000",
    "local",
    "local",
    {"vectors": ("complete", "failed")},
    (
        diff.PartChange("cache", "docmind.duckdb", "stream", "changed", 3_400_000_000, 3_500_000_000),
        diff.PartChange("chat", "chat.db", "stream", "same", 51_200, 51_200),
        diff.PartChange("env", ".env", "stream", "unknown", 300, 300),
        diff.PartChange("vectors", "docs/shard-0.snapshot", "stream", "removed", 900_000_000, None),
        diff.PartChange("vectors", "docs/collection.json", "stream", "added", None, 2_000),
        diff.PartChange(
            "uploads",
            ".",
            "tree",
            "changed",
            812_000_000,
            812_000_000,
            diff.MemberChanges(
                1,
                0,
                2_000,
                by_content=False,
                named=tuple(diff.MemberChange(f"file {n:02}", "changed") for n in range(30)),
            ),
        ),
        diff.PartChange(
            "storage", "models", "tree", "changed", 5_000, 5_000, diff.MemberChanges(0, 0, 0, by_content=False)
        ),
    ),
    ChunkSum(40, 10_000_000, 2_000_000),
    ChunkSum(3, 700_000, 600_000, missing=1),
)


def _stats(count: int, **more: Any) -> stats.RepositoryStats:
    sets = tuple(
        stats.SetStats(
            f"backup_{n}",
            NOW + timedelta(hours=6 * n),
            "docmind",
            900_000_000,
            300_000_000 if n == 0 else 4_000_000 * (n % 5),
        )
        for n in range(count)
    )
    return stats.RepositoryStats("local", "/srv/backups", sets, 900_000_000 * count, 560_000_000, 54.6, **more)


_CHUNKED = {"chunks": 4_711, "unique_bytes": 700_000_000, "unique_stored_bytes": 520_000_000}

TABLES: dict[str, Callable[[], Any]] = {
    "diff": lambda: "\n".join(_diff_report.lines(_DIFF)),
    "stats": lambda: "\n".join(_stats_report.lines(_stats(34, **_CHUNKED))),
    "stats-plain": lambda: "\n".join(
        _stats_report.lines(
            _stats(5, unread=("backup_5: it is damaged",), problem="chunks were not counted"), plain=True
        )
    ),
    "stats-empty": lambda: "\n".join(_stats_report.lines(stats.RepositoryStats("usb", "/mnt/usb", (), 0, 0, None))),
    "list": lambda: _listing.sets(INFOS, NOW),
    "list-remarks": lambda: "\n".join(_listing.remarks(INFOS)),
    "show-sources": lambda: _tables.sources(manifest("backup_20261119_020000", SOURCES, 58)),
    "show-facts": lambda: _tables.facts(SOURCES["chat"]),
    "backup-plan": lambda: _tables.backup_plan(_BACKUP_PLAN),
    "backup-summary": lambda: "\n".join(_tables.summary(_BACKED_UP)),
    "backup-several": lambda: "\n".join(_tables.summary(replace(_BACKED_UP, repositories=_COPIES))),
    "copy": lambda: "\n".join(_tables.copy_report(_COPIED)),
    "repair": lambda: "\n".join(_tables.repair_report(_REPAIRED)),
    "list-several": lambda: _listing.sets(_SEVERAL, NOW),
    "verify": lambda: _tables.verify_reports(_VERIFY),
    "drill": lambda: _tables.drill_report(DRILL),
    "restore": lambda: _tables.restore_report(_RESTORE),
    "status": lambda: _status_report.table(_STATUS, NOW),
    "status-lines": lambda: "\n".join(
        (*(_status_report.problem_line(one).plain for one in _STATUS.problems), *_status_report.lines(_STATUS, NOW))
    ),
    "status-nagios": lambda: _nagios.text(_STATUS),
    "doctor": lambda: _tables.doctor_report(_DOCTOR),
}


def rendered(value: Any, width: int = 80) -> str:
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=width, no_color=True, highlight=False, force_terminal=False).print(value, markup=False)
    return _stripped(file.getvalue())


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_kept(name: str) -> None:
    text = rendered(TABLES[name]())
    assert max(len(line) for line in text.splitlines()) <= 80
    compare(GOLDEN / "tables" / f"{name}.txt", text)


@pytest.mark.parametrize("name", [name for name in TABLES if name != "show-facts"])
def test_no_word_is_lost_in_a_narrow_table(name: str) -> None:
    wide, narrow = rendered(TABLES[name](), 400), rendered(TABLES[name](), 80)
    assert sorted("".join(wide.split())) == sorted("".join(narrow.split()))


def test_control_characters_in_stored_names_do_not_reach_the_terminal() -> None:
    finding = Finding("changed", "a\x1b[2Jb", "it changed")
    hostile = record("files\x1b]0;x\x07", 5, findings=(finding,), error="bad\x1b[31m", outcome="failed")
    text = rendered(_tables.sources(manifest("backup_20261121_090000", {"x\x1bc": hostile}, 1)))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_sets_that_cannot_be_read_for_one_reason_are_one_line() -> None:
    names = [f"backup_202611{day:02}_020000" for day in range(1, 4)]
    sealed = [
        SetInfo("main", name, None, problem=f"{name}/manifest.json cannot be read on this host") for name in names
    ]
    odd = SetInfo("main", "backup_20261104_020000", None, problem="it is cut short")
    assert _listing.remarks([*sealed, odd]) == [
        f"3 sets from {names[0]} to {names[2]} cannot be read: manifest.json cannot be read on this host",
        "backup_20261104_020000 cannot be read: it is cut short",
    ]
    assert _listing.remarks(sealed[:1]) == [f"{names[0]} cannot be read: {sealed[0].problem}"]


def test_what_is_damaged_is_named_once() -> None:
    assert (
        _tables.damage(Damage("a/b", "changed", "a/b is not what was stored")) == "changed: a/b is not what was stored"
    )
    assert _tables.damage(Damage("index", "changed", "it is cut short")) == "changed: index: it is cut short"


def test_an_unread_set_and_a_doubtful_source_are_said_in_words_not_by_colour_alone() -> None:
    text = rendered(_listing.sets(INFOS, NOW))
    assert "unreadable" in text
    assert "incomplete" in text
    assert "drill FAILED, pinned" in " ".join(text.split())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (-1, "in the future"), (0, "just now"), (59, "just now"), (120, "2 min ago"), (7200, "2 h ago")],
)
def test_ages_read_like_speech(seconds: float | None, text: str) -> None:
    assert figures.age(seconds) == text


def test_a_failed_drill_is_never_shown_as_equal() -> None:
    failed = replace(DRILL, sources=DRILL.sources[1:2])
    text = rendered(_tables.drill_report(failed))
    assert "1 differ" in text
    assert "8e8e8e" in text


@pytest.mark.parametrize(("file", "make"), [("cli.md", _reference.reference), ("exit-codes.md", _reference.exit_codes)])
def test_the_reference_in_the_documents_is_that_of_the_code(file: str, make: Callable[[], str]) -> None:
    compare(ROOT / "docs" / "reference" / file, make())
