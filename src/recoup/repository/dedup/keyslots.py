"""Keyslots: what opens the keys of a repository, and how slots come and go (`docs/format.md`, Keys).

All slots of a repository hold the same two secrets. So adding or removing one changes who can open it from now on, and
nothing that is stored.
"""

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recoup.errors import RecoupError, RefusedError, StorageError, UsageError, WrongKeyError
from recoup.model.structs import Struct
from recoup.repository.dedup import slots as _slots
from recoup.repository.dedup.keys import KEY_BYTES, Keys, owner_keys
from recoup.repository.dedup.openers import AgeKeys, KeyFile, Opener, Passphrase
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.record import Record
from recoup.repository.dedup.slots import FOLDER, ID, LARGEST, Slot, decode_slot, encode_slot, read_small, slot_key
from recoup.repository.dedup.writers import let_in, shut_out, writer_keys, writers
from recoup.storage._base import Storage
from recoup.system.atomicfile import create_file


class Shelf(Struct):
    """The keyslots of a repository.

    Attributes:
        slots: those that can be read, the oldest first.
        damaged: ids of the others, with what is wrong with each.
    """

    slots: tuple[Slot, ...]
    damaged: tuple[tuple[str, RecoupError], ...] = ()


class Opened(Struct):
    """The keys of a repository, and what opened them.

    Attributes:
        keys: the keys.
        slot: id of the keyslot; empty for a writer key.
    """

    keys: Keys
    slot: str = ""


def openers(options: DedupOptions) -> tuple[Opener, ...]:
    """What the settings name to open keyslots with; empty for a host with a writer key."""
    found: list[Opener] = []
    if options.key_file is not None:
        found.append(KeyFile(options.key_file))
    if options.identity_file is not None:
        found.append(AgeKeys(options.recipients, options.identity_file))
    if options.password_file is not None:
        found.append(Passphrase(options.password_file))
    return tuple(found)


def makers(options: DedupOptions) -> tuple[Opener, ...]:
    """What a new repository gets a keyslot for."""
    found = openers(options)
    if options.recipients and options.identity_file is None:
        return (*found, AgeKeys(options.recipients))
    return found


def shelf(storage: Storage, record: Record) -> Shelf:
    """The keyslots of a repository. One that cannot be read is among the damaged."""
    found: list[Slot] = []
    broken: list[tuple[str, RecoupError]] = []
    for item in storage.list(FOLDER):
        slot = item.key.removeprefix(f"{FOLDER}/").removesuffix(".json")
        if item.key != slot_key(slot) or not ID.match(slot) or item.link is not None:
            continue
        try:
            found.append(_read(storage, slot, record))
        except FileNotFoundError:
            continue  # removed meanwhile
        except RefusedError as error:
            broken.append((slot, error))
    return Shelf(tuple(sorted(found, key=lambda slot: (slot.created, slot.id))), tuple(sorted(broken)))


def _read(storage: Storage, slot: str, record: Record) -> Slot:
    read = decode_slot(read_small(storage, slot_key(slot), LARGEST), slot)
    if read.repository != record.repository:
        raise _slots.damaged(read.key, "it belongs to another repository")
    return read


def create(storage: Storage, keys: Keys, options: DedupOptions, label: str, moment: datetime) -> tuple[Slot, ...]:
    """Makes the first keyslots of a repository, before it is there; with recipients alone, also the writer key of this host.

    Args:
        storage: where the repository is to be.
        keys: of the repository.
        options: its settings.
        label: what people call the slots.
        moment: now (UTC).

    Raises:
        WrongKeyError: there is nothing to make one for, or it cannot be read, or does not open what it made.
        RefusedError: there is a file where the writer key goes.
    """
    if not makers(options):
        raise WrongKeyError(
            f"nothing could open a new repository at {storage.location}",
            "Set `password_file`, `key_file`, `identity_file` or `recipients`.",
        )
    made: list[Slot] = []
    try:
        for maker in makers(options):
            made.append(add(storage, keys, maker, label, moment))  # noqa: PERF401 - those made before an error are removed
        if options.writer_key_file is not None:
            let_in(storage, keys, options.writer_key_file, label, moment)
    except BaseException:
        for slot in made:
            storage.delete(slot.key)
        raise
    return tuple(made)


