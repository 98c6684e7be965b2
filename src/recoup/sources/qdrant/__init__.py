"""Qdrant: capturing the collections of a server, opening their snapshots without one, and putting them back without downtime.

The plug of kind `qdrant` is `server.py`; `edge.py` opens snapshots. To add another kind of source: copy `sources/files.py`.
"""

from typing import Any

_OF_THE_PLUG = ("DrillOptions", "Options", "RestoreOptions", "connect")


def __getattr__(name: str) -> Any:
    """What makes this package a plug; loaded when it is asked for, because children import the package for other things."""
    if name == "examine":
        from recoup.sources.qdrant._examining import examine

        return examine
    if name == "look_into":
        from recoup.sources.qdrant._bare import look_into

        return look_into
    if name == "drilled":
        from recoup.sources.qdrant._drilling import drilled

        return drilled
    if name in _OF_THE_PLUG:
        from recoup.sources.qdrant import server

        return getattr(server, name)
    raise AttributeError(name)
