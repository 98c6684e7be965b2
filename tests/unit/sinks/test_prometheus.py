"""Numbers for Prometheus: a file for node_exporter that is whole, readable, and true."""

import math
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from recoup.model.events import Event
from recoup.model.secrets import Masker
from recoup.sinks import _measures
from recoup.sinks._measures import METRICS, Measure
from recoup.sinks._notifying import NotSentError
from recoup.sinks.prometheus import Options, connect

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FINISHED = Event("run_finished", NOON, "backup ended", fields={"stack": "shop"})
FREE = "recoup_repository_free_bytes"


def samples(text: str) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(text)
    return {(one.name, one.labels.get("repository", "")): one.value for family in families for one in family.samples}


@pytest.mark.requirement("CI-9")
def test_the_end_of_a_run_writes_what_is_known(tmp_path: Path) -> None:
    _measures.remember("shop", "state", [Measure(FREE, 2**60, {"repository": "main"})])
    path = tmp_path / "recoup.prom"
    sink = connect(Options(path=path), Masker())
    sink(FINISHED)
    sink.close()
    text = path.read_text()
    assert samples(text)[FREE, "main"] == 2**60
    assert text.endswith("\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["recoup.prom"]


def test_no_sample_has_a_time_stamp_and_each_metric_is_described_once() -> None:
    measures = [Measure(name, 1, {"repository": "main"}) for name in METRICS if name != "recoup_build_info"]
    text = _measures.exposition("shop", measures).decode()
    families = list(text_string_to_metric_families(text))
    assert {family.name for family in families} == set(METRICS)
    assert all(one.timestamp is None for family in families for one in family.samples)
    described = re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    assert sorted(described) == sorted(set(described))


@pytest.mark.parametrize("name", METRICS)
def test_names_follow_the_conventions(name: str) -> None:
    assert re.fullmatch(r"recoup(_[a-z]+)+", name)
    assert not name.endswith(("_total", "_count", "_sum", "_ms", "_kb", "_percent"))


def test_a_number_takes_the_place_of_the_older_one() -> None:
    for value in (1, 2):
        _measures.remember("shop", "state", [Measure(FREE, value, {"repository": "main"})])
    assert [one.value for one in _measures.recalled("shop")] == [2]


def test_what_is_measured_as_a_whole_ends_what_is_there_no_more() -> None:
    _measures.remember("shop", "state", [Measure(FREE, 1, {"repository": "old"})])
    _measures.remember("shop", "run", [Measure("recoup_run_last_exit_code", 0, {"verb": "backup"})])
    _measures.remember("shop", "state", [Measure(FREE, 2, {"repository": "new"})], instead=True)
    assert {one.name: one.labels for one in _measures.recalled("shop")} == {
        FREE: {"repository": "new"},
        "recoup_run_last_exit_code": {"verb": "backup"},
    }


@given(name=st.text(max_size=60), value=st.floats(allow_nan=False))
@settings(max_examples=60)
def test_hostile_names_come_back_as_they_were(name: str, value: float) -> None:
    text = _measures.exposition("shop", [Measure(FREE, value, {"repository": name})]).decode("utf-8", "surrogatepass")
    (found,) = [one for family in text_string_to_metric_families(text) for one in family.samples if one.name == FREE]
    assert found.labels["repository"] == name
    assert math.isclose(found.value, value) or found.value == value


def test_a_folder_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(NotSentError, match="cannot be written"):
        connect(Options(path=tmp_path / "no" / "x.prom"), Masker())(FINISHED)


def test_a_name_that_node_exporter_does_not_read_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"does not end in \.prom"):
        Options(path=Path("recoup.txt"))


def test_a_relative_path_starts_at_the_configuration(tmp_path: Path) -> None:
    assert Options(path=Path("x.prom")).beside(tmp_path).path == tmp_path / "x.prom"