def open_keys(storage: Storage, record: Record, options: DedupOptions) -> Keys:
    """The keys of a repository, by what the settings name. Raises as `opened` does."""
    if options.writer_key_file is not None:
        return writer_keys(storage, record, options.writer_key_file)
    return opened(storage, record, openers(options)).keys


def opened(storage: Storage, record: Record, means: Sequence[Opener]) -> Opened:
    """The keys of a repository, and which slot gave them.

    Args:
        storage: of the repository.
        record: what the repository says of itself.
        means: what there is to open slots with.

    Raises:
        WrongKeyError: nothing opens a slot; says which slots there are.
        RefusedError: what opens holds keys of another repository.
    """
    found = shelf(storage, record)
    reasons: list[str] = []
    for opener in means:
        for slot in found.slots:
            keys = _keys_in(slot, opener, record, reasons) if slot.method == opener.method else None
            if keys is not None:
                return Opened(keys, slot.id)
    raise _unopened(storage.location, found, means, reasons)


def _keys_in(slot: Slot, opener: Opener, record: Record, reasons: list[str]) -> Keys | None:
    try:
        body = opener.unlock(slot)
    except WrongKeyError as error:
        if error.message not in reasons:
            reasons.append(error.message)
        return None
    if body is None:
        return None
    keys = _decode_body(body, slot, record)
    if not record.fits(keys):
        raise RefusedError(
            f"keyslot {slot.id} holds the keys of another repository than recoup-repository.json names",
            "Somebody changed one of them. Compare both with a copy of the repository before you go on.",
        )
    return keys


def _unopened(location: str, found: Shelf, means: Sequence[Opener], reasons: Sequence[str]) -> WrongKeyError:
    tried = reasons or [f"{opener} opens no keyslot of {location}" for opener in means]
    why = "; ".join(tried) or f"nothing is configured to open {location} with"
    there = ", ".join(map(described, found.slots)) or "none"
    broken = "".join(f" Slot {slot} cannot be used: {error.message}." for slot, error in found.damaged)
    todo = "Look at `password_file`, `key_file` or `identity_file`, or try that of another slot."
    if not found.slots:
        todo = "Bring `keys/` back from a copy of the repository: without a keyslot nothing opens it."
    return WrongKeyError(why, f"Its keyslots: {there}.{broken} {todo}")


def described(slot: Slot) -> str:
    """A slot in a few words: id, method, label, day."""
    whose = f" for {', '.join(slot.recipients)}" if slot.recipients else ""
    label = f' "{slot.label}"' if slot.label else ""
    return f"{slot.id}{label} ({slot.method}{whose}, {slot.created:%Y-%m-%d})"


def add(storage: Storage, keys: Keys, opener: Opener, label: str, moment: datetime) -> Slot:
    """Makes a keyslot, and tries it as it was stored.

    Args:
        storage: of the repository.
        keys: of the repository, with the private one.
        opener: what is to open it.
        label: what people call it.
        moment: now (UTC).

    Raises:
        WrongKeyError: `opener` cannot be read, or this host has no private key, or the slot does not open again.
    """
    if keys.private is None:
        raise WrongKeyError("a host with a writer key cannot make keyslots", "Use a host that can read the repository.")
    slot_id, body = secrets.token_hex(8), _encode_body(keys.private, keys.dedup)
    details, sealed = opener.lock(keys.repository, slot_id, body)
    slot = Slot(keys.repository, slot_id, moment.astimezone(UTC), label, opener.method, details, sealed)
    storage.put(slot.key, encode_slot(slot), if_absent=True)
    try:
        _prove(storage, slot, opener, body, Record.of(keys))
    except BaseException:
        storage.delete(slot.key)
        raise
    return slot


