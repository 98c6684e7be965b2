"""What a dump that any tool took holds, before anybody trusts it: read to its end."""

from pathlib import Path

from recoup.sources.postgres._restore_file import look


def look_into(path: Path, staging: Path) -> str:  # noqa: ARG001 - other kinds have to unpack
    """Reads a dump to its end.

    Args:
        path: the file.
        staging: not used here.

    Returns:
        What it holds, in a few words.

    Raises:
        DamagedError: it ends in the middle, or is damaged.
        UsageError: it is no dump.
        RefusedError: it is SQL text that leads out of its database.
    """
    dump = look(path)
    if dump.kind == "plain":
        end = "whole" if dump.whole else "which does not say where it ends: it may be cut off"
        return f"SQL text, {end}; its rows are counted by nobody"
    rows = dump.rows
    return f"{sum(rows.values()):,} rows in {len(rows):,} table{'' if len(rows) == 1 else 's'}"
