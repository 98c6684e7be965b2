"""What pages show of a job's results: what failed as loudly as what went well."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Template

import recoup
from recoup.app import Stack
from recoup.errors import ExitCode
from recoup.model.facts import Comparison
from recoup.model.json_values import plain
from recoup.model.reports import (
    BackupReport,
    CopiedSet,
    CopyReport,
    Damage,
    DrillReport,
    PruneReport,
    RecoveryReport,
    RestoredSource,
    RestoreReport,
    SourceDrill,
    StoredCopy,
    VerifyReport,
)
from recoup.model.sharing import Reclaim
from recoup.system.clock import SystemClock
from recoup.web._pages import _environment
from recoup.web._results import Result, results


@pytest.fixture(scope="module")
def stack(_stack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder = shutil.copytree(_stack_folder, tmp_path_factory.mktemp("results") / "stack")
    return recoup.open(folder / "recoup.yaml")


def printed(kind: str, report: Any) -> Result:
    """A report as `--json` prints it, and as it is read again."""
    (found,) = results([json.loads(json.dumps({"type": kind, **plain(report)}))])
    return found


def html(result: Result) -> str:
    template: Template = _environment().get_template(result.template)
    return template.render(report=result.report, url=lambda route, **parameters: f"/{route}/{parameters}")


def page(kind: str, report: Any) -> str:
    return html(printed(kind, report))


def test_every_report_comes_back_as_the_command_printed_it(stack: Stack) -> None:
    reports: Mapping[str, Any] = {
        "backup": stack.backup(note="once more"),
        "verify": stack.verify("latest")[0],
        "drill": stack.drill(),
        "recovery": stack.drill_recovery(),
        "restore": stack.restore(sources=["notes"], in_place=True),
        "prune": stack.prune(),
        "copy": CopyReport("local", "far", (CopiedSet("backup_20261101_020000", "backup_20261101_020000", 5),), 1.0),
    }
    for kind, report in reports.items():
        found = printed(kind, report)
        assert found.report == report, kind
        text = html(found)
        assert "badge good" in text or "verdict good" in text, kind
        assert "✗" not in text, kind


def restored(*sources: RestoredSource, lost: tuple[str, ...] = ()) -> str:
    return page("restore", RestoreReport("backup_20261101_020000", sources, 1.0, lost))


NOTES = RestoredSource("notes", "/srv/notes", 12, kept="/srv/notes.before-restore-1", repository="local")
FAILED = RestoredSource("chat", "/srv/chat.db", error="it is in use", exit_code=ExitCode.REFUSED)


def test_a_restore_is_green_only_when_all_of_it_came_back() -> None:
    assert "verdict good" in restored(NOTES)
    assert "Not whole: 1 source restored, 1 not." in restored(NOTES, FAILED)
    assert "Not whole: 1 source restored, 1 not." in restored(NOTES, lost=("chat",))
    assert "nothing came back" in restored(FAILED)
    for text in (restored(NOTES, FAILED), restored(NOTES, lost=("chat",)), restored(FAILED), restored()):
        assert "verdict good" not in text
        assert "verdict bad" in text


def test_a_restore_says_what_was_kept_counted_and_taken_instead() -> None:
    text = restored(NOTES)
    assert "kept as /srv/notes.before-restore-1" in text
    assert "Nothing was counted at the target." in text
    fallen = RestoredSource(
        "vectors", "http://q", repository="far", fell_back=("X in local: gone",), counted={"points of docs": 1200}
    )
    text = restored(fallen)
    assert "Not from X in local: gone" in text
    assert "points of docs: 1,200" in text
    assert "nothing is kept" in text


def drilled(*sources: SourceDrill, earlier: tuple[DrillReport, ...] = (), **more: Any) -> DrillReport:
    fields = {"skipped": {}, "seconds": 1.0, "repository": "local", **more}
    return DrillReport("backup_20261101_020000", 60.0, SystemClock().now(), sources, earlier=earlier, **fields)


EQUAL = SourceDrill("notes", "files", 5, 1.0, (Comparison("folder", "files", "2", "2", equal=True),), "", 0.5)
DIFFERS = SourceDrill("chat", "sqlite", 5, 1.0, (Comparison("table messages", "rows", "5", "4", equal=False),))
BROKEN = SourceDrill("chat", "sqlite", 5, 1.0, (), "it cannot be opened", unreadable=True)
EMPTY = SourceDrill("chat", "sqlite", 5, 1.0, ())


def test_a_drill_shows_expected_against_found() -> None:
    text = page("drill", drilled(EQUAL, DIFFERS))
    assert "verdict bad" in text
    assert "verdict good" not in text
    for expected in (
        "table messages: rows",
        '<td data-label="Expected">5</td>',
        '<td data-label="Found">4</td>',
        "differs",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (drilled(BROKEN), "it cannot be opened"),
        (drilled(EMPTY), "Nothing was compared."),
        (drilled(), "No source was drilled."),
        (drilled(EQUAL, EMPTY), "Nothing was compared."),
    ],
)
def test_a_drill_that_proved_nothing_is_not_green(report: DrillReport, sentence: str) -> None:
    text = page("drill", report)
    assert sentence in text
    assert "verdict good" not in text


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        ("not asked for", "warning"),
        ("it failed at the backup: it is gone", "warning"),
        ("it was absent at the backup", "good"),
        ("it was empty at the backup", "good"),
    ],
)
def test_a_drill_of_a_part_is_not_green(reason: str, level: str) -> None:
    text = page("drill", drilled(EQUAL, skipped={"chat": reason}))
    assert f"verdict {level}" in text
    assert ("Proven for a part: 1 source of backup_20261101_020000 restored, 1 not drilled" in text) == (
        level == "warning"
    )


def test_a_drill_says_what_it_left_out_and_which_copy_failed() -> None:
    text = page(
        "drill", drilled(EQUAL, skipped={"chat": "not asked for"}, earlier=(drilled(BROKEN, repository="near"),))
    )
    assert "not drilled" in text
    assert "verdict bad" in text
    assert "recoup repair -r near" in text


def test_a_recovery_drill_shows_no_times_when_not_all_came_back() -> None:
    lost = RecoveryReport("/r", "here", SystemClock().now(), (drilled(EQUAL),), (), {"chat": "no copy"}, {}, {}, 2.0)
    text = page("recovery", lost)
    assert "verdict bad" in text
    assert text.count("not measured") == 2
    assert "no copy" in text
    assert "verdict good" not in text


@pytest.mark.parametrize(
    ("report", "badge"),
    [
        (VerifyReport("s", 3, 9, 1.0, (), 0.1, "local", "complete"), "badge good"),
        (VerifyReport("s", 3, 9, 0.4, (), 0.1, "local", "complete"), "no damage found in what was read"),
        (VerifyReport("s", 3, 9, 1.0, (), 0.1, "local", "suspicious"), "intact, but the backup was suspicious"),
        (VerifyReport("s", 3, 9, 1.0, (), 0.1, unseen="no key here"), "no key here"),
        (VerifyReport("s", 0, 0, 1.0, (), 0.1), "nothing was read"),
        (VerifyReport("s", 3, 9, 1.0, (Damage("chat/chat.db", "changed", "another hash"),), 0.1), "1 damaged file"),
    ],
)
def test_only_a_whole_look_at_a_good_set_is_green(report: VerifyReport, badge: str) -> None:
    text = page("verify", report)
    assert badge in text
    assert ("badge good" in text) == (badge == "badge good")


def test_a_backup_that_is_not_whole_everywhere_is_not_green(stack: Stack) -> None:
    good = stack.backup()
    failed = StoredCopy("far", "/far", error="the disk is full", code=ExitCode.FAILED)
    partly = BackupReport(good.manifest, "local", 1.0, repositories=(*good.repositories, failed))
    nothing = BackupReport(None, "local", 1.0, errors={"chat": "it is gone"})
    refused = BackupReport(None, "local", 1.0, refused=True)
    for report, sentence in ((partly, "the disk is full"), (nothing, "it is gone"), (refused, "Refused: nothing")):
        text = page("backup", report)
        assert sentence in text
        assert "verdict good" not in text


def test_a_backup_of_nothing_is_not_green(stack: Stack) -> None:
    good = stack.backup()
    assert good.manifest is not None
    absent = {name: replace(record, outcome="absent", parts=()) for name, record in good.manifest.sources.items()}
    empty = BackupReport(replace(good.manifest, sources=absent), "local", 1.0, repositories=good.repositories)
    text = page("backup", empty)
    assert "holds nothing" in text
    assert "verdict good" not in text
    assert "verdict good" in page("backup", good)


def test_a_part_of_the_bytes_is_never_called_all_of_them() -> None:
    text = page("verify", VerifyReport("s", 3, 10, 0.999, (), 1.0))
    assert "99 % of the set" in text


def test_copies_and_prunes_say_what_is_missing() -> None:
    text = page("copy", CopyReport("local", "far", (CopiedSet("s", error="no room", code=ExitCode.FAILED),), 1.0))
    assert "no room" in text
    assert "badge good" not in text
    assert "no set was copied" in page("copy", CopyReport("local", "far", (), 1.0))
    text = page("prune", PruneReport((), ("s",), 0, 1.0, reclaim=Reclaim(0, 0, 0, 0.0, lost=2)))
    assert "2 lost" in text
    assert "badge good" not in text


def test_what_cannot_be_read_as_a_report_is_shown_as_it_is() -> None:
    assert "it went &lt;wrong&gt;" in html(
        results([{"type": "error", "message": "it went <wrong>", "hint": "look"}])[0]
    )
    for record in ({"type": "drill", "set": "<b>"}, {"type": "pin", "set": "<b>"}, {"set": "<b>"}):
        (found,) = results([record])
        assert found.template == "_result_other.html"
        assert "&lt;b&gt;" in html(found)


def test_texts_in_results_are_no_markup() -> None:
    evil = "<script>alert(1)</script>\x1b[2J"
    source = RestoredSource(evil, evil, kept=evil, repository=evil, fell_back=(evil,), counted={evil: 1})
    texts = [
        restored(source, RestoredSource(evil, evil, error=evil), lost=(evil,)),
        page(
            "drill", drilled(SourceDrill(evil, evil, 1, 1.0, (Comparison(evil, evil, evil, evil, equal=False),), evil))
        ),
        page("verify", VerifyReport(evil, 1, 1, 1.0, (Damage(evil, evil, evil),), 0.1, evil, "complete", evil)),
        page("copy", CopyReport(evil, evil, (CopiedSet(evil, error=evil),), 1.0)),
        page(
            "backup",
            BackupReport(None, evil, 1.0, errors={evil: evil}, repositories=(StoredCopy(evil, evil, error=evil),)),
        ),
        html(results([{"type": "error", "message": evil, "hint": evil}])[0]),
    ]
    for text in texts:
        assert "<script" not in text
        assert "&lt;script" in text
