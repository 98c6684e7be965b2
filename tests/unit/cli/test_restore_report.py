"""What a restore's report file shows."""

import json
from pathlib import Path

import pytest

from recoup.cli import _reports
from recoup.errors import ExitCode, UsageError
from recoup.model.reports import RestoredSource, RestoreReport
from recoup.model.secrets import Masker

GOOD = RestoredSource(
    "chat", "http://127.0.0.1:6333 (docs)", 900, "a copy", 1.5, repository="s3", counted={"points of docs": 400}
)
BAD = RestoredSource("estate", "http://127.0.0.1:6333", error="it is damaged", exit_code=ExitCode.DAMAGED)


def written(report: RestoreReport, path: Path) -> str:
    _reports.check_suffix(path)
    _reports.write(report, path, Masker(["a-secret-word"]))
    return path.read_text()


@pytest.mark.requirement("CO-11")
def test_a_whole_restore_says_what_was_counted(tmp_path: Path) -> None:
    text = written(RestoreReport("backup_1", (GOOD,), 2.0), tmp_path / "report.md")
    assert text.startswith("# Restore done\n")
    assert "| chat | s3 | 900 | 1.5 | http://127.0.0.1:6333 (docs) | a copy | restored |" in text
    assert "| chat | points of docs | 400 | 400 |" in text


def test_what_was_not_restored_stands_in_the_title_and_in_its_row(tmp_path: Path) -> None:
    fell_back = RestoredSource("notes", "notes", fell_back=("local: a-secret-word is missing",))
    text = written(RestoreReport("backup_1", (GOOD, BAD, fell_back), 2.0, ("lost",)), tmp_path / "report.html")
    assert "Restore NOT whole" in text
    assert "NOT restored: it is damaged" in text
    assert "Nothing to restore: lost" in text
    assert "notes: not from local: *** is missing" in text


def test_a_program_reads_the_same_as_json(tmp_path: Path) -> None:
    found = json.loads(written(RestoreReport("backup_1", (GOOD,), 2.0), tmp_path / "report.json"))
    assert (found["type"], found["exit_code"]) == ("restore", 0)
    assert found["sources"][0]["counted"] == {"points of docs": 400}
    with pytest.raises(UsageError):
        _reports.check_suffix(tmp_path / "report.txt")
