"""Locks as small objects, so that they work on every storage and between machines (`docs/format.md`, Locks)."""

import contextlib
import errno
import json
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, get_args

from recoup.errors import LockedError, ReadOnlyError, RecoupError, StorageError, forbids_writing
from recoup.model.owner import Owner
from recoup.repository._base import Lock, LockMode
from recoup.storage._base import Storage
from recoup.system.clock import Clock
from recoup.system.host import boot_id, is_dead, this_owner

PREFIX = ".locks"
_REFRESH = 300.0  # seconds; as restic
_SILENT = timedelta(minutes=30)  # as restic
_OTHER_BOOT = timedelta(minutes=15)  # three times the refreshing
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WRITING = ("backup", "exclusive")  # who first tries what it will need
_TIE_TRIES = 3  # two runs that began in the same instant see each other and both step back; one of them gets in then


def read_all(storage: Storage, now: datetime, but: str = "") -> list[Lock]:
    """All locks, those first that were taken first. One that cannot be read counts as held: nobody knows by whom.

    Args:
        storage: where.
        now: the present moment.
        but: key of one that is known already.
    """
    locks = []
    for found in list(storage.list(PREFIX)):
        if not found.key.endswith(".json") or found.link is not None or found.key == but:
            continue
        with contextlib.suppress(FileNotFoundError):
            locks.append(_decode(found.key, storage.get(found.key), found.modified, now, here=is_here(storage)))
    return sorted(locks, key=lambda lock: lock.since)


def _decode(key: str, data: bytes, modified: datetime, now: datetime, *, here: bool) -> Lock:
    name = key.removeprefix(PREFIX + "/").removesuffix(".json")
    try:
        fields = json.loads(data)
        owner, refreshed = owner_of(fields)
        mode: LockMode = fields["mode"] if fields["mode"] in get_args(LockMode) else "exclusive"
        stale = is_gone(owner, now - refreshed, _SILENT, here=here)
        verb, stack = str(fields["verb"]), str(fields["stack"])
        return Lock(name, mode, verb, stack, owner.host, owner.pid, owner.since, refreshed, stale)
    except (ValueError, KeyError, TypeError):
        return Lock(
            name, "exclusive", "unreadable lock", "", "unknown", 0, modified, modified, now - modified > _SILENT
        )


def is_here(storage: Storage) -> bool:
    """Whether a storage is a folder of this machine; others are shared with machines that may have the same name."""
    return storage.properties.local_root is not None


def owner_of(fields: Mapping[str, Any]) -> tuple[Owner, datetime]:
    """Who signed a lock or a claim, and when it was last put (UTC).

    Raises:
        ValueError, KeyError, TypeError: it is damaged.
    """
    owner = Owner(fields["host"], fields["boot"], int(fields["pid"]), fields["born"], _time(fields["since"]))
    return owner, _time(fields["refreshed"])


def is_gone(owner: Owner, silence: timedelta, longest: timedelta, *, here: bool) -> bool:
    """Whether nobody waits for an owner any more.

    Args:
        owner: who signed.
        silence: since it last said that it lives.
        longest: the silence that says enough by itself.
        here: see `is_here`.
    """
    if silence > longest:
        return True
    return is_dead(owner) and (here or owner.boot == boot_id() or silence > _OTHER_BOOT)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("no time zone")
    return time


def in_the_way(mode: LockMode, stack: str, other: Lock) -> bool:
    """Whether `other` forbids a lock of this mode."""
    if other.stale:
        return False
    if "claim" in (mode, other.mode):
        return mode == other.mode
    if "exclusive" in (mode, other.mode):
        return True
    return mode == other.mode == "backup" and stack == other.stack


@contextlib.contextmanager
def held(
    storage: Storage,
    clock: Clock,
    mode: LockMode,
    verb: str,
    stack: str,
    wait: float,
    look: Callable[[], Storage] | None = None,
) -> Iterator[None]:
    """Holds a lock and refreshes it meanwhile.

    Args:
        storage: where.
        clock: time.
        mode: see `LockMode`.
        verb: what for.
        stack: whose.
        wait: seconds to wait for one that is in the way.
        look: looks anew, once a lock was put, and gives what then has the listing of all others; None lists these alone.

    Raises:
        LockedError: another one is in the way, also after `wait` seconds.
        ReadOnlyError: who is to read may put no lock, and none is in the way.
        StorageError: who is to write may not, or the storage keeps no conditions; the message names all that is missing.
    """
    key, record = _take(storage, clock, mode, verb, stack, wait, look or (lambda: storage))
    try:
        with refreshed(lambda: _write(storage, key, {**record, "refreshed": clock.now().isoformat()})):
            yield
    finally:
        with contextlib.suppress(OSError, RecoupError):  # what was done is done; who ends leaves a stale lock at worst
            storage.delete(key)


