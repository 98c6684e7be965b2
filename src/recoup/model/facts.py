"""Facts say what a correct copy must show; a drill compares them, and can fail.

Facts come from a capture's frozen view, or from opening the captured bytes; never from the live source alone.
"""

from collections.abc import Mapping
from dataclasses import field

from recoup.model.structs import Struct

Value = int | str | bool | None
"""A fact's value. Large integers and digests are text, so that every JSON reader keeps them exact."""


class Probe(Struct):
    """One nearest-neighbour question with its exact answer.

    Attributes:
        collection: the collection that was asked.
        vector: name of the vector; empty for the unnamed one.
        point: id of the point whose own vector is the question, as text.
        neighbours: ids (text) of the nearest points by exact search, best first, the point itself left out.
    """

    collection: str
    vector: str
    point: str
    neighbours: tuple[str, ...]


class Facts(Struct):
    """What a correct copy must show.

    Attributes:
        values: subject (`table main.documents`, `collection docs`) to named values (`rows`, `schema`, `ids`).
        probes: nearest-neighbour questions with their exact answers.
        seed: of all random choices (probes, samples); None where nothing was chosen at random.
    """

    values: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    seed: int | None = None


class Bracket(Struct):
    """The lowest and highest count that the live source showed from before to after its capture.

    Attributes:
        subject: as in `Facts.values`.
        name: the counted value's name.
        low: lowest count seen.
        high: highest count seen.
    """

    subject: str
    name: str
    low: int
    high: int


class Comparison(Struct):
    """One line of a drill: what was compared, what was expected, what was found.

    Attributes:
        subject: what it is about.
        name: which value of it.
        expected: as text for people.
        found: as text for people.
        equal: whether they agree.
    """

    subject: str
    name: str
    expected: str
    found: str
    equal: bool


MINIMUM_OVERLAP = 0.999
"""Mean overlap of neighbour lists below which a drill fails: exact search over equal vectors gives 1.0 but for ties."""


def compare(expected: Facts, found: Facts) -> tuple[Comparison, ...]:
    """Compares every value and probe; a value missing on either side is a difference."""
    lines = []
    for subject in sorted({*expected.values, *found.values}):
        left, right = expected.values.get(subject, {}), found.values.get(subject, {})
        for name in sorted({*left, *right}):
            a, b = left.get(name, _MISSING), right.get(name, _MISSING)
            lines.append(Comparison(subject, name, str(a), str(b), a == b))
    return (*lines, *_compare_probes(expected.probes, found.probes))


_MISSING = "(missing)"


def _compare_probes(expected: tuple[Probe, ...], found: tuple[Probe, ...]) -> list[Comparison]:
    answers = {(p.collection, p.vector, p.point): p.neighbours for p in found}
    overlaps: dict[tuple[str, str], list[float]] = {}
    for probe in expected:
        answer = answers.get((probe.collection, probe.vector, probe.point), ())
        overlaps.setdefault((probe.collection, probe.vector), []).append(overlap(probe.neighbours, answer))
    lines = []
    for (collection, vector), shares in sorted(overlaps.items()):
        mean = sum(shares) / len(shares)
        name = f"neighbours{f' of {vector}' if vector else ''} ({len(shares)} probes)"
        wanted, shown = f"overlap >= {MINIMUM_OVERLAP}", f"overlap {mean:.4f}"
        lines.append(Comparison(f"collection {collection}", name, wanted, shown, mean >= MINIMUM_OVERLAP))
    return lines


def overlap(expected: tuple[str, ...], found: tuple[str, ...]) -> float:
    """Share of the expected neighbours that were found, 0.0 to 1.0; two empty lists agree."""
    if not expected:
        return 1.0 if not found else 0.0
    return len(set(expected) & set(found)) / len(expected)


def outside(facts: Facts, brackets: tuple[Bracket, ...]) -> tuple[Comparison, ...]:
    """The counted facts that lie outside what the live source showed around the capture."""
    lines = []
    for bracket in brackets:
        value = facts.values.get(bracket.subject, {}).get(bracket.name)
        inside = isinstance(value, int) and bracket.low <= value <= bracket.high
        if not inside:
            expected = f"{bracket.low} to {bracket.high}"
            lines.append(Comparison(bracket.subject, bracket.name, expected, str(value), equal=False))
    return tuple(lines)
