"""Whether a restored database shows what the frozen one showed."""

from collections import Counter
from collections.abc import Collection, Mapping

from recoup.errors import RestoreError
from recoup.model.facts import Facts, compare
from recoup.model.names import shown
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._facts import describe, steady
from recoup.sources.postgres._options import Digest
from recoup.sources.postgres._relations import relations, tables_in
from recoup.sources.postgres._restore_server import listed


def facts_of(address: Address, like: Facts, digest: Digest, only: Collection[str] | None = None) -> Facts:
    """What a database shows, asked the same questions.

    Args:
        address: of the database.
        like: the facts to compare with: they tell the seed, and how many neighbours were asked for.
        digest: how much of the content they digest.
        only: tables, as `SCHEMA.NAME`; all by default.
    """
    with address.connected() as connection, steady(connection):
        return describe(connection, digest, probes_in(like), like.seed or 0, only=only)


def probes_in(facts: Facts) -> int:
    """How many rows of each vector column were asked for their neighbours, at most."""
    return max(Counter((one.collection, one.vector) for one in facts.probes).values(), default=0)


def require_equal(expected: Facts, found: Facts, what: str) -> None:
    """Demands that facts agree.

    Args:
        expected: of the frozen database.
        found: of the restored one.
        what: was restored, for the message.

    Raises:
        RestoreError: they differ.
    """
    if not expected.values:
        raise RestoreError(f"{what}: the set has no facts, so nothing proves that it came back whole")
    lines = [line for line in compare(expected, found) if not line.equal]
    if lines:
        texts = [f"{shown(line.subject)}: {line.name}: expected {line.expected}, found {line.found}" for line in lines]
        raise RestoreError(
            f"{what} is not what was backed up: {listed(texts)}",
            "Nothing was put in its place. Does the server run other triggers, or an event trigger?",
        )


def of_tables(facts: Facts, tables: Collection[str]) -> Facts:
    """Those facts that are about some tables, as `SCHEMA.NAME`."""
    columns = tuple(f"vectors {name}." for name in tables)
    wanted = {f"table {name}" for name in tables}
    values = {
        subject: of
        for subject, of in facts.values.items()
        if subject in wanted or subject.startswith(columns or ("\0",))
    }
    probes = tuple(one for one in facts.probes if one.collection in tables)
    return Facts(values, probes, facts.seed if probes else None)


def require_rows(address: Address, counted: Mapping[str, int], what: str) -> None:
    """Demands that each table has as many rows as a dump has for it.

    Args:
        address: of the restored database.
        counted: `SCHEMA.NAME` to rows.
        what: was restored, for the message.

    Raises:
        RestoreError: another number came in.
    """
    from psycopg import sql

    with address.connected() as connection:
        found = {
            one.shown: connection.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(one.identifier)).fetchall()[0][
                0
            ]
            for one in tables_in(relations(connection))
            if one.shown in counted
        }
    wrong = [
        f"{shown(name)}: {found.get(name, 'no')} rows, where the dump has {rows}"
        for name, rows in counted.items()
        if found.get(name) != rows
    ]
    if wrong:
        raise RestoreError(f"{what} did not come back whole: {listed(wrong)}")
