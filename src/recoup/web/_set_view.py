"""What the page of a set shows, beside the set itself. Pure."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from recoup.model.facts import Facts, Value
from recoup.model.marks import Mark
from recoup.model.names import shown
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from recoup.model.manifest import SourceRecord

MOST_ROWS = 200
"""Rows of one table: what there is more of is counted, and stands in the manifest."""

_LONGEST = 300  # characters of a value
_NO_COUNTS = ("user_version", "application_id")  # numbers that count nothing


class Rows(Struct):
    """The rows of a table, as many as are shown.

    Attributes:
        shown: their cells.
        more: how many there are besides.
    """

    shown: tuple[tuple[str, ...], ...]
    more: int


class SourceView(Struct):
    """What a set has of a source, as rows of tables.

    Attributes:
        facts: subject, name and value of what a correct copy must show.
        probes: collection, vector, and number of nearest-neighbour questions with their exact answers.
    """

    facts: Rows
    probes: Rows


def source_view(record: "SourceRecord") -> SourceView:
    """What a set has of a source, as rows of tables."""
    facts = record.facts or Facts()
    rows = ((subject, name, text_of(value)) for subject, named in facts.values.items() for name, value in named.items())
    return SourceView(_rows(rows), _rows(_probes(facts)))


def _probes(facts: Facts) -> Iterator[tuple[str, ...]]:
    asked: dict[tuple[str, str], int] = {}
    for probe in facts.probes:
        key = probe.collection, probe.vector
        asked[key] = asked.get(key, 0) + 1
    yield from ((collection, vector, f"{count:,}") for (collection, vector), count in asked.items())


def _rows(rows: Iterator[tuple[str, ...]]) -> Rows:
    return Rows(tuple(islice(rows, MOST_ROWS)), sum(1 for _ in rows))


def text_of(value: Value) -> str:
    """A fact for people; a long one is cut, and ends with dots."""
    if value is None:
        return "not recorded"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def counts(record: "SourceRecord") -> tuple[tuple[str, str, int], ...]:
    """What was counted of a source: subject (`table messages`), name (`rows`) and number."""
    values: Mapping[str, Mapping[str, Value]] = record.facts.values if record.facts else {}
    return tuple(
        (subject, name, value)
        for subject, named in values.items()
        for name, value in named.items()
        if isinstance(value, int) and not isinstance(value, bool) and name not in _NO_COUNTS
    )


def learned(mark: Mark) -> tuple[str, str]:
    """A mark for people: `good`, `bad` or `neutral`, and a sentence."""
    fields = mark.fields
    match mark.kind:
        case "proof":
            return _proof(fields)
        case "pin":
            until = f", until {shown(str(fields['until']))}" if fields.get("until") else ""
            return "neutral", f"Pinned{until}: {shown(str(fields.get('reason') or 'no reason given'))}"
        case "unpin":
            return "neutral", "The pin was taken off"
        case "note":
            return "neutral", f"Note: {shown(str(fields.get('text', '')))}"
        case "accepted":
            return "neutral", "Accepted as good by a person"
        case "restored":
            return "neutral", "Restored from"


def _proof(fields: Mapping[str, object]) -> tuple[str, str]:
    """What a drill or a hash check showed. A part that is good says nothing of the rest."""
    what = "Drill" if fields.get("level") == "drill" else "Hash check"
    if not fields.get("passed"):
        return "bad", f"{what} failed"
    if not fields.get("whole"):
        return "neutral", f"{what} passed, of a part only"
    return "good", f"{what} passed, of everything"
