"""PostgreSQL: a database dumped at one moment with the facts that it showed then, and put back beside what is there.

The plug of kind `postgres` is `server.py`. The dumps are those of `pg_dump`: PostgreSQL's own programs read them without Recoup.
"""

from typing import Any

_OF_THE_PLUG = ("connect", "drilled")


def __getattr__(name: str) -> Any:
    """What makes this package a plug; loaded when it is asked for, because children import the package for other things."""
    if name == "examine":
        from recoup.sources.postgres._examining import examine

        return examine
    if name == "look_into":
        from recoup.sources.postgres._bare import look_into

        return look_into
    if name == "Options":
        from recoup.sources.postgres._options import Options

        return Options
    if name in ("RestoreOptions", "DrillOptions"):
        from recoup.sources.postgres import _restore_options

        return getattr(_restore_options, name)
    if name in _OF_THE_PLUG:
        from recoup.sources.postgres import server

        return getattr(server, name)
    raise AttributeError(name)
