"""Which entries of a table of contents bring some tables back, with all that belongs to them."""

from collections.abc import Iterator, Sequence

from recoup.errors import RestoreError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.postgres._archive import Contents, Entry
from recoup.sources.postgres._choosing import alone
from recoup.sources.postgres._restore_server import listed

_OWN = {"ENCODING", "STDSTRINGS", "SEARCHPATH"}
_ABOUT = {"ACL", "COMMENT", "SECURITY LABEL", "SEQUENCE OWNED BY", "SEQUENCE SET"}
_OF_TABLES = {
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "POLICY",
    "ROW SECURITY",
    "RULE",
    "STATISTICS",
    "TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TRIGGER",
}


class Chosen(Struct):
    """Part of an archive.

    Attributes:
        tables: schema and name of each, partitions included.
        entries: what makes them and what they need, in the archive's order.
        left_out: what belongs to them and needs another table: foreign keys to it, above all.
    """

    tables: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]
    left_out: tuple[Entry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The tables as `SCHEMA.NAME`."""
        return tuple(f"{schema}.{name}" for schema, name in self.tables)

    @property
    def statements(self) -> Iterator[Entry]:
        """Entries to carry out, in order; settings of the connection are none."""
        return (entry for entry in self.entries if entry.description not in _OWN)


def for_tables(contents: Contents, names: Sequence[str]) -> Chosen:
    """Chooses the tables of these names, `NAME` or `SCHEMA.NAME`.

    Raises:
        RestoreError: some are not in the archive, or are the name of several.
    """
    tables = [entry for entry in contents.entries if entry.description == "TABLE"]
    wanted = _with_partitions([_one(tables, name) for name in names], contents)
    pairs = tuple(dict.fromkeys((entry.schema, entry.tag) for entry in wanted))
    choice = alone(contents, pairs)
    return Chosen(pairs, choice.entries, choice.left_out)


def _one(tables: Sequence[Entry], name: str) -> Entry:
    whole = [entry for entry in tables if f"{entry.schema}.{entry.tag}" == name]
    found = whole or [entry for entry in tables if entry.tag == name]
    if len(found) == 1:
        return found[0]
    if found:
        schemas = ", ".join(shown(entry.schema) for entry in found)
        raise RestoreError(f"several schemas have a table {shown(name)}: {schemas}", "Name it as SCHEMA.NAME.")
    there = listed([shown(f"{entry.schema}.{entry.tag}") for entry in tables], 20) or "none"
    raise RestoreError(f"there is no table {shown(name)} in the dump", f"It has: {there}.")


def _with_partitions(wanted: Sequence[Entry], contents: Contents) -> list[Entry]:
    tables = {entry.id: entry for entry in contents.entries if entry.description == "TABLE"}
    attaches = [
        [tables[one] for one in entry.depends if one in tables]
        for entry in contents.entries
        if entry.description == "TABLE ATTACH"
    ]
    kept = {entry.id: entry for entry in wanted}
    while True:
        known = set(kept)
        for (
            attached
        ) in attaches:  # a partition and its parent; a partition needs its parent only where that comes back too
            if any(_is_parent(one, attached) and one.id in kept for one in attached):
                kept.update({one.id: one for one in attached})
        if set(kept) == known:
            return list(kept.values())


def _is_parent(one: Entry, attached: Sequence[Entry]) -> bool:
    return "PARTITION BY" in one.definition and len(attached) == 2


def is_of_tables(entry: Entry) -> bool:
    """Whether it is part of a table; else it is something that tables need, and may be there already."""
    return entry.description in _OF_TABLES


def is_about(entry: Entry, others: set[int]) -> bool:
    """Whether it only says something about one of the other entries."""
    return entry.description in _ABOUT and not others.isdisjoint(entry.depends)
