"""Sets on a storage that cannot rename: their names are claimed, their manifest comes last, and markers delete them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from recoup.errors import RecoupError, StorageError
from recoup.model.manifest import Manifest, encode
from recoup.model.names import SetName
from recoup.repository import locking
from recoup.repository.plain import claims, layout
from recoup.repository.plain.catalog import Catalog
from recoup.repository.plain.claims import Lease
from recoup.repository.plain.folder import Style
from recoup.repository.plain.once import Earlier
from recoup.repository.plain.sets import State, Trashed
from recoup.repository.plain.writing import PlainSetWriter
from recoup.storage._base import Storage
from recoup.system.clock import Clock

_REMOVING, _REMOVED = b"removing\n", b"removed\n"  # told apart by their length, which a listing has
_LOST = (
    "This machine slept, or could not reach the storage, for so long that its claim was given up. Nothing is listed of this "
    "set; back up again."
)


def markers(listed: Storage) -> Sequence[Trashed]:
    """The markers of deleted sets that a listing has."""
    states: dict[int, State] = {len(_REMOVING): "removing", len(_REMOVED): "removed"}
    return [
        Trashed(*found, marker.key, states.get(marker.size, "kept"))
        for marker in list(listed.list(layout.TRASH))
        if (found := layout.trashed_in(marker.key))
    ]


class ClaimedSets:
    """Sets under their final names from the beginning.

    Args:
        storage: where.
        clock: time.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock
        self.catalog = Catalog(storage, clock)

    def names(self) -> list[SetName]:
        """The prefixes that are sets, oldest first. They are listed first: what is not complete by then has a claim."""
        return self._names_and_trash()[0]

    def _names_and_trash(self) -> tuple[list[SetName], Sequence[Trashed]]:
        found = {name for folder in self._storage.folders() if (name := SetName.parse(folder))}
        claimed = claims.claimed(self._storage) & found
        trash = self.trashed()
        hidden = {trashed.name for trashed in trash}
        return sorted(found - hidden - {name for name in claimed if not self._has_manifest(name)}), trash

    def hides(self, name: SetName) -> bool:
        """Whether a set is deleted; one that is not complete has no manifest that could be read."""
        return any(trashed.name == name for trashed in self.trashed())

    def _has_manifest(self, name: SetName) -> bool:
        try:
            self._storage.size(f"{name}/{layout.MANIFEST}")
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def begin(
        self, name: SetName, style: Style, earlier: Earlier, writer: Callable[..., PlainSetWriter]
    ) -> Iterator[PlainSetWriter]:
        """A set being written under its own name, which nobody lists before its manifest is there."""
        lease = self._claimed(name)
        committed: list[SetName] = []

        def appear(writer: PlainSetWriter, manifest: Manifest) -> SetName:
            committed.append(self._appear(lease, writer, manifest))
            return lease.name

        answered = False
        made = writer(self._storage, str(lease.name), lease.name, style, appear, earlier, token=lease.token)
        try:
            with locking.refreshed(lease.refresh):
                yield made
            answered = True
        finally:
            with contextlib.suppress(RecoupError, OSError):  # what stays has a claim, by which it is judged later
                if committed:
                    lease.end()
                else:
                    self._take_back(lease, answered=answered and not made.is_shared)
            if made.is_shared:
                with contextlib.suppress(RecoupError, OSError):
                    self._storage.delete_all(layout.takers_prefix(lease.name))
        if committed:
            with contextlib.suppress(RecoupError, OSError):  # copies only save time
                self.catalog.grow(self._with_trash)

    def _with_trash(self) -> list[SetName]:
        names, trash = self._names_and_trash()
        return [*names, *(found.name for found in trash if found.state == "kept")]

    def _claimed(self, name: SetName) -> Lease:
        """A claim to a name that nothing has: neither a set, nor what is left of one, nor a marker."""
        while True:
            lease = Lease(self._storage, name, self._clock)
            if lease.take():
                if not self._is_used(name):
                    return lease
                lease.end()
            name = name.next()

    def _is_used(self, name: SetName) -> bool:
        return next(iter(self._storage.list(str(name))), None) is not None or self.hides(name)

    def _appear(self, lease: Lease, writer: PlainSetWriter, manifest: Manifest) -> SetName:
        """Puts the manifest. The claim is read before and after it: whoever cleans up marks the claim first and looks for the
        manifest then, so at least one of the two sees the other."""
        data = writer.write_sums(encode(replace(manifest, name=str(lease.name))), manifest.sealing)
        self._storage.sync(writer.prefix)
        key = writer.key(layout.MANIFEST)
        if not lease.is_held():
            raise StorageError(f"the claim to {lease.name} was lost", _LOST)
        try:
            self._storage.put(key, data, if_absent=True)
        except FileExistsError:
            if self._storage.get(key) != data:  # else the answer to the first try was lost
                raise StorageError(f"somebody else has written {lease.name}", "Back up again.") from None
        if not lease.is_held():
            self._storage.delete(key)
            raise StorageError(f"the claim to {lease.name} was lost", _LOST)
        return lease.name

    def _take_back(self, lease: Lease, *, answered: bool) -> None:
        """Removes what was written. A request that was left without an answer may still arrive: a marker hides what comes."""
        if lease.others_may_have_it():
            return
        if answered:
            self._remove_unlisted(lease.name)
        else:
            self._storage.put(layout.trash_key(lease.name, self._clock.now()), _REMOVING)
            self._remove_objects(lease.name)
        lease.end()

    def _remove_unlisted(self, name: SetName) -> None:
        """Removes what was never a set. Where stores list an empty folder, a marker hides it when the claim is gone."""
        self._remove_objects(name)
        if str(name) in self._storage.folders():
            self._storage.put(layout.trash_key(name, self._clock.now()), _REMOVED)

    def _remove_objects(self, name: SetName) -> None:
        self._storage.delete(f"{name}/{layout.MANIFEST}")
        self._storage.delete_all(str(name))

    def remove_abandoned(self) -> None:
        """Removes what writers left that are gone; a set that only kept its claim stays."""
        if next(iter(self._storage.list(layout.PARTIAL)), None) is None:
            return
        for name in claims.abandoned(self._storage, self._clock.now()):
            if not self._has_manifest(name):
                self._remove_unlisted(name)
            self._storage.delete_all(layout.takers_prefix(name))
            self._storage.delete(claims.key_of(name))
        for prefix in claims.unclaimed_takers(self._storage):
            self._storage.delete_all(prefix)

    def trash(self, name: SetName, now: datetime) -> None:
        """Puts the marker."""
        self._storage.put(layout.trash_key(name, now), b"")

    def trashed(self) -> Sequence[Trashed]:
        """The markers."""
        return markers(self._storage)

    def place(self, found: Trashed) -> str:
        """Its own name: the trash has the marker alone."""
        return str(found.name)

    def undelete(self, found: Trashed) -> None:
        """Removes the marker."""
        self._storage.delete(found.key)

    def removing(self, found: Sequence[Trashed]) -> None:
        """Drops their copies first: a copy never outlives its set."""
        for trashed in found:
            if trashed.state == "kept":
                self._storage.put(trashed.key, _REMOVING)
        if found:
            self.catalog.forget({trashed.name for trashed in found})

    def remove(self, found: Trashed) -> None:
        """Removes the objects of a set, the manifest first."""
        self._remove_objects(found.name)
        self._storage.delete_all(layout.marks_prefix(found.name))
        self._storage.put(found.key, _REMOVED)

    def removed(self) -> None:
        """Removes the markers of sets that nothing is listed of any more."""
        gone = [found for found in self.trashed() if found.state == "removed"]
        listed = set(self._storage.folders()) if gone else set[str]()
        for found in gone:
            if str(found.name) not in listed:
                self._storage.delete(found.key)
