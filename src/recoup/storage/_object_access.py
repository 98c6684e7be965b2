"""The first look at an object store: is the bucket there, and may these keys do what a run needs? Asked before anything is done.

An object of a few bytes is stored, read, listed and deleted.
"""

import secrets
from collections.abc import Callable

from recoup.errors import RightError, StorageError
from recoup.storage._base import Storage
from recoup.storage._object_faults import Place


def check(storage: Storage, folder: str, place: Place, look: Callable[[], None], *, conditions: bool) -> None:
    """Tries what a run needs; leaves nothing behind.

    Args:
        storage: what is tried.
        folder: where.
        place: for messages.
        look: looks at the bucket itself.
        conditions: whether the store is believed to keep `If-None-Match`, which is tried too then.

    Raises:
        RightError: rights are missing; the message names each.
        StorageError: the bucket is missing, nobody answers, the keys are wrong, the store overwrites what it must not.
    """
    key = _probe(folder)
    missing: list[str] = []

    def tried(act: Callable[[], object]) -> bool:
        try:
            act()
        except RightError as error:
            if error.right not in missing:
                missing.append(error.right)
            return False
        except FileNotFoundError:  # where nothing could be stored
            return True
        return True

    tried(look)
    stored = tried(lambda: storage.put(key, b"probe", if_absent=True))
    try:
        if stored and conditions:
            _demand_condition(storage, place, key)
        tried(lambda: storage.get(key))
        tried(lambda: list(storage.list(folder)))
    finally:
        tried(lambda: storage.delete(key))
    if missing:
        raise RightError(
            f"{place.where}: these keys lack the right{'s' if missing[1:] else ''} {', '.join(missing)}",
            "Grant what is missing; nothing was changed.",
        )


def check_rest(storage: Storage, folder: str, stored: str, place: Place, *, conditions: bool) -> None:
    """Tries what is left when an object was stored and others were read: that it is not overwritten, and the right to delete.

    Args:
        storage: what is tried.
        folder: where.
        stored: key of the object.
        place: for messages.
        conditions: as of `check`.

    Raises:
        RightError, StorageError: as `check`.
    """
    if conditions:
        _demand_condition(storage, place, stored)
    storage.delete(_probe(folder))  # nothing is there: the right is asked for first


def _probe(folder: str) -> str:
    return f"{folder}/{secrets.token_hex(8)}.probe"


def _demand_condition(storage: Storage, place: Place, key: str) -> None:
    try:
        storage.put(key, b"another", if_absent=True)
    except FileExistsError:
        return
    raise StorageError(
        f"{place.where} overwrites an object that was to be stored only if absent: the store ignores `If-None-Match`",
        "Set `conditional_put: false` under `storage:`.",
    )