@contextlib.contextmanager
def refreshed(put: Callable[[], None]) -> Iterator[None]:
    """Puts something again every five minutes. One that fails is tried again at the next time."""
    ended = threading.Event()

    def refresh() -> None:
        while not ended.wait(_REFRESH):
            with contextlib.suppress(OSError, RecoupError):
                put()

    thread = threading.Thread(target=refresh, daemon=True, name="lock refresh")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _take(
    storage: Storage, clock: Clock, mode: LockMode, verb: str, stack: str, wait: float, look: Callable[[], Storage]
) -> tuple[str, Mapping[str, object]]:
    """The key of a lock that nothing is in the way of, and what it says."""
    deadline = clock.monotonic() + wait
    pause = 0.5
    for attempt in range(1_000_000):
        refused: ReadOnlyError | None = None
        try:
            key, record = _announced(storage, clock, mode, verb, stack, tries=attempt == 0 and mode in _WRITING)
        except ReadOnlyError as error:
            key, record, refused = "", {}, error  # who reads learns that when nobody is in the way
        others = read_all(look(), clock.now(), but=key)
        blocking = [lock for lock in others if in_the_way(mode, stack, lock)]
        if not blocking:
            if refused is not None:
                raise refused
            _remove_stale(storage, others)
            return key, record
        if refused is None:
            storage.delete(key)
        if attempt < _TIE_TRIES and any(clock.now() - lock.since < timedelta(seconds=2) for lock in blocking):
            clock.sleep(random.uniform(0.01, 0.2))  # noqa: S311 - only to break ties
            continue
        left = deadline - clock.monotonic()
        if left <= 0:
            raise _locked(blocking[0], wait)
        clock.sleep(min(pause, left))
        pause = min(pause * 2, 30.0)
    raise AssertionError("a lock was waited for a million times")


def _announced(
    storage: Storage, clock: Clock, mode: LockMode, verb: str, stack: str, *, tries: bool
) -> tuple[str, Mapping[str, object]]:
    """Puts a lock; where it `tries`, whatever else a run needs that writes is tried by means of it."""
    if mode == "shared":
        try:
            return _announce(storage, clock, mode, verb, stack)
        except (OSError, RecoupError) as error:
            if forbids_writing(error):
                raise _read_only(error) from None
            raise
    if not tries:
        return _announce(storage, clock, mode, verb, stack)
    key = ""
    try:
        key, record = _announce(storage, clock, mode, verb, stack)
        storage.check_access(PREFIX, key)
    except StorageError:
        if key:
            with contextlib.suppress(OSError, RecoupError):
                storage.delete(key)
        storage.check_access(PREFIX)  # names all that is missing
        raise
    return key, record


def _announce(
    storage: Storage, clock: Clock, mode: LockMode, verb: str, stack: str
) -> tuple[str, Mapping[str, object]]:
    now = clock.now()
    since = now.isoformat()
    key = f"{PREFIX}/{secrets.token_hex(8)}.json"
    owner: Mapping[str, object] = asdict(this_owner(now))
    record = {"mode": mode, "verb": verb, "stack": stack, **owner, "since": since, "refreshed": since}
    try:
        _write(storage, key, record)
    except OSError as error:
        if mode != "exclusive" or error.errno not in _FULL:
            raise
        storage.put(key, b"")  # whoever makes room has to get in: a name needs none, and nobody can read who holds it
    return key, record


def _write(storage: Storage, key: str, fields: Mapping[str, object]) -> None:
    storage.put(key, json.dumps(fields).encode())


def _remove_stale(storage: Storage, locks: Sequence[Lock]) -> None:
    for lock in locks:
        if lock.stale:
            with contextlib.suppress(OSError, RecoupError):  # a stale one is in nobody's way
                storage.delete(f"{PREFIX}/{lock.id}.json")


def _read_only(error: BaseException) -> ReadOnlyError:
    why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return ReadOnlyError(
        f"the repository cannot be locked: {why[:1].lower()}{why[1:]}", "Check its mount and its rights."
    )


def _locked(lock: Lock, waited: float) -> LockedError:
    since = lock.since.isoformat(sep=" ", timespec="seconds")
    after = f" (waited {waited:g} s)" if waited else ""
    return LockedError(
        f"the repository is locked by `{lock.verb}` on {lock.host}, process {lock.pid}, since {since}{after}",
        "Wait for it, use --wait-lock 5m, or, if it is gone, `recoup unlock`.",
    )


def remove(storage: Storage, locks: Sequence[Lock]) -> None:
    """Removes locks."""
    for lock in locks:
        storage.delete(f"{PREFIX}/{lock.id}.json")
