"""Claims: who writes which set, on storages where a set is written under its final name (`docs/format.md`).

A claim is a lease. Its holder puts it again every five minutes, and gives the set up by itself when it could not for half of the
time after which others may clean up: a machine that slept for a week never completes what somebody else has removed.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from recoup.model.names import SetName
from recoup.repository import locking
from recoup.repository.plain import layout
from recoup.storage._base import Storage
from recoup.system.clock import Clock
from recoup.system.host import this_owner

VERSION = 1
SILENT = timedelta(days=1)
"""After it a silent writer is given up; stores remove unfinished uploads after about as long."""

_NAMING = 30.0  # seconds to wait for another one that claims a name
_SUFFIX = ".json"


def key_of(name: SetName) -> str:
    """The key of a set's claim."""
    return f"{layout.PARTIAL}/{name}{_SUFFIX}"


def claimed(storage: Storage) -> set[SetName]:
    """The sets that somebody writes, or wrote when killed."""
    return {name for found in storage.list(layout.PARTIAL) if (name := _name_in(found.key))}


def _name_in(key: str) -> SetName | None:
    text = key.removeprefix(f"{layout.PARTIAL}/")
    return SetName.parse(text.removesuffix(_SUFFIX)) if text.endswith(_SUFFIX) else None


class Lease:
    """A claim that this process holds.

    Args:
        storage: where.
        name: of the set.
        clock: time.
    """

    def __init__(self, storage: Storage, name: SetName, clock: Clock) -> None:
        self._storage, self._clock, self.name = storage, clock, name
        self.token = secrets.token_hex(16)
        self._owner = asdict(this_owner(clock.now()))
        self._since = self._put_last = clock.now()

    def take(self) -> bool:
        """Claims the name; False when somebody has it."""
        with contextlib.ExitStack() as held:
            if not self._storage.properties.put_if_absent:
                lock = locking.held(self._storage, self._clock, "claim", "claim", "", _NAMING)
                held.enter_context(lock)
            try:
                self._storage.put(key_of(self.name), self._record(self._since), if_absent=True)
            except FileExistsError:
                return self._is_own()  # the answer to the first try may have been lost
        return True

    def _record(self, now: datetime) -> bytes:
        since, refreshed = self._since.isoformat(), now.isoformat()
        fields = {"version": VERSION, "token": self.token, **self._owner, "since": since, "refreshed": refreshed}
        return (json.dumps(fields) + "\n").encode()

    def refresh(self) -> None:
        """Says that its holder lives, unless that comes too late."""
        now = self._clock.now()
        if now - self._put_last < SILENT / 2:
            self._storage.put(key_of(self.name), self._record(now))
            self._put_last = now  # the time before the put: the claim may have arrived later, never earlier

    def is_held(self) -> bool:
        """Whether the set may still be completed."""
        return self._clock.now() - self._put_last < SILENT / 2 and self._is_own()

    def _is_own(self) -> bool:
        return is_claimed_by(self._storage, self.name, self.token)

    def others_may_have_it(self) -> bool:
        """Whether the name was claimed anew by somebody, so that what lies there is not ours to remove."""
        try:
            return bool(json.loads(self._storage.get(key_of(self.name)))["token"] != self.token)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False

    def end(self) -> None:
        """Gives the claim up."""
        self._storage.delete(key_of(self.name))


def is_claimed_by(storage: Storage, name: SetName, token: str) -> bool:
    """Whether the claim to a set is still the one that has this token, and nobody is cleaning up."""
    try:
        fields = json.loads(storage.get(key_of(name)))
        return bool(fields["token"] == token and "removing" not in fields)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def abandoned(storage: Storage, now: datetime) -> Iterator[SetName]:
    """The sets whose writers are gone; each is seized before it is told, so that its writer can no longer complete it."""
    for found in list(storage.list(layout.PARTIAL)):
        name = _name_in(found.key)
        if name is None:
            continue
        with contextlib.suppress(FileNotFoundError):
            fields = _fields(storage.get(found.key))
            if _is_gone(fields, found.modified, now, here=locking.is_here(storage)):
                storage.put(found.key, (json.dumps({**fields, "removing": True}) + "\n").encode())
                yield name


def unclaimed_takers(storage: Storage) -> set[str]:
    """What machines left that took a path when the set was already given up: prefixes."""
    keys = {found.key for found in storage.list(layout.PARTIAL)}
    names = {name for key in keys if (name := _taken_in(key))}
    return {layout.takers_prefix(name) for name in names if key_of(name) not in keys}


def _taken_in(key: str) -> SetName | None:
    folder, ending, _ = key.removeprefix(f"{layout.PARTIAL}/").partition(".takers/")
    return SetName.parse(folder) if ending else None


def _fields(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(data)
        if isinstance(found, dict):
            return found
    return {}


def _is_gone(fields: dict[str, Any], modified: datetime, now: datetime, *, here: bool) -> bool:
    """One that cannot be read is judged by when it was stored."""
    try:
        owner, refreshed = locking.owner_of(fields)
    except (ValueError, KeyError, TypeError):
        return now - modified > SILENT
    return "removing" in fields or locking.is_gone(owner, now - refreshed, SILENT, here=here)
