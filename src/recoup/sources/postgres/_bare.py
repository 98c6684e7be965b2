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
    rows = look(path).rows
    return f"{sum(rows.values()):,} rows in {len(rows):,} table{'' if len(rows) == 1 else 's'}"
