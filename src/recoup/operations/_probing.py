"""Does a storage keep its promise? A safe part of `recoup.testing.storage_contract`, tried at the real place.

Everything happens below one folder with a random name, which is emptied at the end.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from recoup.errors import RecoupError
from recoup.storage._base import Feature, Storage

_ODD = "a b/ö+&=%20'#?~"
_BLOCK = 1024 * 1024  # bytes
_SMALLEST = 64 * 1024  # bytes of the large object, where nothing is sent in parts


class BrokenError(Exception):
    """A promise is not kept; the message says which."""


def _demand(kept: bool, fault: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not kept:
        raise BrokenError(fault)


@dataclass
class Probe:
    """One storage that is tried.

    Attributes:
        storage: it.
        folder: where.
    """

    storage: Storage
    folder: str = field(default_factory=lambda: f".recoup-probe-{secrets.token_hex(8)}")

    def findings(self) -> Iterator[Feature]:
        """What the storage can and cannot do; leaves nothing behind."""
        try:
            yield from self._all()
        finally:
            with contextlib.suppress(RecoupError, OSError):  # why it cannot be removed is among the findings
                self.storage.delete_all(self.folder)

    def _all(self) -> Iterator[Feature]:
        first = self._tried(self._stores)
        yield first
        if first.severity == "error":
            return
        for trial in (self._claims, self._ranges, self._parts, self._odd_keys, self._moves):
            yield self._tried(trial)
        yield from self._features()
        yield self._tried(self._deletes)

    def _tried(self, trial: Callable[[], Feature]) -> Feature:
        try:
            return trial()
        except BrokenError as error:
            hint = "Sets there would not be safe. Look whether the store, or something before it, has a known fault."
            return Feature("error", str(error), hint)
        except RecoupError as error:
            return Feature("error", error.message, error.hint)
        except OSError as error:
            return Feature("error", f"something that was just stored or listed is gone: {error}")

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def _keys(self) -> Sequence[str]:
        return sorted(found.key for found in self.storage.list(self.folder))

    # --- what is tried ----------------------------------------------------------------------------------------------

    def _stores(self) -> Feature:
        self.storage.check_access(self.folder)
        self.storage.put(self._key("small"), b"first")
        self.storage.put(self._key("small"), b"second")
        self.storage.put(self._key("empty"), b"")
        _demand(
            self.storage.get(self._key("small")) == b"second", "an object that was replaced is read as it was before"
        )
        _demand(self.storage.get(self._key("empty")) == b"", "an empty object is read as one that is not")
        listed = {found.key: found.size for found in self.storage.list(self.folder)}
        wanted = {self._key("small"): 6, self._key("empty"): 0}
        _demand(listed == wanted, "a listing does not show what was just stored")
        return Feature("ok", "objects can be stored, replaced, read and listed, each at once")

    def _claims(self) -> Feature:
        self.storage.put(self._key("claim"), b"mine", if_absent=True)
        try:
            self.storage.put(self._key("claim"), b"theirs", if_absent=True)
        except FileExistsError:
            taken = self.storage.get(self._key("claim")) == b"mine"
            _demand(taken, "an object was replaced that was to be stored only if absent")
        else:
            raise BrokenError("an object was replaced that was to be stored only if absent")
        if self.storage.properties.put_if_absent:
            return Feature(
                "ok", "an object can be stored on condition that there is none: several hosts may write at once"
            )
        hint = "Let one host write at a time, or leave out `conditional_put: false` if the store keeps `If-None-Match`."
        return Feature(
            "warning", "that a name is free is looked up, not demanded: two hosts could take the same one", hint
        )

    def _ranges(self) -> Feature:
        self.storage.put(self._key("range"), bytes(range(256)))
        with self.storage.reader(self._key("range"), 100, 50) as reader:
            found = b"".join(iter(lambda: reader.read(1000), b""))
        _demand(found == bytes(range(100, 150)), "a range of an object is not the one that was asked for")
        return Feature("ok", "ranges can be read: a download that is cut goes on where it was")

    def _parts(self) -> Feature:
        part = self.storage.properties.part_size
        size = part + 1 or _SMALLEST
        block = secrets.token_bytes(min(_BLOCK, size))
        sent, writer = hashlib.sha256(), self.storage.writer(self._key("large"))
        try:
            for start in range(0, size, len(block)):
                piece = block[: size - start]
                sent.update(piece)
                writer.write(piece)
            _demand(self._key("large") not in self._keys(), "an object shows before it is whole")
            writer.commit()
        finally:
            writer.abort()
        _demand(self._digest("large") == sent.digest(), "a large object is not read as it was written")
        return Feature(
            "ok", f"a large object can be sent in parts ({size:,} bytes)" if part else "large objects can be written"
        )

    def _digest(self, name: str) -> bytes:
        found = hashlib.sha256()
        with self.storage.reader(self._key(name)) as reader:
            while block := reader.read(_BLOCK):
                found.update(block)
        return found.digest()

    def _odd_keys(self) -> Feature:
        key = self._key(_ODD)
        self.storage.put(key, b"odd")
        _demand(key in self._keys(), "a key with unusual characters is listed as another one")
        _demand(self.storage.get(key) == b"odd", "a key with unusual characters is read as another one")
        return Feature("ok", "unusual characters survive in keys")

    def _moves(self) -> Feature:
        if not self.storage.properties.moves:
            return Feature(
                "ok", "nothing can be renamed, as in every object store: a set shows by its manifest, stored last"
            )
        self.storage.put(self._key("old/a"), b"moved")
        self.storage.move(self._key("old"), self._key("new"))
        _demand(self.storage.get(self._key("new/a")) == b"moved", "what was renamed is not there")
        _demand(self._key("old/a") not in self._keys(), "what was renamed is still there under its old name")
        return Feature("ok", "folders can be renamed in one step")

    def _features(self) -> Sequence[Feature]:
        try:
            return self.storage.features(self._key("small"))
        except RecoupError as error:
            return [Feature("error", error.message, error.hint)]

    def _deletes(self) -> Feature:
        self.storage.delete(self._key("small"))
        self.storage.delete(self._key("small"))
        _demand(self._key("small") not in self._keys(), "an object that was deleted is still listed")
        self.storage.delete_all(self.folder)
        _demand(not self._keys(), "objects that were deleted are still listed")
        return Feature("ok", "objects can be deleted; what was tried here is gone again")
