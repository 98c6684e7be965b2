"""What a source had in its last good copy and has no longer: collections and tables that somebody dropped, or lost.

It is said in the first backup without them, and never again, since the next one compares with that. Their copies stay as long
as retention keeps the sets that they are in.
"""

import re
from collections.abc import Iterable, Iterator

from recoup.model.manifest import Finding, SourceRecord
from recoup.model.names import shown

_THING = re.compile(r"(collection|table) .+")
_SHARD = re.compile(r" shard \d+$")
_MOST = 20  # findings


def things(record: SourceRecord) -> frozenset[str]:
    """The collections and tables that a record's facts are about, as `collection docs`."""
    subjects = record.facts.values if record.facts else {}
    return frozenset(subject for subject in subjects if _THING.fullmatch(subject) and not _SHARD.search(subject))


def _also_called(record: SourceRecord) -> Iterator[str]:
    """The aliases of collections: a restore makes one of the name that a collection had."""
    for values in record.facts.values.values() if record.facts else ():
        for alias in str(values.get("aliases") or "").split(", "):
            yield f"collection {alias}"


def gone(record: SourceRecord, before: Iterable[str], set_name: str) -> tuple[Finding, ...]:
    """A harmless finding for each thing that is not there any more. Pure.

    Args:
        record: what was captured; of one that is not whole nothing is said, since that says itself what is missing.
        before: the things in the newest good copy before it.
        set_name: the set that has that copy.
    """
    if record.outcome not in ("complete", "suspicious") or record.facts is None:
        return ()
    left = sorted(set(before) - things(record) - set(_also_called(record)))
    message = f"is no longer there; {set_name} is the newest set that has it"
    found = [Finding("gone", shown(thing), message, harmless=True) for thing in left[:_MOST]]
    if len(left) > _MOST:
        found.append(Finding("gone", f"{len(left) - _MOST} more", message, harmless=True))
    return tuple(found)
