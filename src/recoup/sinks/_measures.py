"""The numbers for Prometheus: remembered on this machine as runs and `status` find them, written in its text format.

Names follow https://prometheus.io/docs/practices/naming/: base units, the unit in the name. All are gauges: of when or how much
something last was, so nothing has to keep running between two runs.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from recoup.model.structs import Struct
from recoup.system.statefile import remembered, state_path

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

METRICS = {
    "recoup_build_info": "Version of Recoup.",
    "recoup_run_last_attempt_timestamp_seconds": "When the last run of a verb began.",
    "recoup_run_last_success_timestamp_seconds": "When the last run that did all that was asked ended.",
    "recoup_run_last_exit_code": "Exit code of the last run: 0 all was done, 3 a part, else a failure.",
    "recoup_run_last_duration_seconds": "How long the last run took.",
    "recoup_backup_newest_timestamp_seconds": "Of when the newest good copy of a source is.",
    "recoup_backup_newest_bytes": "How much the newest good copy of a source holds, before compression.",
    "recoup_backup_proven_timestamp_seconds": "When the newest good copy of a source was last proven by a drill.",
    "recoup_backup_max_age_seconds": "How old the newest good copy of a source may become.",
    "recoup_repository_sets": "How many sets a repository holds.",
    "recoup_repository_free_bytes": "How much space a repository has left.",
    "recoup_repository_readable": "1 when a repository could be read, else 0.",
    "recoup_problems": "How many problems `status` found.",
    "recoup_status_timestamp_seconds": "When `status` last looked.",
    "recoup_notify_failing": "1 when notices to a receiver did not arrive at the last try, else 0.",
    "recoup_job_next_due_timestamp_seconds": "When a scheduled job is to run next.",
    "recoup_job_running": "1 while a scheduled job runs, else 0.",
    "recoup_job_missed": "How many times a scheduled job was left out.",
    "recoup_scheduler_alive_timestamp_seconds": "When the daemon or `schedule tick` last looked at the schedule.",
}
"""Every metric that is exported, and what it means."""

_TABLES = """
CREATE TABLE IF NOT EXISTS measures (
    topic TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (name, labels)
);
"""


class Measure(Struct):
    """One number.

    Attributes:
        name: one of `METRICS`.
        value: in the unit that the name says.
        labels: what it is of; the stack's name is added.
    """

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def remember(stack: str, topic: str, measures: Iterable[Measure], *, instead: bool = False) -> None:
    """Remembers numbers, in the place of older ones with the same labels.

    Args:
        stack: name of the stack.
        topic: who measured them.
        measures: the numbers.
        instead: forget everything else of this topic.

    Raises:
        StateError: it cannot be written.
    """
    rows = [(topic, one.name, json.dumps(dict(one.labels), sort_keys=True), one.value) for one in measures]
    with remembered(stack, _TABLES) as memory:
        if instead:
            memory.execute("DELETE FROM measures WHERE topic = ?", (topic,))
        memory.executemany("INSERT OR REPLACE INTO measures VALUES (?, ?, ?, ?)", rows)


def recalled(stack: str) -> list[Measure]:
    """All numbers that are remembered of a stack. Nothing is made where nothing is.

    Raises:
        StateError: they cannot be read.
    """
    if not state_path(stack).exists():
        return []
    with remembered(stack, _TABLES) as memory:
        rows = memory.execute("SELECT name, labels, value FROM measures ORDER BY name, labels").fetchall()
    return [Measure(row["name"], row["value"], json.loads(row["labels"])) for row in rows if row["name"] in METRICS]


def exposition(stack: str, measures: Iterable[Measure]) -> bytes:
    """Numbers in Prometheus' text format (version 0.0.4), without time stamps, as node_exporter's text files demand.

    Args:
        stack: its name becomes a label of each.
        measures: those to write.
    """
    from importlib.metadata import version

    from prometheus_client.exposition import generate_latest

    build = Measure("recoup_build_info", 1, {"version": version("recoup")})
    families = _families(stack, [build, *measures])
    return generate_latest(_Collected(families))


class _Collected:
    """Families that are there, as Prometheus' client asks a registry for them."""

    def __init__(self, families: "list[Metric]") -> None:
        self._families = families

    def collect(self) -> "list[Metric]":
        """The families."""
        return self._families


def _families(stack: str, measures: Iterable[Measure]) -> "list[Metric]":
    from prometheus_client.metrics_core import Metric

    found: dict[str, Metric] = {}
    for one in measures:
        family = found.setdefault(one.name, Metric(one.name, METRICS[one.name], "gauge"))
        family.add_sample(one.name, {"stack": stack, **one.labels}, one.value)
    return [found[name] for name in METRICS if name in found]