def _prove(storage: Storage, slot: Slot, opener: Opener, body: bytes, record: Record) -> None:
    stored = _read(storage, slot.id, record)
    if stored != slot:
        raise StorageError(f"{slot.key} was stored as something else", "Look at the storage; nothing was changed.")
    if opener.can_open and opener.unlock(stored) != body:
        raise WrongKeyError(
            f"{opener} does not open the keyslot that was made for it",
            "With `recipients`, the identity's own public key has to be among them. Nothing was changed.",
        )


def remove(storage: Storage, keys: Keys, text: str, moment: datetime) -> str:
    """Removes a keyslot, or shuts out a host that may only add sets.

    What the slot held stays the same: whoever opened it before may have kept it.

    Args:
        storage: of the repository.
        keys: of the repository, with the private one.
        text: id, or the begin of one.
        moment: now (UTC).

    Returns:
        The id.

    Raises:
        WrongKeyError: this host has no private key.
        UsageError: there is none of that name, or several.
        RefusedError: no other keyslot that can be read would be left.
    """
    if not keys.can_read:
        raise WrongKeyError("a host with a writer key cannot remove keys", "Use a host that can read the repository.")
    record = Record.of(keys)
    there = shelf(storage, record)
    known = [*(slot.id for slot in there.slots), *(slot for slot, _ in there.damaged)]
    hosts = {writer.id: writer for writer in writers(storage, record)[0] if writer.removed is None}
    found = chosen(text, [*known, *hosts])
    if found in hosts:
        shut_out(storage, keys, hosts[found], moment)
        return found
    if not any(slot.id != found for slot in there.slots):
        raise RefusedError(
            f"keyslot {found} is the last one that can be read: without it nobody could open the repository any more",
            "Make another one before: `recoup key add`.",
        )
    storage.delete(slot_key(found))
    return found


def rotate(storage: Storage, keys: Keys, text: str, opener: Opener, label: str, moment: datetime) -> tuple[str, Slot]:
    """Replaces a keyslot: the new one is made and tried, then the old one removed.

    Args:
        storage: of the repository.
        keys: of the repository, with the private one.
        text: id of the old one, or the begin of it.
        opener: what is to open the new one.
        label: what people call the new one; empty for the old label.
        moment: now (UTC).

    Returns:
        The id of the old one, and the new one.

    Raises:
        UsageError: there is no such slot.
        WrongKeyError: as for `add`.
    """
    there = shelf(storage, Record.of(keys))
    labels = {slot.id: slot.label for slot in there.slots} | {slot: "" for slot, _ in there.damaged}
    old = chosen(text, list(labels))
    new = add(storage, keys, opener, label or labels[old], moment)
    storage.delete(slot_key(old))
    return old, new


def chosen(text: str, ids: Sequence[str]) -> str:
    """The id that a text names.

    Args:
        text: an id, or the begin of one.
        ids: all there are.

    Raises:
        UsageError: none begins so, or several.
    """
    found = [name for name in ids if text and name.startswith(text.lower())]
    if len(found) == 1:
        return found[0]
    which = f"several begin with {text!r}" if found else f"none begins with {text!r}"
    raise UsageError(f"no keyslot or writer is meant: {which}", f"Known: {', '.join(found or ids) or 'none'}.")


def make_key_file(file: Path) -> KeyFile:
    """Writes a new random key file, mode 0600.

    Raises:
        RefusedError: there is something of that name.
    """
    create_file(file, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
    return KeyFile(file)


def _encode_body(private: bytes, dedup: bytes) -> bytes:
    return json.dumps({"private": private.hex(), "dedup": dedup.hex()}).encode()


def _decode_body(body: bytes, slot: Slot, record: Record) -> Keys:
    try:
        fields: Any = json.loads(body)
        private, dedup = _slots.key_of(fields["private"]), _slots.key_of(fields["dedup"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _slots.damaged(slot.key, "it opens, and holds no keys") from None
    return owner_keys(record.repository, private, dedup)
