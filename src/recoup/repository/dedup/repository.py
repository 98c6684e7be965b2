"""The dedup repository: sets as folders of the plain layout, their content as chunks in packs (`docs/format.md`)."""

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import blake3

from recoup.errors import DamagedError, NoSuchSetError, RecoupError, RefusedError, StorageError, WrongKeyError
from recoup.model.manifest import Manifest, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.part import Part
from recoup.model.sharing import Reclaim
from recoup.repository._base import (
    ChunkSum,
    JoinedWriter,
    KeyProof,
    Listed,
    Overview,
    Repository,
    SetWriter,
    Subset,
    Ticket,
    Verification,
)
from recoup.repository.dedup import keyslots, sets, slots
from recoup.repository.dedup.far import FarRepository
from recoup.repository.dedup.keys import Keys, new_keys, owner_keys
from recoup.repository.dedup.names import INDEX, RECIPES
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.recipes import Recipe, unseal
from recoup.repository.dedup.record import Record, decode_record
from recoup.repository.dedup.unlocking import Unlocking
from recoup.repository.dedup.writers import Makers
from recoup.repository.plain import layout
from recoup.repository.plain.catalog import Copies
from recoup.repository.plain.folder import Style
from recoup.repository.plain.once import nothing_earlier
from recoup.repository.plain.repository import MOMENT
from recoup.storage._base import Storage
from recoup.system.clock import Clock
from recoup.system.host import this_host

if TYPE_CHECKING:
    from recoup.repository.dedup.caching import Kept
    from recoup.repository.dedup.damaged import Damaged
    from recoup.repository.dedup.guarding import Guard
    from recoup.repository.dedup.healing import DedupHealing
    from recoup.repository.dedup.index import Index
    from recoup.repository.dedup.near import NearPacks
    from recoup.repository.dedup.pack_checks import Checked
    from recoup.repository.dedup.parts import Place
    from recoup.repository.dedup.reclaiming import Reclaiming
    from recoup.repository.dedup.replicating import DedupReplication
    from recoup.repository.dedup.storing import Run
    from recoup.repository.dedup.viewing import View
    from recoup.repository.dedup.writing import DedupSetWriter

_NAMED = 3  # names in a sentence
_TAKE = "Take `keys_of` away, or name a repository of `layout: dedup`."


