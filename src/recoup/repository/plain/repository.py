"""The plain repository: `repository/_base.py` kept on any storage (`docs/format.md`)."""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from recoup.errors import NoRepositoryError, NoSuchSetError, RecoupError, RefusedError, StorageError, WrongKeyError
from recoup.model.manifest import Manifest, Sealed, StoredPart, decode
from recoup.model.marks import Mark
from recoup.model.names import SetName, shown
from recoup.model.part import Part
from recoup.model.sharing import Reclaim
from recoup.repository import locking
from recoup.repository._base import (
    JoinedWriter,
    KeyProof,
    Listed,
    Lock,
    LockMode,
    Overview,
    SetWriter,
    Sharing,
    Subset,
    Ticket,
    Verification,
    locked,
)
from recoup.repository.plain import layout
from recoup.repository.plain.catalog import Copies
from recoup.repository.plain.claiming import ClaimedSets
from recoup.repository.plain.folder import Style
from recoup.repository.plain.joining import JoinedSetWriter
from recoup.repository.plain.keys import SetKeys
from recoup.repository.plain.mending import PlainMending
from recoup.repository.plain.once import earlier_parts
from recoup.repository.plain.overview import Copied, OneByOne
from recoup.repository.plain.reading import member_lines, part_of
from recoup.repository.plain.renaming import RenamedSets
from recoup.repository.plain.sealed import decode_header, is_header, whole
from recoup.repository.plain.sets import Sets
from recoup.repository.plain.verifying import PlainVerification
from recoup.repository.plain.writing import PlainSetWriter
from recoup.repository.sealing._base import prove
from recoup.storage._base import Storage
from recoup.system.clock import Clock
from recoup.system.host import this_host

VERSION = 1
MOMENT = 10.0
"""Seconds that what was seen of a storage stands for what is there, when a verb begins."""

_CHANGED = (
    "A repository has one passphrase. Put the old one back; if it was changed on purpose, configure another repository for "
    "new sets, or use recipients, which can be changed at any time."
)
_MARK_TIME = "%Y%m%dT%H%M%S%f"


