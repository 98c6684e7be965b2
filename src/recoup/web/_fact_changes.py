"""What is counted and recorded of two sets, compared. Pure."""

from collections.abc import Iterator
from itertools import islice

from recoup.model.facts import Facts, Value
from recoup.model.manifest import Manifest, SourceRecord
from recoup.model.structs import Struct

MOST = 500
"""Changes that are told."""


class FactChange(Struct):
    """A fact that is another one than before.

    Attributes:
        source: whose.
        subject: what it is about.
        name: which value of it.
        before: what it was; None where it was not recorded.
        after: what it is; None where it is not recorded.
    """

    source: str
    subject: str
    name: str
    before: Value
    after: Value


def fact_changes(before: Manifest, after: Manifest) -> tuple[FactChange, ...]:
    """What differs between the facts of two sets, at most `MOST` and one more, so that a reader can tell.

    Args:
        before: the manifest of the first.
        after: that of the second.
    """
    return tuple(islice(_changes(before, after), MOST + 1))


def _changes(before: Manifest, after: Manifest) -> Iterator[FactChange]:
    for source in dict.fromkeys([*before.sources, *after.sources]):
        old, new = _values(before.sources.get(source)), _values(after.sources.get(source))
        for subject in dict.fromkeys([*old, *new]):
            left, right = old.get(subject, {}), new.get(subject, {})
            for name in dict.fromkeys([*left, *right]):
                if left.get(name) != right.get(name):
                    yield FactChange(source, subject, name, left.get(name), right.get(name))


def _values(record: SourceRecord | None) -> dict[str, dict[str, Value]]:
    facts = record.facts if record and record.facts else Facts()
    return {subject: dict(values) for subject, values in facts.values.items()}
