"""The keys of a stack's repositories: proving them, and saying who can open a dedup repository."""

from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recoup._opened import OpenedStack
from recoup.errors import RecoupError, RefusedError, UsageError, WrongKeyError
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from recoup.repository._base import KeyProof
    from recoup.repository.dedup.keyslots import Opened
    from recoup.repository.dedup.openers import Opener
    from recoup.repository.dedup.options import DedupOptions
    from recoup.repository.dedup.record import Record
    from recoup.storage._base import Storage


class NewKey(Struct):
    """What is to open a repository from now on: one of these. Paths are relative to the working folder.

    Attributes:
        password_file: file that holds a passphrase.
        typed: a passphrase that a person typed.
        key_file: file of at least 32 bytes that nobody can guess.
        recipients: age public keys, or files of such.
    """

    password_file: Path | None = None
    typed: str = field(default="", repr=False)
    key_file: Path | None = None
    recipients: tuple[str, ...] = ()


class KeyRow(Struct):
    """One who can open a repository, or add to it.

    Attributes:
        id: names it.
        method: `passphrase`, `key-file` or `age`, of a keyslot; `writer`, of a host that may only add sets; empty where the
            keyslot cannot be read.
        label: what people call it.
        created: when it was made (UTC); None where that cannot be read.
        recipients: public keys of age.
        opens: whether it is what opens the repository here.
        removed: when a writer was shut out (UTC); None while it may add.
        problem: what is wrong with it; empty when nothing is.
    """

    id: str
    method: str
    label: str = ""
    created: datetime | None = None
    recipients: tuple[str, ...] = ()
    opens: bool = False
    removed: datetime | None = None
    problem: str = ""

    @property
    def is_keyslot(self) -> bool:
        """Whether it is one that opens the repository, readable or not, and no writer."""
        return self.method != "writer"


class _Place(Struct):
    """A dedup repository, as far as its keys are concerned."""

    storage: "Storage"
    record: "Record"
    options: "DedupOptions"