def _mark(data: bytes) -> Mark:
    try:
        fields = json.loads(data)
        time = datetime.fromisoformat(fields["time"]).astimezone(UTC)
        return Mark(fields["kind"], time, str(fields["host"]), dict(fields["fields"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        newest = datetime.max.replace(tzinfo=UTC)
        return Mark("pin", newest, "", {"reason": "one of its marks is damaged, and might be a pin"})


def _as_made(record: Mapping[str, object]) -> str:
    """What to do about a repository of another layout."""
    settings = " and ".join(f"`{key}: {shown(str(record[key]))}`" for key in ("layout", "key") if key in record)
    return f"It was made with {settings}: set that, or use the Recoup that made it."


class PlainRepository:
    """Sets as folders of a storage.

    Args:
        name: what the configuration calls it.
        storage: where.
        style: how new parts are stored; what is there is read whatever its style.
        clock: time.
    """

    LAYOUT: ClassVar[str] = "sets"
    """What `recoup-repository.json` calls it."""

    WRITER: ClassVar[type[PlainSetWriter]] = PlainSetWriter
    VERIFICATION: ClassVar[type[PlainVerification]] = PlainVerification

    def __init__(self, name: str, storage: Storage, style: Style, clock: Clock) -> None:
        self.name = name
        self._storage, self._style, self._clock = storage, style, clock
        self._sets: Sets = RenamedSets(storage) if storage.properties.moves else ClaimedSets(storage, clock)
        self._opened: dict[tuple[SetName, bytes, bool], Manifest] = {}
        self._last_keys: SetKeys | None = None
        self._checked_at: float | None = None
        self._known_marks: Copies = {}

    @property
    def location(self) -> str:
        """Where it is, for people."""
        return self._storage.location

    @property
    def shares(self) -> bool:
        """Whether the storage can let two sets have one copy of a file."""
        return self._storage.properties.shares

    @property
    def is_remote(self) -> bool:
        """Whether its bytes come over a network."""
        return self._storage.properties.local_root is None

    def create(self) -> None:
        """Makes an empty repository."""
        self._storage.check_access(locking.PREFIX)
        self._require_empty()
        self._put_record({**self._new_record(secrets.token_hex(16)), **self.shape()})

    def _require_empty(self, besides: str = "") -> None:
        """Demands a place with nothing in it, or with a repository, which is told later.

        Args:
            besides: a folder that an interrupted `create` may have left.
        """
        found = (
            stored.key for stored in self._storage.list() if not besides or not stored.key.startswith(f"{besides}/")
        )
        if next(found, None) is not None and not self._exists():
            raise RefusedError(
                f"{self.location} is not empty and not a Recoup repository",
                "Choose an empty place; Recoup does not mix its files with others.",
            )

    def _new_record(self, identity: str) -> dict[str, object]:
        return {
            "format": "recoup-repository",
            "version": VERSION,
            "id": identity,
            "created": self._clock.now().isoformat(),
            "layout": self.LAYOUT,
        }

    def _put_record(self, record: Mapping[str, object]) -> None:
        try:
            self._storage.put(layout.REPOSITORY, (json.dumps(record, indent=1) + "\n").encode(), if_absent=True)
        except FileExistsError:
            raise RefusedError(f"{self.location} is a repository already", "Nothing was changed.") from None

    def shape(self) -> Mapping[str, str]:
        """What other layouts add to `recoup-repository.json`."""
        return {}

    def _exists(self) -> bool:
        try:
            self._storage.size(layout.REPOSITORY)
        except FileNotFoundError:
            return False
        return True

    def _stored_record(self) -> bytes:
        try:
            return self._storage.get(layout.REPOSITORY)
        except FileNotFoundError:
            raise NoRepositoryError(
                f"there is no repository {self.name!r} at {self.location}",
                "Create it with `recoup init`, or check the path and whether its disk is mounted.",
            ) from None
        except OSError as error:
            raise RecoupError(f"the repository at {self.location} cannot be read: {error.strerror or error}") from None

    def check(self) -> None:
        """Looks whether it is there and of a known format."""
        data = self._stored_record()
        try:
            record = json.loads(data)
            version, kind = {"recoup-repository": (record["version"], record["layout"])}[record["format"]]
        except (ValueError, KeyError, TypeError):
            raise RefusedError(f"{layout.REPOSITORY} at {self.location} is damaged") from None
        if version != VERSION or kind != self.LAYOUT:
            raise RefusedError(
                f"the repository at {self.location} has layout {kind!r}, version {version!r}; "
                f"this Recoup reads layout {self.LAYOUT!r}, version {VERSION}, there",
                _as_made(record),
            )
        self._checked_at = self._clock.monotonic()

    def _check_lately(self) -> None:
        """Checks, unless that was done a moment ago: a verb looks first and acts then."""
        if self._checked_at is None or self._clock.monotonic() - self._checked_at > MOMENT:
            self.check()

    def names(self) -> Sequence[SetName]:
        """Names of all sets, oldest first."""
        return self._sets.names()

    def overview(self, *, copies: bool = True) -> Overview:
        """All sets at once, by the catalogue where there is one."""
        if not isinstance(self._sets, ClaimedSets):
            return OneByOne(self)
        return self._copied(self._storage, self.names, copies=copies)

    def _copied(self, listed: Storage, names: Callable[[], Sequence[SetName]], *, copies: bool) -> Overview:
        """An overview by means of the catalogue, as far as a listing has it."""
        found: Copies = {}
        catalog = self._sets.catalog if isinstance(self._sets, ClaimedSets) else None
        if copies and catalog is not None:
            found = catalog.copies(catalog.archives(listed))
        overview = Copied(names, listed, found, self._read, _mark, self._known_marks)
        if copies and catalog is not None:
            catalog.note(len(overview.names))
        return overview

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims."""
        manifest = self._read(name, {})
        if self._sets.hides(name):
            raise self._no_such(name)
        return manifest

    def manifest_as_stored(self, name: SetName) -> bytes | None:
        """The stored bytes of a manifest that anybody can read; None where it is encrypted."""
        data = self._manifest_file(name)
        return None if is_header(data) else data

    def _read(self, name: SetName, copies: Copies) -> Manifest:
        """A manifest, from copies of its objects where there are some."""
        key = f"{name}/{layout.MANIFEST}"
        data = copies.get(key) or self._manifest_file(name)
        if not is_header(data):
            return decode(data, key)
        known = (name, data, bool(copies))
        if known not in self._opened:  # opening takes a program, and a set never changes
            self._opened[known] = self._keys(name).manifest_in(data, copies)
        return self._opened[known]

    def _manifest_file(self, name: SetName) -> bytes:
        try:
            return self._storage.get(f"{name}/{layout.MANIFEST}")
        except FileNotFoundError:
            if name in self.names():
                raise RefusedError(f"{name} has lost its manifest.json", "Restore from another set.") from None
            raise self._no_such(name) from None

    def _no_such(self, name: SetName) -> NoSuchSetError:
        return NoSuchSetError(f"there is no set {name} in {self.name}", "`recoup list` shows those there are.")

    def whole(self, manifest: Manifest) -> Manifest:
        """A manifest with the facts that are encrypted in its set; that of an open set as it is."""
        if manifest.sealing is None:
            return manifest
        return whole(manifest, self._keys(manifest.name).secrets)

    def can_open(self, name: SetName) -> bool:
        """Whether something is configured to read a set's parts with; True for an open set."""
        return self._keys(name).can_open(self._method_of(name))

    def _method_of(self, name: SetName) -> Sealed | None:
        """How a set is encrypted; an encrypted manifest says it in its header."""
        data = self._storage.get(f"{name}/{layout.MANIFEST}")
        if is_header(data):
            return decode_header(data, f"{name}/{layout.MANIFEST}").method
        sealing = self.manifest(name).sealing
        return sealing.method if sealing else None

    def prove_keys(self) -> KeyProof | None:
        """Encrypts a probe and opens it again, and opens the key of the newest encrypted set; None without encryption."""
        sealing = self._style.sealing
        if sealing is None:
            return None
        opens = prove(sealing)
        return KeyProof(self.name, sealing.method, sealing.recipients, opens, self._newest_opened() if opens else "")

    def _newest_opened(self) -> str:
        for name in reversed(self.names() if self._exists() else ()):
            try:
                encrypted = self._method_of(name) is not None
                if encrypted:
                    self.whole(self.manifest(name))
            except WrongKeyError as error:
                raise WrongKeyError(f"the newest encrypted set, {name}: {error.message}", error.hint) from None
            except (RecoupError, OSError):
                continue  # damaged, which `verify` tells
            if encrypted:
                return str(name)
        return ""

    def _keys(self, name: SetName | str) -> SetKeys:
        """A set's keys; those asked for last are kept, since each part needs them."""
        if self._last_keys is None or self._last_keys.name != str(name):
            self._last_keys = SetKeys(self._storage, str(name), self._style.sealing)
        return self._last_keys

    def marks(self, name: SetName) -> Sequence[Mark]:
        """What was learned about a set; one that cannot be read might be a pin, so it counts as one."""
        marks = []
        for found in self._storage.list(layout.marks_prefix(name)):
            with contextlib.suppress(FileNotFoundError):
                marks.append(_mark(self._storage.get(found.key)))
        return marks

    def marked(self) -> frozenset[SetName]:
        """Names of the sets that have marks, found with one listing."""
        return frozenset(name for folder in self._storage.folders(layout.MARKS) if (name := SetName.parse(folder)))

    def mark(self, name: SetName, mark: Mark) -> None:
        """Adds a mark, durably."""
        record = {
            "version": 1,
            "kind": mark.kind,
            "time": mark.time.isoformat(),
            "host": mark.host or this_host().name,
            "fields": dict(mark.fields),
        }
        key = f"{layout.marks_prefix(name)}/{mark.time.strftime(_MARK_TIME)}-{secrets.token_hex(4)}.json"
        self._storage.put(key, json.dumps(record).encode())

    @contextlib.contextmanager
    def begin(self, moment: datetime, stack: str = "") -> Iterator[SetWriter]:
        """Begins a set of a stack."""
        self._check_lately()
        self._require_keys()
        for tidy in (self._storage.tidy, self._sets.remove_abandoned):
            with contextlib.suppress(StorageError):  # who may not delete can still back up; prune says what is left
                tidy()
        earlier = earlier_parts(self._newest_first(), self.manifest, stack)
        with self._sets.begin(SetName.at(moment), self._style, earlier, self.WRITER) as writer:
            yield writer

    def join(self, ticket: Ticket) -> JoinedWriter:
        """A set that another machine has begun here."""
        self.check()
        return JoinedSetWriter(self._storage, self._style, ticket)

    def _newest_first(self) -> Iterator[SetName]:
        """Names of all sets; nothing is listed before one is wanted."""
        yield from reversed(self.names())

    def _require_keys(self) -> None:
        """Demands keys that fit, before anything is written. A repository has one passphrase: a file of it that was changed
        by mistake would make sets that nobody opens once this host is lost."""
        sealing = self._style.sealing
        if sealing is None:
            return
        prove(sealing)
        if not sealing.recipients:
            try:
                self._newest_opened()
            except WrongKeyError as error:
                raise WrongKeyError(f"nothing was backed up: {error.message}", _CHANGED) from None

    def fetch(self, name: SetName, source: str, part: StoredPart) -> Part:  # noqa: ARG002 - other layouts need the source
        """A stored part; reading it checks its bytes."""
        return part_of(self._keys(name).place, part)

    def listed(self, name: SetName, part: StoredPart) -> Iterator[Listed]:
        """The members of a stored tree, without their content."""
        return member_lines(self._keys(name).place, part)

    def verify(self, name: SetName, subset: Subset, advance: Callable[[int], None] | None = None) -> Verification:
        """Compares stored bytes with the manifest."""
        return self.VERIFICATION(self._storage, name, self._keys(name), subset, advance or (lambda _: None))

    def mending(self, name: SetName) -> PlainMending:
        """A set, file by file, to replace what is damaged of it."""
        keys = SetKeys(self._storage, str(name), self._style.sealing)
        one = self.VERIFICATION(self._storage, name, keys, Subset(), lambda _: None)
        return PlainMending(self._storage, str(name), keys, self._style, one.sum_lines, one.path_of)

    def locked_until(self, name: SetName) -> datetime | None:
        """Until when the storage refuses to give up the manifest, which was stored last."""
        try:
            until = self._storage.locked_until(f"{name}/{layout.MANIFEST}")
        except FileNotFoundError:
            return None
        return until if until is not None and until > self._clock.now() else None

    def delete(
        self,
        names: Sequence[SetName],
        *,
        keep_days: float = 0.0,
        at_once: bool = False,  # noqa: ARG002 - nothing is shared
    ) -> Reclaim | None:
        """Moves sets to the trash, one step each, and empties it of what is old enough."""
        self._require_deletable(names)
        self._delete(names, keep_days)
        return None

    def _delete(self, names: Sequence[SetName], keep_days: float) -> None:
        """Deletes sets that may be deleted, and empties the trash."""
        now = self._clock.now()
        self._opened.clear()  # a later set may get the name of a deleted one
        self._last_keys = None
        self._storage.tidy()
        self._sets.remove_abandoned()
        for name in names:
            self._sets.trash(name, now)
        self._empty_trash(now - timedelta(days=keep_days))
        for orphan in self.marked() - {*self.names(), *self.trashed()}:  # a removal that was killed
            self._storage.delete_all(layout.marks_prefix(orphan))

    def sharing(self) -> Sharing | None:
        """None: each set has its own files."""
        return None

    def _require_deletable(self, names: Sequence[SetName]) -> None:
        present = set(self.names()) if names else set[SetName]()
        for name in names:
            if name not in present:
                raise self._no_such(name)
            if (until := self.locked_until(name)) is not None:
                raise RefusedError(
                    f"{name} is not deleted: {locked(until)}",
                    "The storage keeps it by force (object lock); it can be deleted after that time.",
                )

    def _empty_trash(self, before: datetime) -> None:
        due = [
            found
            for found in self._sets.trashed()
            if found.state == "removing"
            or (found.state == "kept" and found.deleted <= before and self.locked_until(found.name) is None)
        ]
        self._sets.removing(due)
        for found in due:
            self._sets.remove(found)
        self._sets.removed()

    def trashed(self) -> Sequence[SetName]:
        """Names of the sets in the trash, oldest first."""
        return sorted({found.name for found in self._sets.trashed() if found.state == "kept"})

    def trashed_bytes(self) -> int:
        """What the sets in the trash take, as they lie there; without those that the storage keeps by force."""
        found = (one for one in self._sets.trashed() if one.state == "kept" and self.locked_until(one.name) is None)
        return sum(stored.size for one in found for stored in self._storage.list(self._sets.place(one)))

    def undelete(self, name: SetName) -> None:
        """Takes a set out of the trash."""
        for found in self._sets.trashed():
            if found.name == name and found.state == "kept":
                self._sets.undelete(found)
                return
        raise NoSuchSetError(f"{name} is not in the trash of {self.name}", "It was removed for good, or never there.")

    def lock(self, mode: LockMode, verb: str, stack: str, wait: float = 0.0) -> AbstractContextManager[None]:
        """Holds a lock; who will write learns first what is not allowed."""
        self._check_lately()
        return locking.held(self._storage, self._clock, mode, verb, stack, wait, self._look_anew)

    def _look_anew(self) -> Storage:
        """The storage as a verb finds it that begins now."""
        return self._storage

    def locks(self) -> Sequence[Lock]:
        """All locks there are."""
        return locking.read_all(self._storage, self._clock.now())

    def unlock(self, *, force: bool = False) -> Sequence[Lock]:
        """Removes stale locks, or all of them."""
        removed = [lock for lock in self.locks() if force or lock.stale]
        locking.remove(self._storage, removed)
        return removed

    def free_bytes(self) -> int | None:
        """Bytes that can still be stored; None where unknown."""
        return self._storage.free_bytes()

    @property
    def staging(self) -> str | None:
        """A folder on the same file system for staged copies, so that storing one is a rename; None on other storages, and
        where files are encrypted: the copies are not."""
        if self._style.sealing is not None:
            return None
        root = self._storage.properties.local_root
        return None if root is None else str(root / layout.STAGING)
