"""The rows of the panel's tables."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import recoup
from recoup.model.marks import Standing
from recoup.model.reports import SetInfo
from recoup.web._panel_sets import origin, parts, problems, proof, rows
from unit.web.running import CLOCK

NOW = CLOCK.now()
AGO = NOW - timedelta(hours=5)


@pytest.fixture(scope="module")
def info(_stack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SetInfo:
    folder = shutil.copytree(_stack_folder, tmp_path_factory.mktemp("rows") / "stack")
    return recoup.open(folder / "recoup.yaml").show()


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (Standing(), "not yet"),
        (Standing(proven=AGO), "5 h ago"),
        (Standing(proven=AGO, failed_proof=AGO), "drill FAILED 5 h ago"),
        (Standing(proven=AGO, damaged=AGO), "DAMAGED, found 5 h ago"),
    ],
)
def test_a_proof_is_no_older_than_the_last_failure(info: SetInfo, standing: Standing, said: str) -> None:
    assert proof(replace(info, standing=standing), NOW) == said


def test_a_row_says_what_is_known_of_a_set(info: SetInfo) -> None:
    (row,) = rows([replace(info, standing=Standing(pinned=True, accepted=True))], NOW)
    assert row["Set"] == info.name
    assert row["Outcome"] == "complete, accepted, pinned"
    assert row["Sources"] == "notes, chat"
    assert "Repository" not in row
    both = rows([info, replace(info, repository="far")], NOW)
    assert [one["Repository"] for one in both] == ["local", "far"]


def test_a_source_that_is_not_whole_is_marked_and_says_why(info: SetInfo) -> None:
    manifest = info.manifest
    assert manifest
    sources = dict(manifest.sources)
    sources["chat"] = replace(sources["chat"], outcome="failed", error="no\x1b[31m file", parts=())
    sources["notes"] = replace(sources["notes"], outcome="incomplete", finding_count=2)
    harmed = replace(manifest, outcome="incomplete", sources=sources)
    (row,) = rows([replace(info, manifest=harmed)], NOW)
    assert (row["Outcome"], row["Sources"]) == ("incomplete", "notes!, chat!")
    found = {part["Source"]: (part["Outcome"], part["Size"], part["Remark"]) for part in parts(harmed)}
    assert found["chat"] == ("failed", "-", "no\N{REPLACEMENT CHARACTER}[31m file")
    assert found["notes"][2] == "2 findings"
    assert origin(harmed).endswith(f" on {manifest.host.name}.")


def test_a_set_that_cannot_be_read_has_a_row_and_a_sentence() -> None:
    lost = SetInfo("local", "backup_20261122_031500", None, problem="its manifest is cut short")
    (row,) = rows([lost], NOW)
    assert (row["Outcome"], row["Size"], row["Sources"]) == ("unreadable", "?", "")
    assert problems([lost]) == ["backup_20261122_031500 in local cannot be read: its manifest is cut short"]
    (strange,) = rows([replace(lost, name="strange")], NOW)
    assert strange["Age"] == "?"
