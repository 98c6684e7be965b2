"""What was measured of the dedup repository and its peers, and how it stands to the figures to reach: tables of `dedup`."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dedup_series import RECIPES, Kind, Series
from measuring import LARGEST_MEMORY, MB, Run


@dataclass
class Outcome:
    """What one contestant did with one series.

    Attributes:
        name: of the contestant.
        days: a day's backups, one for each round.
        growth: bytes by which a day's backup made the repository larger, one for each round.
        restores: of the last day, compared with what was backed up.
        checks: of every stored byte.
    """

    name: str
    days: list[list[Run]]
    growth: list[list[int]]
    restores: list[Run] = field(default_factory=list)
    checks: list[Run] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, days: int) -> "Outcome":
        """Nothing measured yet."""
        return cls(name, [[] for _ in range(days)], [[] for _ in range(days)])

    def total(self) -> float:
        """Bytes of the repository after the last day."""
        return sum(statistics.median(sizes) for sizes in self.growth)

    def memory(self) -> int:
        """The most bytes that a process of a backup had in memory."""
        return max(run.largest for day in self.days for run in day)

    def needed(self) -> int:
        """The most bytes that all processes of a backup needed for themselves together."""
        return max(run.memory for day in self.days for run in day)


@dataclass(frozen=True)
class Measured:
    """One series with the outcomes of all contestants, Recoup's among them or not."""

    series: Series
    outcomes: Sequence[Outcome]

    def runs(self, outcome: Outcome, kind: Kind) -> list[Run]:
        """The backups of all days of a kind."""
        return [run for number in self.numbers(kind) for run in outcome.days[number]]

    def seconds(self, outcome: Outcome, kind: Kind) -> float:
        """The median backup of the days of a kind."""
        return statistics.median(run.seconds for run in self.runs(outcome, kind))

    def growth(self, outcome: Outcome, kind: Kind) -> float:
        """Bytes of growth on a day of a kind, on the average of these days."""
        return statistics.fmean(statistics.median(outcome.growth[number]) for number in self.numbers(kind))

    def limit(self, kind: Kind) -> float:
        """Bytes that a day of a kind costs at least, on the average of these days."""
        return statistics.fmean(self.series.days[number].limit for number in self.numbers(kind))

    def numbers(self, kind: Kind) -> list[int]:
        """The days of a kind."""
        return [number for number, day in enumerate(self.series.days) if day.kind == kind]


Figure = Callable[[Measured, Outcome], float]


@dataclass(frozen=True)
class Goal:
    """One figure to reach.

    Attributes:
        series: names of the series that it is for.
        what: for people.
        figure: the number that is compared.
        most: how many times `beside` it may be.
        kind: with it, beside the limit of the days of this kind; without, beside the best of the peers.
    """

    series: tuple[str, ...]
    what: str
    figure: Figure
    most: float
    kind: Kind | None = None


def _seconds(kind: Kind) -> Figure:
    return lambda measured, outcome: measured.seconds(outcome, kind)


def _growth(kind: Kind) -> Figure:
    return lambda measured, outcome: measured.growth(outcome, kind)


def _median_of(chosen: Callable[[Outcome], list[Run]]) -> Figure:
    return lambda _, outcome: statistics.median(run.seconds for run in chosen(outcome))


BOTH = ("generated", "real")
GOALS = (
    Goal(BOTH, "first day, time", _seconds("first"), 0.5),
    Goal(BOTH, "ordinary day, time", _seconds("ordinary"), 0.5),
    Goal(BOTH, "ordinary day, growth", _growth("ordinary"), 1.25, "ordinary"),
    Goal(("real",), "rewrite day after 20 % deletes, growth", _growth("rewrite"), 2, "rewrite"),
    Goal(("generated",), "rewrite day, growth", _growth("rewrite"), 1.8, "rewrite"),
    Goal(("real",), "all days stored", lambda _, outcome: outcome.total(), 0.6),
    Goal(BOTH, "restore, time", _median_of(lambda outcome: outcome.restores), 1),
    Goal(BOTH, "verify every byte, time", _median_of(lambda outcome: outcome.checks), 0.5),
    Goal(("pg",), "ordinary day, growth", _growth("ordinary"), 1 / 20),
    Goal(("flat",), "ordinary day, growth", _growth("ordinary"), 2, "ordinary"),
)


def goal_rows(measured: Iterable[Measured], ours: str) -> list[str]:
    """Lines of the table of figures to reach, those of series that were measured."""
    found = []
    for one in measured:
        found += [_goal_row(one, goal, ours) for goal in GOALS if one.series.name in goal.series]
        own = [outcome for outcome in one.outcomes if outcome.name == ours]
        found += [_memory_row(one, outcome) for outcome in own]
    return found


