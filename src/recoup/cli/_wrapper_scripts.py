"""The scripts of `recoup wrappers`: a team's own names for calls of Recoup, in POSIX sh.

Each becomes the call (`exec`), so that signals reach Recoup and its exit code reaches who called the script.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from recoup.errors import ConfigError
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from recoup.config.loading import Loaded

_FILE_OR_SET = """\
case ${{1-}} in
    */* | *.*) exec {recoup} {kind} restore "$@" ;; # a file: no set has such a name
esac
exec {recoup} restore --in-place --source {sources} "$@"
"""

_TABLES = """\
tables=
while [ $# -gt 0 ]; do
    case $1 in
        -*) break ;;
        *) tables="$tables${{tables:+, }}$1"; shift ;;
    esac
done
if [ -n "$tables" ]; then
    exec {recoup} {set} backup --source {sources} "$@"
fi
exec {recoup} backup --source {sources} "$@"
"""


class Script(Struct):
    """A script before it is written for a configuration.

    Attributes:
        says: what it does, for who reads it.
        body: its lines; `{recoup}`, `{sources}`, `{kind}` and `{set}` stand for what the configuration makes of them.
        kind: of the sources that it works on; empty for all.
    """

    says: str
    body: str
    kind: str = ""


_BACKUP = 'exec {recoup} backup --source {sources} "$@"\n'
_RESTORE = 'exec {recoup} restore --in-place --source {sources} "$@"\n'

SCRIPTS: Mapping[str, Mapping[str, Script]] = {
    "citadel": {
        "backup_collections.sh": Script(
            "Backs up every collection that the server has now, and whatever else is configured.\n"
            "[options of `recoup backup`, as --dry-run]",
            'exec {recoup} backup "$@"\n',
        ),
        "restore_collections.sh": Script(
            "Restores collections beside what is there, compares them with the record, and switches.\n"
            "[SET] [--dry-run] [--collections A,B] [options of `recoup restore`]",
            _RESTORE,
            "qdrant",
        ),
    },
    "selfrag": {
        "postgres_backup.sh": Script(
            "Backs up the database, and each configured table.\n[options of `recoup backup`]", _BACKUP, "postgres"
        ),
        "postgres_table_backup.sh": Script(
            "Backs up the database with a dump of its own for each table that is named, else for each that is configured.\n"
            "[TABLE...] [options of `recoup backup`]",
            _TABLES,
            "postgres",
        ),
        "postgres_restore.sh": Script(
            "Restores the database, or one table of it, from a set; or a dump that was taken by hand.\n"
            "[SET] [--tables A,B] [options of `recoup restore`], or: FILE --target URL",
            _FILE_OR_SET,
            "postgres",
        ),
        "qdrant_backup.sh": Script(
            "Backs up the collections, by snapshots of the server.\n[options of `recoup backup`]", _BACKUP, "qdrant"
        ),
        "qdrant_full_backup.sh": Script(
            "Backs up the server's whole folder: stops it, reads, and starts it again whatever happens.\n"
            "[options of `recoup backup`]",
            _BACKUP,
            "directory",
        ),
        "qdrant_restore.sh": Script(
            "Restores collections from a set; or a .snapshot file.\n"
            "[SET] [--collections A,B] [options of `recoup restore`], or: FILE --target URL",
            _FILE_OR_SET,
            "qdrant",
        ),
        "qdrant_full_restore.sh": Script(
            "Restores the server's whole folder; the present one is kept beside it.\n[SET] [options of `recoup restore`]",
            _RESTORE,
            "directory",
        ),
        "backup_validation.sh": Script(
            "Reads what is stored and compares it with what was: exit code 4 says that something is damaged.\n"
            "[SET] [options of `recoup verify`]; `recoup drill` proves that it restores",
            'exec {recoup} verify "$@"\n',
        ),
        "backup_monitor.sh": Script(
            "Says how many copies of each database are recent, how old the newest ones are, and what is wrong; sends notices.\n"
            "[options of `recoup status`]",
            'exec {recoup} status --counts --notify "$@"\n',
        ),
    },
}
"""Whose scripts, by the names that `--for` knows."""


def rendered(team: str, loaded: "Loaded", command: Sequence[str]) -> dict[str, str]:
    """The scripts' texts, by name.

    Args:
        team: whose names.
        loaded: the configuration that they are for.
        command: how Recoup is called, with the options that every call has.

    Raises:
        ConfigError: the configuration lacks what one of them works on.
    """
    return {name: _text(name, script, loaded, command) for name, script in SCRIPTS[team].items()}


def _text(name: str, script: Script, loaded: "Loaded", command: Sequence[str]) -> str:
    sources = _sources(name, script.kind, loaded) if script.kind else []
    if "{set}" in script.body and not any(getattr(loaded.sources[source], "tables", ()) for source in sources):
        raise ConfigError(
            f"{name} backs up tables, and no source of kind {script.kind} has `tables`",
            "Name the tables in the configuration, as in `tables: [users, documents]`.",
        )
    recoup = shlex.join(command)
    chosen = " ".join(f'--set "sources.{source}.tables=[$tables]"' for source in sources)
    body = script.body.format(recoup=recoup, sources=",".join(sources), kind=script.kind, set=chosen)
    says = "".join(f"# {line}\n" for line in script.says.splitlines())
    return f"#!/bin/sh\n{says}set -eu\n{body}"


def _sources(name: str, kind: str, loaded: "Loaded") -> list[str]:
    found = [source for source, options in loaded.sources.items() if options.kind == kind]
    if not found:
        raise ConfigError(
            f"{name} works on sources of kind {kind}, and the configuration has none",
            "Add one, or write the scripts that you need.",
        )
    return found
