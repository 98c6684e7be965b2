"""The entries of an archive carried out one by one on a connection: definitions as they are, rows from another database."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import Error, errors, sql

from recoup.errors import RestoreError
from recoup.model.names import shown
from recoup.sources.postgres._archive import Entry
from recoup.sources.postgres._contents import is_about, is_of_tables

if TYPE_CHECKING:
    import psycopg

_THERE = (
    errors.DuplicateObject,
    errors.DuplicateSchema,
    errors.DuplicateFunction,
    errors.DuplicateTable,
)
_NAMED = {"TABLE", "SEQUENCE", "TYPE", "DOMAIN", "COLLATION"}
_CALLED = {"FUNCTION", "PROCEDURE", "AGGREGATE"}
_HAS_EXTENSION = "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = %s"


@dataclass
class Carrier:
    """Brings entries over, in order.

    Attributes:
        source: the database that has the rows.
        target: the one that gets them; in a transaction.
    """

    source: "psycopg.Connection[tuple[Any, ...]]"
    target: "psycopg.Connection[tuple[Any, ...]]"
    _there: set[int] = field(default_factory=set)

    def carry(self, entry: Entry) -> None:
        """Carries one out; what tables need and is there already stays as it is.

        Raises:
            RestoreError: the server refuses it: the conflict is named.
        """
        if is_about(entry, self._there):
            return
        if entry.description == "TABLE DATA":
            self._copy(entry)
        elif is_of_tables(entry):
            self.run(entry.shown, sql.SQL(""), entry.definition)
            self._own(entry)
        elif not self._is_there(entry):
            self._own(entry)

    def run(self, what: str, command: sql.Composable, text: str) -> None:
        """Carries out a statement: a beginning that was made here, and text as PostgreSQL wrote it.

        Raises:
            RestoreError: the server refuses it.
        """
        try:
            self.target.execute(command.as_bytes(self.target) + _bytes(text))
        except Error as error:
            raise _conflict(what, error) from None

    def _is_there(self, entry: Entry) -> bool:
        """Makes something that tables need, unless it is there."""
        if entry.description == "EXTENSION" and self.target.execute(_HAS_EXTENSION, [entry.tag]).fetchone():
            self._there.add(entry.id)
            return True
        try:
            with self.target.transaction():
                self.target.execute(_bytes(entry.definition))
        except _THERE:
            self._there.add(entry.id)
            return True
        except Error as error:
            raise _conflict(entry.shown, error) from None
        return False

    def _own(self, entry: Entry) -> None:
        """Gives what was just made its owner, as `pg_restore` does."""
        name = _name(entry)
        if not entry.owner or name is None:
            return
        command = sql.SQL("ALTER {} {} OWNER TO {}").format(
            sql.SQL(entry.description), name, sql.Identifier(entry.owner)
        )
        self.run(f"the owner of {entry.shown}", command, "")

    def _copy(self, entry: Entry) -> None:
        name = sql.Identifier(entry.schema, entry.tag)
        try:
            with (
                self.source.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(name)) as rows,
                self.target.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(name)) as table,
            ):
                for data in rows:
                    table.write(data)
        except Error as error:
            raise _conflict(entry.shown, error) from None


def _name(entry: Entry) -> sql.Composable | None:
    """How ALTER ... OWNER names it; None for what has no owner of its own."""
    if entry.description in _NAMED:
        return sql.Identifier(entry.schema, entry.tag)
    if entry.description == "SCHEMA":
        return sql.Identifier(entry.tag)
    if entry.description in _CALLED:
        name, _, arguments = entry.tag.partition("(")
        return sql.SQL("{}({}").format(sql.Identifier(entry.schema, name), sql.SQL(arguments))
    return None


def _bytes(text: str) -> bytes:
    """As it stood in the archive, whatever its encoding."""
    return text.encode("utf-8", "surrogateescape")


def _conflict(what: str, error: Error) -> RestoreError:
    diagnosis = error.diag
    said = diagnosis.message_primary or " ".join(str(error).split())
    detail = f" ({diagnosis.message_detail})" if diagnosis.message_detail else ""
    return RestoreError(
        f"{shown(what)} cannot be put into the database: {shown(said + detail)}", diagnosis.message_hint or ""
    )
