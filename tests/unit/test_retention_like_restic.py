"""The rules against restic: what `restic forget` kept stands in tests/golden/retention (see ask_restic.py there)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recoup.model.names import SetName
from recoup.retention import Candidate, Group, judge, rules

GOLDEN = Path(__file__).parent.parent / "golden" / "retention"
TIMELINES = sorted(GOLDEN.glob("*.json"))
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def _candidates(sets: list[dict[str, Any]]) -> list[Candidate]:
    group = Group("docmind", ("cache",))
    names = [SetName.at(datetime.fromisoformat(s["time"])) for s in sets]
    assert len(set(names)) == len(names)
    return [Candidate(name, group, tags=s["tags"]) for name, s in zip(names, sets, strict=True)]


@pytest.mark.parametrize("timeline", TIMELINES, ids=lambda path: path.stem)
def test_the_rules_keep_what_restic_keeps(timeline: Path) -> None:
    document = json.loads(timeline.read_text())
    candidates = _candidates(document["sets"])
    assert document["cases"]
    for case in document["cases"]:
        verdicts = judge(candidates, rules(case["keep"], document["time_zone"]), NOW)
        kept = {v.candidate.name for v in verdicts if v.keep}
        wanted = {SetName.at(datetime.fromisoformat(time)) for time in case["kept"]}
        assert kept == wanted, f"{timeline.stem}: {case['keep']}"


def test_the_expectations_are_real_ones() -> None:
    documents = [json.loads(path.read_text()) for path in TIMELINES]
    assert len(documents) == 8
    assert {document["restic"] for document in documents} == {"0.18.1"}
    assert all(len(document["cases"]) == 55 for document in documents)
    sizes = {len(case["kept"]) for document in documents for case in document["cases"]}
    assert len(sizes) > 20  # rules that kept all, or nothing, would show little
