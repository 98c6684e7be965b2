"""Qdrant: capturing the collections of a server, opening their snapshots without one, and putting them back without downtime.

The plug of kind `qdrant` is `server.py`; `edge.py` opens snapshots. To add another kind of source: copy `sources/files.py`.
"""
