"""Which entries of a whole archive one table needs, so that it can be restored alone into an empty database."""

from collections.abc import Iterable, Mapping

from recoup.model.structs import Struct
from recoup.sources.postgres._archive import Contents, Entry

_ALWAYS = {"ENCODING", "STDSTRINGS", "SEARCHPATH"}
_WITH_ROWS = {"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"}
_FOLLOWERS = {
    "ACL",
    "CHECK CONSTRAINT",
    "COMMENT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "POLICY",
    "ROW SECURITY",
    "RULE",
    "SECURITY LABEL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS",
    "TABLE ATTACH",
    "TABLE DATA",
    "TRIGGER",
}
"""What belongs to something else: it comes along with it, if all that it needs comes along."""


class Choice(Struct):
    """The part of an archive that some tables need.

    Attributes:
        entries: in the archive's order.
        left_out: what belongs to the tables and needs another one: foreign keys to tables that are not there, for example.
    """

    entries: tuple[Entry, ...]
    left_out: tuple[Entry, ...]


def alone(contents: Contents, tables: Iterable[tuple[str, str]]) -> Choice:
    """What the tables (schema and name) need: themselves, what they are made of, and what belongs to them."""
    wanted = set(tables)
    by_id = {entry.id: entry for entry in contents.entries}
    kept = {entry.id for entry in contents.entries if entry.description in _ALWAYS}
    for entry in contents.entries:
        if entry.description == "TABLE" and (entry.schema, entry.tag) in wanted:
            kept |= _needs(entry.id, by_id)
    left = _follow(kept, by_id)
    if any(by_id[one].description == "FUNCTION" for one in kept):  # what its body uses, nobody can tell
        for entry in contents.entries:
            if entry.description == "SEQUENCE" and not _of_tables(entry, by_id):
                kept |= _needs(entry.id, by_id)
        left = _follow(kept, by_id)
    entries = tuple(entry for entry in contents.entries if entry.id in kept)
    own = tuple(entry for entry in contents.entries if entry.id in left and _belongs(entry, wanted))
    return Choice(entries, own)


def _belongs(entry: Entry, tables: set[tuple[str, str]]) -> bool:
    """Whether it is a constraint, trigger, rule or policy of one of the tables: their tags are the table's name and their own."""
    return any(entry.schema == schema and entry.tag.startswith(f"{name} ") for schema, name in tables)


def _of_tables(entry: Entry, by_id: Mapping[int, Entry]) -> bool:
    """Whether it depends on a table, as sequences do that belong to a column."""
    return any(by_id[one].description == "TABLE" for one in entry.depends if one in by_id)


def _follow(kept: set[int], by_id: Mapping[int, Entry]) -> set[int]:
    """Adds what belongs to the kept ones, until nothing more does; returns what had to stay behind."""
    left: set[int] = set()
    waiting = [entry for entry in by_id.values() if entry.description in _FOLLOWERS and entry.id not in kept]
    while True:
        found = [entry for entry in waiting if not kept.isdisjoint(entry.depends)]
        before = len(kept)
        for entry in found:
            needs = _needs(entry.id, by_id)
            if entry.description == "SEQUENCE" and not _of_tables(entry, by_id):
                continue  # one that stands in the same schema, and no more
            if any(by_id[one].description in _WITH_ROWS for one in needs - kept):
                left.add(entry.id)
            else:
                kept |= needs
        waiting = [entry for entry in waiting if entry.id not in kept]
        if len(kept) == before:
            return left - kept


def _needs(number: int, by_id: Mapping[int, Entry]) -> set[int]:
    """An entry and all that has to be there before it."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        one = waiting.pop()
        if one in by_id and one not in found:
            found.add(one)
            waiting += by_id[one].depends
    return found