def _goal_row(measured: Measured, goal: Goal, ours: str) -> str:
    own = [outcome for outcome in measured.outcomes if outcome.name == ours]
    peers = [(goal.figure(measured, outcome), outcome.name) for outcome in measured.outcomes if outcome.name != ours]
    best = min(peers, default=None)
    others = ", ".join(f"{name} {_amount(value, goal)}" for value, name in peers)
    beside = (measured.limit(goal.kind), "limit") if goal.kind else best
    shown = [f"{measured.series.name}: {goal.what}", f"<= {goal.most:g} x {'limit' if goal.kind else 'best peer'}"]
    if not own or beside is None:
        return _line(*shown, "not measured", "", others, "not measured")
    value = goal.figure(measured, own[0])
    ratio = value / beside[0]
    told = f"{ratio:.2f} x {beside[1]} ({_amount(beside[0], goal)})"
    return _line(*shown, _amount(value, goal), told, others, "yes" if ratio <= goal.most else "NO")


def _memory_row(measured: Measured, outcome: Outcome) -> str:
    memory = outcome.memory() / MB
    others = ", ".join(f"{other.name} {other.memory() / MB:.0f}" for other in measured.outcomes if other is not outcome)
    holds = "yes" if memory <= LARGEST_MEMORY else "NO"
    goal = f"<= {LARGEST_MEMORY} MB"
    return _line(f"{measured.series.name}: peak memory", goal, f"{memory:.0f} MB", "", others, holds)


def _amount(value: float, goal: Goal) -> str:
    return f"{value:.2f} s" if goal.what.endswith("time") else f"{value / MB:.2f} MB"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


GOALS_HEADING = """\
| figure | goal | Recoup | ratio | peers | holds |
|---|---|---|---|---|---|"""
"""The head of a table of `goal_rows`."""


def table(measured: Measured) -> list[str]:
    """One series' outcomes in full: times, growth and memory of each contestant, and the limit."""
    kinds: list[Kind] = ["first", "ordinary"]
    if measured.numbers("rewrite"):
        kinds.append("rewrite")
    series = measured.series
    recipe = RECIPES[series.name]
    sizes = [day.bytes for day in series.days]
    head = [f"{kind} day: s; MB" for kind in kinds]
    head = ["who", *head, "all days MB", "restore s", "verify s", "processor s", "memory MB (together)"]
    limits = [f"{_spread_limit(measured, kind)} MB" for kind in kinds]
    return [
        f"## {series.name}",
        "",
        f"{recipe.about}; {series.size:,} {recipe.unit}, {len(sizes)} days of {min(sizes) / MB:.0f} to {max(sizes) / MB:.0f} MB.",
        "",
        _line(*head),
        "|---" * len(head) + "|",
        *(_line(*_cells(measured, outcome, kinds)) for outcome in measured.outcomes),
        _line("limit", *limits, f"{sum(day.limit for day in series.days) / MB:.1f}", "", "", "", ""),
        "",
    ]


def _cells(measured: Measured, outcome: Outcome, kinds: Sequence[Kind]) -> list[str]:
    days = [
        f"{_spread([run.seconds for run in measured.runs(outcome, kind)])}; {_spread_growth(measured, outcome, kind)}"
        for kind in kinds
    ]
    both = [_spread([run.seconds for run in runs]) for runs in (outcome.restores, outcome.checks)]
    memory = f"{outcome.memory() / MB:.0f} ({outcome.needed() / MB:.0f})"
    return [outcome.name, *days, f"{outcome.total() / MB:.1f}", *both, _processors(measured, outcome, kinds), memory]


def _processors(measured: Measured, outcome: Outcome, kinds: Sequence[Kind]) -> str:
    """Medians for backups on the days of each kind, restore and verification."""
    steps = [*(measured.runs(outcome, kind) for kind in kinds), outcome.restores, outcome.checks]
    return " / ".join(f"{statistics.median(run.processor for run in runs):.2f}" for runs in steps)


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


def _spread_growth(measured: Measured, outcome: Outcome, kind: Kind) -> str:
    grown = [size / MB for number in measured.numbers(kind) for size in outcome.growth[number]]
    return f"{measured.growth(outcome, kind) / MB:.2f} ({min(grown):.2f}-{max(grown):.2f})"


def _spread_limit(measured: Measured, kind: Kind) -> str:
    return f"{measured.limit(kind) / MB:.2f}"
