"""Artefacts: files of a keyed repository that hold a collection, table, database or folder by themselves."""

from datetime import datetime

from recoup.model.structs import Struct


class Artefact(Struct):
    """One file.

    Attributes:
        repository: name of the repository that it lies in.
        location: where, for people, without secrets: the repository's place and the key.
        key: its key, from the repository's place.
        part: the collection, table, database or folder, as file names spell it.
        time: when it was made, by its key (UTC).
        bytes: what it takes there.
    """

    repository: str
    location: str
    key: str
    part: str
    time: datetime
    bytes: int