class StackWithKeys(OpenedStack):
    """A configured stack whose keys are looked at and changed."""

    def prove_keys(self) -> "list[KeyProof]":
        """Proves, for each encrypted repository, that what is configured opens what it encrypts; changes nothing.

        Raises:
            WrongKeyError: it does not.
        """
        proofs = (self._open(name).prove_keys() for name in self._repository_names)
        return [proof for proof in proofs if proof is not None]

    def require_keys(self) -> None:
        """Demands that what is configured opens each dedup repository; changes nothing.

        Raises:
            WrongKeyError: it does not.
        """
        for name in self._repository_names:
            if self._settings_of(name).layout == "dedup":
                self._open(name).prove_keys()

    @property
    def key_advice(self) -> tuple[str, ...]:
        """What has to be kept elsewhere so that backups can be opened when this machine is lost."""
        found = []
        for name in self._repository_names:
            what = self._to_keep(name)
            if what:
                found.append(
                    f"Keep {what} on another machine or on paper: without it nobody, you included, can open what is "
                    f"stored in {name}. `recoup key check` proves that the keys fit."
                )
        return (*found, *self.keys_apart)

    @property
    def keys_apart(self) -> tuple[str, ...]:
        """A sentence for each repository that is to have the keys of another one, by `keys_of`, and has others."""
        found = []
        for name in self._repository_names:
            other = self._settings_of(name).keys_of
            if other is not None and not self._has_keys_of(name, other):
                found.append(
                    f"{name} does not have the keys of {other}, which `keys_of` names: it was made without. `recoup copy` opens "
                    "and seals everything anew between the two. To change that, make it once more at an empty place."
                )
        return tuple(found)

    def _has_keys_of(self, name: str, other: str) -> bool:
        """Whether two repositories have the same keys, by what stands open of them; True where one cannot be asked."""
        try:
            here, there = self._place_of(name).record, self._place_of(other).record
        except (RecoupError, OSError):
            return True  # which is told elsewhere
        return here.has_keys_of(there)

    def _to_keep(self, name: str) -> str:
        """What opens a repository; empty where it is open."""
        settings = self._settings_of(name)
        sealing, dedup = self._sealing_of(settings), self._dedup_of(settings)
        if sealing is None and dedup is None:
            return ""
        can_open = dedup.writer_key_file is None if dedup else bool(sealing and sealing.can_open)
        files = " and ".join(map(str, self._secret_files(settings))) if can_open else ""
        return f"a copy of {files}" if files else "the secret keys of its recipients"

    # --- keyslots -----------------------------------------------------------------------------------------------------

    def key_repository(self) -> str:
        """Where the repository is whose keys the other methods are about.

        Raises:
            UsageError: there are several, and none was chosen.
            RefusedError: its layout has no keyslots.
        """
        return self._place_of_keys().storage.location

    def key_rows(self) -> tuple[KeyRow, ...]:
        """Who can open the repository, and which hosts may add to it. Nothing has to be opened for that.

        Raises:
            RefusedError: its layout has no keyslots.
        """
        from recoup.repository.dedup.keyslots import shelf
        from recoup.repository.dedup.writers import writers

        place = self._place_of_keys()
        there, here = shelf(place.storage, place.record), self._slot_here(place)
        hosts, strange = writers(place.storage, place.record)
        return (
            *(KeyRow(s.id, s.method, s.label, s.created, s.recipients, opens=s.id == here) for s in there.slots),
            *(KeyRow(slot, "", problem=error.message) for slot, error in there.damaged),
            *(KeyRow(w.id, "writer", w.label, w.created, (), w.id == here, w.removed) for w in hosts),
            *(KeyRow("", "writer", problem=error.message) for error in strange),
        )

    def key_named(self, text: str) -> KeyRow:
        """The keyslot or writer that a text names; of writers, only those that were not shut out.

        Args:
            text: id, or the begin of one.

        Raises:
            UsageError: none is meant, or several are.
        """
        from recoup.repository.dedup.keyslots import chosen

        rows = {row.id: row for row in self.key_rows() if row.id and row.removed is None}
        return rows[chosen(text, list(rows))]

    def try_key(self, new: NewKey) -> None:
        """Looks whether a keyslot could be made; changes nothing.

        Args:
            new: what is to open it.

        Raises:
            WrongKeyError: what is configured does not open the repository, or `new` cannot be read.
            UsageError: `new` is several things.
        """
        place = self._place_of_keys()
        self._owner(place)
        if new != NewKey():  # else somebody would be asked
            self._opener_of(new).lock(place.record.repository, "", b"")

    def add_key(self, new: NewKey, label: str = "") -> str:
        """Makes a keyslot; returns its id.

        Args:
            new: what is to open it.
            label: what people call it; this host's name by default.

        Raises:
            WrongKeyError: what is configured does not open the repository, or `new` cannot be read.
            UsageError: `new` is nothing, or several things.
        """
        from recoup.repository.dedup.keyslots import add

        opener, place = self._opener_of(new), self._place_of_keys()
        keys = self._owner(place).keys
        return add(place.storage, keys, opener, label or self._host.name, self._clock.now()).id

    def rotate_key(self, text: str, new: NewKey, label: str = "", *, wait_lock: float = 0.0) -> tuple[str, str]:
        """Replaces a keyslot by one with a new secret.

        Args:
            text: id of the old one, or the begin of it; empty for the one that opens the repository here.
            new: what is to open the new one.
            label: what people call it; the old one's by default.
            wait_lock: seconds to wait while others change keyslots.

        Returns:
            The ids of the old one and of the new one.

        Raises:
            WrongKeyError: what is configured does not open the repository, or `new` cannot be read.
            UsageError: there is no such keyslot, or `new` is nothing, or several things.
        """
        from recoup.repository.dedup.keyslots import rotate

        opener, place = self._opener_of(new), self._place_of_keys()
        owner = self._owner(place)
        with self._changing(place, "key rotate", wait_lock):
            old, slot = rotate(place.storage, owner.keys, text or owner.slot, opener, label, self._clock.now())
        return old, slot.id

    def remove_key(self, text: str, *, wait_lock: float = 0.0) -> str:
        """Removes a keyslot, or shuts out a host that may only add sets; returns its id.

        Args:
            text: its id, or the begin of it.
            wait_lock: seconds to wait while others change keyslots.

        Raises:
            WrongKeyError: what is configured does not open the repository.
            RefusedError: it is the last keyslot.
            UsageError: there is none of that name.
        """
        from recoup.repository.dedup.keyslots import remove

        place = self._place_of_keys()
        keys = self._owner(place).keys
        with self._changing(place, "key remove", wait_lock):
            return remove(place.storage, keys, text, self._clock.now())

    def export_writer(self, file: Path, label: str = "") -> str:
        """Writes a key file for a host that may only add sets; returns the host's id.

        Args:
            file: where, relative to the working folder; nothing may be there.
            label: what people call that host; the file's name by default.

        Raises:
            WrongKeyError: what is configured does not open the repository.
            RefusedError: there is something at `file`.
        """
        from recoup.repository.dedup.writers import let_in

        place = self._place_of_keys()
        keys = self._owner(place).keys
        return let_in(place.storage, keys, self._cwd / file, label or file.name, self._clock.now()).id

    def export_recovery(self, file: Path, label: str = "") -> str:
        """Writes a random key file and makes a keyslot for it; returns the slot's id.

        Args:
            file: where, relative to the working folder; nothing may be there.
            label: what people call it; `recovery` by default.

        Raises:
            WrongKeyError: what is configured does not open the repository.
            RefusedError: there is something at `file`.
        """
        from recoup.repository.dedup.keyslots import add, make_key_file

        place = self._place_of_keys()
        keys = self._owner(place).keys
        made = make_key_file(self._cwd / file)
        try:
            return add(place.storage, keys, made, label or "recovery", self._clock.now()).id
        except BaseException:
            made.file.unlink(missing_ok=True)
            raise

    def damaged_keyslots(self) -> tuple[str, ...]:
        """A sentence for each keyslot that cannot be read, of all repositories that have keyslots."""
        from recoup.operations.doctor import Keyslotted

        opened = (
            repository for name in self._repository_names if isinstance(repository := self._open(name), Keyslotted)
        )
        return tuple(f"{one.location}: {problem}" for one in opened for problem in one.damaged_keyslots())

    def _place_of_keys(self) -> _Place:
        names = self._several(None)
        if len(names) > 1:
            raise UsageError(f"there are several repositories: {', '.join(names)}", "Choose one with -r NAME.")
        return self._place_of(names[0])

    def _place_of(self, name: str) -> _Place:
        from recoup.repository.dedup.record import read_record

        settings = self._settings_of(name)
        options, storage = self._dedup_of(settings), self._storage_of(settings)
        record = read_record(storage)
        if options is None:
            raise RefusedError(
                f"{name} has keyslots, and is not configured so",
                "Set `layout: dedup` and what opens it, such as `password_file`.",
            )
        return _Place(storage, record, options)

    def _slot_here(self, place: _Place) -> str:
        """What opens the repository here: a keyslot's id, or the writer's; empty where nothing does."""
        try:
            found = self._opened(place)
        except RecoupError:
            return ""
        return found.slot or found.keys.writer

    def _opened(self, place: _Place) -> "Opened":
        from recoup.repository.dedup.keyslots import Opened, open_keys, opened, openers

        if place.options.writer_key_file is not None:
            return Opened(open_keys(place.storage, place.record, place.options))
        return opened(place.storage, place.record, openers(place.options))

    def _owner(self, place: _Place) -> "Opened":
        found = self._opened(place)
        if not found.keys.can_read:
            raise WrongKeyError(
                f"{place.storage.location} cannot be read on this host, and its keys can be changed only where it can",
                "This host has a writer key. Use one with a passphrase, key file or identity.",
            )
        return found

    def _opener_of(self, new: NewKey) -> "Opener":
        from recoup.repository.dedup.openers import AgeKeys, KeyFile, Passphrase

        given = [bool(value) for value in (new.password_file, new.typed, new.key_file, new.recipients)]
        if sum(given) != 1:
            raise UsageError(
                "a keyslot is opened by exactly one thing",
                "Give one of --new-password-file, --new-key-file and --recipient; the last one may be repeated.",
            )
        if new.key_file is not None:
            return KeyFile(self._cwd / new.key_file)
        if new.recipients:
            return AgeKeys(tuple(self._recipient(text) for text in new.recipients))
        return Passphrase(None if new.password_file is None else self._cwd / new.password_file, new.typed)

    def _recipient(self, text: str) -> str:
        return text if text.startswith(("age1", "ssh-")) else str(self._cwd / text)

    def _changing(self, place: _Place, verb: str, wait: float) -> "AbstractContextManager[None]":
        """So that two who each see one other slot do not remove both."""
        from recoup.repository.locking import held

        return held(place.storage, self._clock, "claim", verb, self.settings.stack, wait)