class DedupRepository(FarRepository):
    """Sets whose content is cut into chunks; a chunk that is there is not stored again, and all is encrypted.

    Args:
        name: what the configuration calls it.
        storage: where.
        options: how it is opened, and how it stores.
        clock: time.
        cache: folder for what saves reading the index again; None keeps nothing.
        unlocking: is opening the keys already.
    """

    LAYOUT = "dedup"

    def __init__(
        self,
        name: str,
        storage: Storage,
        options: DedupOptions,
        clock: Clock,
        cache: Path | None,
        unlocking: Unlocking | None = None,
    ) -> None:
        super().__init__(name, storage, Style(), clock)
        self.options, self._cache = options, cache
        self._checked: Checked | None = None
        self._place: tuple[SetName, Place] | None = None
        self._shared: tuple[frozenset[SetName], Index] | None = None
        self._record: Record | None = None
        self._unlocking = unlocking
        self.forget()

    @property
    def shares(self) -> bool:
        """Everything takes its space once."""
        return True

    # --- the repository itself ----------------------------------------------------------------------------------------

    def create(self) -> None:
        """Makes an empty repository, with a keyslot for each secret that is configured."""
        self._create(new_keys(secrets.token_hex(16)))

    def create_like(self, other: Repository) -> None:
        """Makes an empty repository with the keys of another one, and an id and keyslots of its own."""
        if not isinstance(other, DedupRepository):
            raise RefusedError(
                f"{other.name} has no keys that {self.name} could have: its layout is another one", _TAKE
            )
        if (private := other.keys.private) is None:
            raise WrongKeyError(
                f"{self.name} is to have the keys of {other.name}, and this host cannot read {other.name}",
                "Make it on a host with a passphrase, key file or identity of that one.",
            )
        self._create(owner_keys(secrets.token_hex(16), private, other.keys.dedup))

    def _create(self, keys: Keys) -> None:
        self._storage.check_access(slots.FOLDER)
        if self._exists():
            raise RefusedError(f"{self.location} is a repository already", "Nothing was changed.")
        self._require_empty(besides=slots.FOLDER)
        made = keyslots.create(self._storage, keys, self.options, this_host().name, self._clock.now())
        try:
            self._put_record({**self._new_record(keys.repository), **Record.of(keys).shape})
        except BaseException:
            for slot in made:
                self._storage.delete(slot.key)
            raise

    @property
    def record(self) -> Record:
        """What it says of itself.

        Raises:
            NoRepositoryError, RefusedError: as `check`.
        """
        if self._record is None:
            self.check()
        return cast("Record", self._record)

    def check(self) -> None:
        """Looks whether it is there and of a known format."""
        lately = self._unlocking.record(MOMENT) if self._unlocking is not None else None
        self._record = lately or decode_record(self._stored_record(), self.location)
        if lately is None and self._unlocking is not None:
            self._unlocking.note(self._record)
        self._checked_at = self._clock.monotonic()

    @cached_property
    def keys(self) -> Keys:
        """Its keys, as far as what is configured opens them.

        Raises:
            WrongKeyError: it opens none.
        """
        found = self._unlocking.keys() if self._unlocking is not None else None
        if found is None or not self.record.fits(found):
            found = keyslots.open_keys(self._storage, self.record, self.options)
            if self._unlocking is not None:
                self._unlocking.keep(found)
        return found

    def damaged_keyslots(self) -> list[str]:
        """A sentence for each keyslot that cannot be read. It takes no key."""
        return [error.message for _, error in keyslots.shelf(self._storage, self.record).damaged]

    @cached_property
    def _makers(self) -> Makers:
        return Makers(self._storage, self.record)

    def index(self) -> "Index":
        """All that its index files say now."""
        return self._index_on(self._storage)

    def _index_on(self, storage: Storage) -> "Index":
        from recoup.repository.dedup.index import Index

        return Index.load(storage, self.keys, self._cache)

    def kept(self) -> "Kept | None":
        """What this host keeps of it; None where it keeps nothing."""
        from recoup.repository.dedup.caching import Kept

        if self._cache is None:
            return None
        return Kept(self.name, self._storage, self.keys, self._cache, self.all_names)

    def overview(self, *, copies: bool = True) -> Overview:
        """All sets at once. Raises WrongKeyError where nothing opens the repository: not a set of it could be read."""
        _ = self.keys
        return super().overview(copies=copies)

    # --- sets ---------------------------------------------------------------------------------------------------------

    def _read(self, name: SetName, copies: Copies) -> Manifest:
        """A manifest, from copies of its objects where there are some."""
        key = f"{name}/{layout.MANIFEST}"
        try:
            data = copies.get(key) or self.manifest_file(name)
        except FileNotFoundError:
            if name in self.names():
                raise RefusedError(f"{name} has lost its manifest.json", "Restore from another set.") from None
            raise self._no_such(name) from None
        known = (name, data, False)
        if known not in self._opened:
            header = sets.decode_header(data, self.keys.repository, key)
            self._makers.require(header.made_by, key)
            self._opened[known] = sets.open_manifest(header, self.keys, key)
        return self._opened[known]

    def manifest_as_stored(self, name: SetName) -> None:
        """None: each is encrypted."""

    def whole(self, manifest: Manifest) -> Manifest:
        """The manifest: nothing of it lies elsewhere."""
        return manifest

    def can_open(self, name: SetName) -> bool:
        """Whether this host can read what is stored."""
        self.header(name)
        return self.keys.can_read

    def header(self, name: SetName) -> sets.Header:
        """The open part of a set's file.

        Raises:
            NoSuchSetError: there is no such set.
            RefusedError: it is damaged or of an unknown version.
        """
        key = f"{name}/{layout.MANIFEST}"
        try:
            return sets.decode_header(self.manifest_file(name), self.keys.repository, key)
        except FileNotFoundError:
            raise self._no_such(name) from None

    def prove_keys(self) -> KeyProof:
        """Seals a probe by a new run's key, opens it again where this host can, and the newest set's key."""
        keys, probe = self.keys, secrets.token_bytes(64)
        made = keys.new_run()
        sealed = made.seal(0, 0, probe, b"probe")
        if not keys.can_read:
            return KeyProof(self.name, "writer-key", (keys.public.hex(),), opens=False)
        if keys.open_run(made.sealed, "the probe").open(0, 0, sealed, b"probe", "the probe") != probe:
            raise WrongKeyError("what was sealed as a probe came back as something else", "Do not use these keys.")
        return KeyProof(self.name, "dedup", (keys.public.hex(),), opens=True, newest=self._newest_opened())

    def _newest_opened(self) -> str:
        for name in reversed(self.names()):
            try:
                self.manifest(name)
            except WrongKeyError:
                raise
            except (RecoupError, OSError):
                continue  # damaged, which `verify` tells
            return str(name)
        return ""

    @contextlib.contextmanager
    def begin(self, moment: datetime, stack: str = "") -> Iterator[SetWriter]:  # noqa: ARG002 - all stacks share chunks
        """Begins a set."""
        with self.begun(moment, deltas=True) as writer:
            yield writer

    @contextlib.contextmanager
    def begun(self, moment: datetime, *, deltas: bool) -> "Iterator[DedupSetWriter]":
        """Begins a set.

        Args:
            moment: of the backup.
            deltas: whether new chunks may be stored against others, where that is possible.
        """
        from recoup.repository.dedup.guarding import Guard
        from recoup.repository.dedup.writing import DedupSetWriter

        self._check_lately()
        for tidy in (self.tidy, self.remove_abandoned):
            with contextlib.suppress(StorageError):  # who may not delete can still back up; prune says what is left
                tidy()
        run = self._run(deltas=deltas and self._uses_deltas())
        guard = Guard(run, self._clock, self.options.grace)
        writer = partial(DedupSetWriter, run, guard.look)
        try:
            with self._sets.begin(SetName.at(moment), self._style, nothing_earlier, writer) as writing:
                made = cast("DedupSetWriter", writing)
                yield made
            if made.is_there:
                self._look_again(guard, made.name)
                self._saw(str(made.name), *(f"{INDEX}/{name}" for name in run.index_files))
        except BaseException:
            with contextlib.suppress(RecoupError, OSError):
                run.close()
            raise
        run.close()

    def _look_again(self, guard: "Guard", name: SetName) -> None:
        """Takes a set back that appeared too late for its chunks to stay."""
        try:
            guard.look_again()
        except StorageError:
            self._sets.trash(name, self._clock.now())
            gone = [found for found in self._sets.trashed() if found.name == name]
            self._sets.removing(gone)
            for found in gone:
                self._sets.remove(found)
            self._sets.removed()
            if self.keys.can_read:  # nobody else's word about a removal is believed
                self._reclaiming().tell_removed([name])
            raise

    def _require_not_back(self, index: "Index") -> None:
        """Demands that the storage shows nothing older than this host saw."""
        from recoup.repository.dedup.going_back import gone_back

        kept = self.kept()
        gone = gone_back(self._storage, kept.cache, index, kept.sets()) if kept is not None else ()
        if gone:
            raise RefusedError(
                f"the storage of {self.name} shows an older state than this host saw: {len(gone)} names are gone that nobody "
                f"removed, {', '.join(map(shown, gone[:_NAMED]))} among them. Nothing was changed",
                "Somebody put back an old copy, or removed files by other means. `recoup verify` tells what is left, `recoup "
                "repair` makes a lost index anew; `recoup cache --accept` takes what is there for right.",
            )

    def _saw(self, *names: str) -> None:
        from recoup.repository.dedup.going_back import saw

        if (kept := self.kept()) is not None:
            saw(kept.cache, names)

    def index_for_writing(self) -> "Index":
        """What index files say now, without the packs that are not there.

        Raises:
            RefusedError: the storage shows an older state than this host saw.
        """
        from recoup.repository.dedup.pack_checks import lost_packs

        there = self.there()
        index = self._index_on(there)
        self._require_not_back(index)
        if lost := lost_packs(there, index):
            index.lose(lost)
        self._look = None  # the next run has to see what this one stores
        return index

    def _run(self, *, deltas: bool) -> "Run":
        from recoup.repository.dedup.storing import Run

        index, matcher = self.index_for_writing(), None
        if deltas:
            from recoup.repository.dedup.bases import Matcher

            matcher = Matcher(self.keys.anchor_key, index)
        return Run(self.writing(), self.keys, index, self._clock, matcher, self._near)

    def replication(self, origin: Repository) -> "DedupReplication | None":
        """What copies sets of a repository with the same keys; None for another one."""
        from recoup.repository.dedup.replicating import DedupReplication

        if not isinstance(origin, DedupRepository) or not self.keys.are_those_of(origin.keys):
            return None
        return DedupReplication(origin, origin._storage, self)  # noqa: SLF001 - another one of us

    def _uses_deltas(self) -> bool:
        """Deltas read the chunks that they build on: not on a host that cannot, nor over a network, unless copies of packs are
        kept near or it is asked for."""
        if not self.keys.can_read or self.options.delta == "off":
            return False
        return self.options.delta == "on" or not self.is_remote or self._near is not None

    @cached_property
    def _near(self) -> "NearPacks | None":
        """Copies of packs on this machine; None where they would save nothing, or none are wanted."""
        if not self.is_remote or not self.options.cache or self._cache is None:
            return None
        from recoup.repository.dedup.near import NearPacks

        return NearPacks.of(self._cache, self.keys.repository, self.options.cache)

    def join(self, ticket: Ticket) -> JoinedWriter:  # noqa: ARG002 - refused for every set
        """Refused: another machine would have to get the set's key."""
        raise RefusedError("workers cannot store into a dedup repository", "Back up without workers.")

    def place(self, name: SetName) -> "Place":
        """Where the parts of a set are read from.

        Raises:
            NoSuchSetError, RefusedError, WrongKeyError: as `manifest`.
            DamagedError: its recipes are not what was stored.
        """
        from recoup.repository.dedup.parts import Place
        from recoup.repository.dedup.reading import Chunks

        if self._place is None or self._place[0] != name:
            index, header = self.index_for(name), self.header(name)
            chunks = Chunks(self._storage, self.keys, index.as_seen_by(header.made_by))
            self._place = name, Place(chunks, self._recipes_of(name, header), self.keys.stream_key)
        return self._place[1]

    def index_for(self, name: SetName) -> "Index":
        """An index that was read after a set appeared; one serves all sets that were there by then."""
        if self._shared is None or name not in self._shared[0]:
            names, there = self.seen_with(name)
            self._shared = frozenset((*names, name)), self._index_on(there)
        return self._shared[1]

    def recipes(self, name: SetName) -> dict[str, Recipe]:
        """The recipes of a set. Raises as `place` does."""
        return self._recipes_of(name, self.header(name))

    def _recipes_of(self, name: SetName, header: sets.Header) -> dict[str, Recipe]:
        item = f"{name}/{RECIPES}"
        data = self._sealed_recipes(name, header)
        key = self.keys.open_run(header.key, item)
        return unseal(data, key, sets.identity(header.run, self.keys.repository), item)

    def sealed_recipes(self, name: SetName) -> bytes:
        """The recipes of a set as they lie there, compared with what its maker signed. Every host can.

        Raises:
            NoSuchSetError, RefusedError: as `header`; or the maker is nobody who was let in.
            DamagedError: they are not what was stored.
        """
        return self._sealed_recipes(name, self.header(name))

    def _sealed_recipes(self, name: SetName, header: sets.Header) -> bytes:
        item = f"{name}/{RECIPES}"
        self._makers.require(header.made_by, f"{name}/{layout.MANIFEST}")
        try:
            data = sets.fetched(self._storage, item, DamagedError)
        except FileNotFoundError:
            raise DamagedError(f"{item} is missing from the repository", "Restore from another set.") from None
        if blake3.blake3(data).hexdigest() != header.recipes:
            raise DamagedError(f"{item} is not what was stored", "Restore from another set.")
        return data

    def chunks_of(self, names: Sequence[SetName], without: Sequence[SetName] = ()) -> ChunkSum:
        """The chunks that some sets use and others do not, each counted once."""
        from recoup.repository.dedup.measuring import measured
        from recoup.repository.dedup.stock import Stock

        stock = Stock(self.index().tables)
        return measured(stock, map(self.recipes, names), map(self.recipes, without))

    def all_bytes(self) -> int:
        """Bytes of everything that lies in the repository."""
        return sum(found.size for found in self._storage.list())

    def fetch(self, name: SetName, source: str, part: StoredPart) -> Part:  # noqa: ARG002 - other layouts need the source
        """A stored part; reading it checks its bytes."""
        from recoup.repository.dedup.parts import part_of

        return part_of(self.place(name), part)

    def listed(self, name: SetName, part: StoredPart) -> Iterator[Listed]:
        """The members of a stored tree, without their content."""
        from recoup.repository.dedup.parts import member_lines

        return (line for line, _ in member_lines(self.place(name), part))

    def verify(self, name: SetName, subset: Subset, advance: Callable[[int], None] | None = None) -> Verification:
        """Reads the packs that a set needs; what another set's verification has read is not read again."""
        from recoup.repository.dedup.pack_checks import Checked
        from recoup.repository.dedup.verifying import DedupVerification

        if self._checked is None:
            self._checked = Checked()
        return DedupVerification(self, self._storage, name, subset, self._checked, advance or (lambda _: None))

    def note_damaged(self, chunks: "Iterable[Damaged]") -> None:
        """Has the next backup store chunks again, where this host may say so: a verification goes on without."""
        from recoup.repository.dedup.damaged import write_damaged

        with contextlib.suppress(StorageError, OSError):
            write_damaged(self._storage, self.keys, self._clock.now(), chunks)

    def healing(self) -> "DedupHealing":
        """Puts back what is missing of its sets. Raises WrongKeyError where this host can only add sets."""
        from recoup.repository.dedup.healing import DedupHealing

        if not self.keys.can_read:
            raise WrongKeyError(f"{self.name} cannot be mended on this host", "Use a host that can read sets.")
        return DedupHealing(self, self._storage, self.keys, self._clock)

    def forget(self) -> None:
        """Reads all anew from now on: sets and packs have changed."""
        super().forget()
        self._checked, self._place, self._shared = None, None, None

    def size_of(self, name: SetName, path: str) -> int:
        """Bytes of a file of a set; 0 when it is not there."""
        try:
            return self.at_lock().size(f"{name}/{path}")
        except FileNotFoundError:
            return 0

    def paths_of(self, name: SetName) -> Iterator[str]:
        """The files in a set's folder."""
        return (found.key.removeprefix(f"{name}/") for found in self.at_lock().list(str(name)))

    def delete(self, names: Sequence[SetName], *, keep_days: float = 0.0, at_once: bool = False) -> Reclaim:
        """Moves sets to the trash, empties it of what is old enough, and prunes chunks."""
        reclaiming = self._reclaiming()
        self._require_not_back(self._index_on(self.there()))
        self.forget()
        self._require_deletable(names)
        reclaiming.tell_removed(names)  # who sees that they are gone has to see why
        self._delete(names, keep_days)
        return reclaiming.prune(at_once=at_once)

    def sharing(self) -> "View":
        """Which sets use which chunks, now."""
        return self._reclaiming().view()

    def _reclaiming(self) -> "Reclaiming":
        from recoup.repository.dedup.reclaiming import Reclaiming

        if not self.keys.can_read:
            raise RefusedError(
                f"this host only adds sets to {self.name}: it cannot tell what is in use, so nothing was removed",
                "Delete and prune on a host with a passphrase, key file or identity.",
            )
        return Reclaiming(self._storage, self.keys, self._clock, self.options, self._cache, self._look_anew, self._sets)

    def trashed_bytes(self) -> int:
        """What only sets in the trash use that can be removed now, and their own files."""
        removable = [name for name in self.trashed() if self.locked_until(name) is None]
        return super().trashed_bytes() + (self.sharing().alone(removable, trashed=True) if removable else 0)

    @property
    def staging(self) -> None:
        """None: staged copies are not encrypted."""
        return None

    def _no_such(self, name: SetName) -> NoSuchSetError:
        return NoSuchSetError(f"there is no set {name} in {self.name}", "`recoup list` shows those there are.")
