"""The tables of the dedup benchmark: a figure that was not reached, or not measured, is never shown as reached."""

from pathlib import Path

import pytest

from dedup_outcomes import Measured, Outcome, goal_rows, table
from dedup_series import Day, Kind, Series
from measuring import MB, Run


def day(kind: Kind, limit: float) -> Day:
    return Day("file", kind, 100 * MB, int(limit * MB))


SERIES = Series(
    "real", 1000, Path("unused"), (day("first", 50), day("ordinary", 2), day("rewrite", 10), day("ordinary", 4))
)


def outcome(name: str, seconds: float, growth: list[float], memory: int = 100) -> Outcome:
    run = Run(seconds, memory * MB, memory * MB, seconds)
    return Outcome(name, [[run]] * 4, [[int(size * MB)] for size in growth], [run], [run])


def told(*outcomes: Outcome) -> dict[str, str]:
    """The figures, each with what the last column says."""
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in goal_rows([Measured(SERIES, outcomes)], "Recoup")
    ]
    return {row[0].removeprefix("real: "): row[-1] for row in rows}


RESTIC = outcome("restic", 2.0, [60, 10, 90, 12])
BORG = outcome("borg", 4.0, [50, 20, 80, 22])


def test_figures_just_reached_hold() -> None:
    shown = told(outcome("Recoup", 1.0, [50, 2.5, 20, 5.0], memory=150), RESTIC, BORG)
    assert shown.pop("restore, time") == "yes"
    assert set(shown.values()) == {"yes"}


@pytest.mark.parametrize(
    ("ours", "missed"),
    [
        (outcome("Recoup", 1.01, [50, 2, 20, 5]), {"first day, time", "ordinary day, time", "verify every byte, time"}),
        (outcome("Recoup", 1.0, [50, 3, 20, 5]), {"ordinary day, growth"}),
        (outcome("Recoup", 1.0, [50, 2, 20.1, 5]), {"rewrite day after 20 % deletes, growth"}),
        (outcome("Recoup", 1.0, [85, 2, 20, 4]), {"all days stored"}),
        (outcome("Recoup", 1.0, [50, 2, 20, 5], memory=151), {"peak memory"}),
    ],
)
def test_a_figure_just_missed_says_so_and_no_other(ours: Outcome, missed: set[str]) -> None:
    assert {what for what, holds in told(ours, RESTIC, BORG).items() if holds == "NO"} == missed


def test_each_figure_is_held_beside_the_peer_that_is_best_in_it() -> None:
    quick_but_large, small_but_slow = outcome("restic", 1.0, [90] * 4), outcome("borg", 9.0, [1] * 4)
    shown = told(outcome("Recoup", 1.0, [1] * 4), quick_but_large, small_but_slow)
    assert shown["first day, time"] == "NO"
    assert shown["all days stored"] == "NO"


def test_without_peers_what_is_held_beside_them_is_not_measured() -> None:
    shown = told(outcome("Recoup", 0.1, [1] * 4))
    assert shown["first day, time"] == "not measured"
    assert shown["ordinary day, growth"] == "yes"


def test_without_recoup_nothing_is_said_to_hold() -> None:
    assert set(told(RESTIC, BORG).values()) == {"not measured"}


def test_the_table_has_each_contestant_and_the_limit() -> None:
    lines = table(Measured(SERIES, (RESTIC, BORG)))
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    assert set(rows) == {"who", "restic", "borg", "limit"}
    assert "2.00 (2.00-2.00); 11.00 (10.00-12.00)" in rows["restic"]
    assert "172.0" in rows["restic"]
    assert "2.00 / 2.00 / 2.00 / 2.00 / 2.00" in rows["restic"]
    assert "3.00 MB" in rows["limit"]
