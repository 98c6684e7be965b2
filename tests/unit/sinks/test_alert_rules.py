"""The alert rules under `deploy/` speak of metrics that there are."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from recoup.sinks._measures import METRICS

RULES = Path(__file__).parents[3] / "deploy/prometheus/recoup.rules.yml"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.requirement("CI-9", "SR-12")
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_rule_asks_for_metrics_that_are_exported(rule: dict[str, Any]) -> None:
    asked = set(re.findall(r"recoup_[a-z_]+", rule["expr"]))
    assert asked
    assert asked <= set(METRICS)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_rule_says_how_grave_it_is_and_what_a_person_reads(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


def test_a_status_that_never_ran_raises_an_alert_though_its_metric_is_not_there() -> None:
    [never] = [rule["expr"] for rule in rules() if rule["alert"] == "RecoupStatusNever"]
    assert never == "recoup_build_info unless on (stack, instance) recoup_status_timestamp_seconds"


def test_no_two_rules_have_one_name() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_prometheus_own_program_accepts_them() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    subprocess.run([promtool, "check", "rules", RULES], check=True, capture_output=True)
