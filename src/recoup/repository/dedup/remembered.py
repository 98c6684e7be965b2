"""Small objects of a repository that never change: each is read from the storage once."""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from recoup.errors import DamagedError, RecoupError
from recoup.model.names import shown
from recoup.repository.dedup.cache import Cache
from recoup.storage._base import Storage

T = TypeVar("T")
"""What an object is, once it is decoded."""

LARGEST = 16 * 1024 * 1024
"""Bytes of such an object."""

_HINT = "Run `recoup verify`; what it said is not known to this run."


def remembered(
    storage: Storage, folder: str, name: "re.Pattern[str]", cache: Cache | None, problems: list[RecoupError]
) -> Iterator[tuple[str, bytes]]:
    """All objects of a folder, by name, in the order of names.

    Args:
        storage: where.
        folder: of the repository.
        name: what they are called; others are of somebody else.
        cache: keeps what was read; None keeps nothing.
        problems: hears of what cannot be read.
    """
    known = cache.read_objects(folder) if cache else {}
    sizes = {o.key.removeprefix(f"{folder}/"): o.size for o in storage.list(folder) if o.link is None}
    objects = {}
    for found in sorted(filter(name.fullmatch, sizes)):
        data = known.get(found)
        if data is None:
            data = _read(storage, f"{folder}/{found}", sizes[found], problems)
        if data is not None:
            objects[found] = data
    if cache is not None and objects.keys() != known.keys():
        cache.write_objects(folder, objects)
    yield from objects.items()


def _read(storage: Storage, key: str, size: int, problems: list[RecoupError]) -> bytes | None:
    if size > LARGEST:
        problems.append(DamagedError(f"{shown(key)} is longer than any such file", _HINT))
        return None
    try:
        return storage.get(key)
    except FileNotFoundError:
        return None  # removed since it was listed
    except OSError as error:
        problems.append(DamagedError(f"{shown(key)} cannot be read: {error.strerror or error}", _HINT))
        return None


def read_all(
    storage: Storage,
    folder: str,
    name: "re.Pattern[str]",
    decode: Callable[[bytes, str], T],
    cache: Cache | None,
    problems: list[RecoupError],
) -> list[T]:
    """All objects of a folder, decoded, in the order of their names.

    Args:
        storage: where.
        folder: of the repository.
        name: what they are called; others are of somebody else.
        decode: reads one from its bytes and its name; raises what is wrong with it.
        cache: keeps what was read; None keeps nothing.
        problems: hears of those that cannot be read.
    """
    found = []
    for called, data in remembered(storage, folder, name, cache, problems):
        try:
            found.append(decode(data, called))
        except RecoupError as error:
            problems.append(error)
    return found
