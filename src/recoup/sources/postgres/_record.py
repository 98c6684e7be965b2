"""The two parts of a set that are ours: `database.json`, which comes first and says what the dumps are of, and `facts.json`,
which comes last and says what they have to show. `docs/format.md` describes both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Any

from recoup.errors import DamagedError, RefusedError
from recoup.model.facts import Facts, Probe
from recoup.model.names import checked_relative, shown
from recoup.model.part import StreamPart
from recoup.model.structs import Struct
from recoup.sources.postgres._options import Format

RECORD, FACTS, GLOBALS, TABLES = "database.json", "facts.json", "globals.sql", "tables"
"""Names of parts; the last one is the folder of the tables' own dumps."""

VERSION = 1

_LARGEST = 256 * 1024 * 1024  # bytes


class TableDump(Struct):
    """A table that has a dump of its own.

    Attributes:
        schema: its schema.
        name: its name.
        part: the part with the dump.
    """

    schema: str
    name: str
    part: str


class Extension(Struct):
    """An extension of the database.

    Attributes:
        name: e.g. `vector`.
        version: as installed there.
        schema: where its objects are.
    """

    name: str
    version: str
    schema: str


class DatabaseRecord(Struct):
    """What the dumps of a set are of, as it was in the frozen moment.

    Attributes:
        name: the database's name.
        server: the server's version, e.g. `18.1`.
        program: version of the `pg_dump`.
        dump: the part with the whole dump (a folder in format `directory`).
        dump_format: `custom`, `directory` or `plain`.
        encoding: e.g. `UTF8`.
        provider: of collations: `libc`, `icu` or `builtin`.
        collate, ctype: locales.
        locale: of the provider, where it is not libc; else empty.
        collation_version: as the provider said when the database was made; empty where it says none.
        owner: role that owns the database.
        comment: on the database.
        settings: `NAME=value` of ALTER DATABASE SET, for all roles.
        acl: rights on the database as `aclitem` texts; None where they are the default.
        bytes: size of the database on its server.
        extensions: all of them.
        roles: names of all roles that own something or have rights on something, sorted; without those of the system.
        tables: dumps of single tables.
        globals: whether there is a part with the server's roles and tablespaces.
        digest: how much of the content the facts digest: `all`, `sample` or `none`.
        sizes: bytes of each table with its indexes, by `SCHEMA.NAME`.
    """

    name: str
    server: str
    program: str
    dump: str
    dump_format: Format
    encoding: str
    provider: str
    collate: str
    ctype: str
    locale: str
    collation_version: str
    owner: str
    comment: str
    settings: tuple[str, ...]
    acl: tuple[str, ...] | None
    bytes: int
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]
    tables: tuple[TableDump, ...] = ()
    globals: bool = False
    digest: str = "all"
    sizes: Mapping[str, int] = field(default_factory=dict)


class FactsRecord(Struct):
    """What the dumps of a set have to show.

    Attributes:
        facts: as in the manifest.
        left_out: part of a table's dump to what belongs to the table and is not in it, because it needs another table.
    """

    facts: Facts
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def encode(record: DatabaseRecord) -> bytes:
    """As `database.json`."""
    return _json("recoup-postgres-database", asdict(record))


def encode_facts(record: FactsRecord) -> bytes:
    """As `facts.json`."""
    facts = record.facts
    fields = {
        "values": {subject: dict(values) for subject, values in facts.values.items()},
        "probes": [asdict(probe) for probe in facts.probes],
        "seed": facts.seed,
        "left_out": record.left_out,
    }
    return _json("recoup-postgres-facts", fields)


def _json(name: str, fields: Mapping[str, Any]) -> bytes:
    whole = {"format": name, "version": VERSION, **fields}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode("utf-8", "surrogateescape") + b"\n"


def read_record(part: StreamPart) -> DatabaseRecord:
    """Reads `database.json`.

    Raises:
        DamagedError: it is none.
        RefusedError: it is of a version that is not known.
    """
    fields = _fields(part, "recoup-postgres-database")
    try:
        record = DatabaseRecord(
            **{
                **fields,
                "settings": tuple(map(str, fields["settings"])),
                "acl": None if fields["acl"] is None else tuple(map(str, fields["acl"])),
                "extensions": tuple(Extension(**one) for one in fields["extensions"]),
                "roles": tuple(map(str, fields["roles"])),
                "tables": tuple(TableDump(**one) for one in fields["tables"]),
            }
        )
        for name in (record.dump, *(table.part for table in record.tables)):
            checked_relative(name)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(part) from None
    return record


def read_facts(part: StreamPart) -> FactsRecord:
    """Reads `facts.json`.

    Raises:
        DamagedError: it is none.
        RefusedError: it is of a version that is not known.
    """
    fields = _fields(part, "recoup-postgres-facts")
    try:
        probes = tuple(Probe(**{**one, "neighbours": tuple(map(str, one["neighbours"]))}) for one in fields["probes"])
        values = {str(subject): dict(of) for subject, of in fields["values"].items()}
        left_out = {str(name): tuple(map(str, of)) for name, of in fields["left_out"].items()}
        return FactsRecord(Facts(values, probes, fields["seed"]), left_out)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(part) from None


def _fields(part: StreamPart, name: str) -> dict[str, Any]:
    with part.content.open() as reader:
        blocks, size = [], 0
        while data := reader.read(1 << 20):
            blocks.append(data)
            size += len(data)
            if size > _LARGEST:
                raise _damaged(part)
    try:
        fields = json.loads(b"".join(blocks))
        found, version = fields.pop("format"), fields.pop("version")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise _damaged(part) from None
    if found != name:
        raise _damaged(part)
    if version != VERSION:
        raise RefusedError(
            f"{shown(part.name)} is of version {version!r}; this Recoup reads version {VERSION}", "Update Recoup."
        )
    return dict(fields)


def _damaged(part: StreamPart) -> DamagedError:
    return DamagedError(f"{shown(part.name)} is not what a capture of PostgreSQL writes there")
