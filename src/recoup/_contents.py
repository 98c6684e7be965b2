"""Looking into a stack's sets, and taking them out of their repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from recoup._found import StackWithSets
from recoup.errors import DamagedError, RecoupError
from recoup.system.destinations import checked_destination

if TYPE_CHECKING:
    from recoup.model.manifest import Manifest
    from recoup.model.marks import Mark
    from recoup.model.reports import ExportReport, ManifestFile, SetInfo
    from recoup.operations.contents import Entry
    from recoup.operations.diff import DiffReport
    from recoup.operations.exporting import Plan as ExportPlan
    from recoup.operations.stats import RepositoryStats
    from recoup.repository._base import Repository


class StackWithContents(StackWithSets):
    """A configured stack that shows what is in its sets, and gives it out."""

    # --- looking ------------------------------------------------------------------------------------------------------

    def entries(self, text: str = "latest", path: str = "", *, wait_lock: float = 0.0) -> "Iterator[Entry]":
        """What is in a set: its parts, or what is at a path and below it. Only what is asked for is read, where that can be.

        Args:
            text: a set; a word or a time means the newest one that has a good copy of the path's source.
            path: `SOURCE`, `SOURCE/PART`, or that and what is inside a tree or an archive; empty means all parts.
            wait_lock: seconds to wait for a lock.

        Raises:
            UsageError: there is no such thing in the set.
            DamagedError: what is stored is damaged.
        """
        from recoup.operations import contents

        manifest, info = self._holding(text, path)
        with self._locked("look", wait_lock) as reading:
            yield from contents.entries(reading(info.repository), self._parsed(info.name), manifest, path)

    def read(
        self, text: str, path: str, first: int = 0, last: int | None = None, *, wait_lock: float = 0.0
    ) -> Iterator[bytes]:
        """The bytes of one file of a set: of a stream, or of a member of a tree or of an archive.

        Args:
            text: a set; a word or a time means the newest one that has a good copy of the path's source.
            path: `SOURCE/PART`, or that and what is inside a tree or an archive.
            first: the first byte, from 0.
            last: the last byte; the end by default.
            wait_lock: seconds to wait for a lock.

        Raises:
            UsageError: there is no such file in the set, or it does not have these bytes.
            DamagedError: what is stored is damaged; what came before is not to be relied on.
        """
        from recoup.operations import contents

        manifest, info = self._holding(text, path)
        with self._locked("look", wait_lock) as reading:
            wanted = contents.Range(first, last)
            yield from contents.read(reading(info.repository), self._parsed(info.name), manifest, path, wanted)

    def manifest_file(self, text: str = "latest") -> "ManifestFile":
        """A set's manifest as a file that a person can keep.

        Args:
            text: a set.

        Raises:
            WrongKeyError: it is encrypted, and what is configured does not open it.
            RefusedError: it is damaged.
        """
        from recoup.model.manifest import encode
        from recoup.model.reports import ManifestFile

        info = self._copies(text)[0]
        manifest, repository = self._manifest(info), self._at(info.repository)
        stored = repository.manifest_as_stored(self._parsed(info.name))
        return ManifestFile(info.name, stored or encode(manifest), as_stored=stored is not None)

    def manifest(self, text: str = "latest") -> "Manifest":
        """A set's manifest, with what is encrypted of it.

        Args:
            text: a set.

        Raises:
            WrongKeyError: it is encrypted, and what is configured does not open it.
            RefusedError: it is damaged.
        """
        return self._whole_copy(self._copies(text))[0]

    def marks(self, info: "SetInfo") -> "tuple[Mark, ...]":
        """What was learned about a set after it was stored, the newest first.

        Args:
            info: from `sets` or `show`.
        """
        found = self._at(info.repository).marks(self._parsed(info.name))
        return tuple(sorted(found, key=lambda mark: mark.time, reverse=True))

    def proofs(self) -> "Iterator[tuple[str, str, Mark]]":
        """What drills and verifications noted at the sets: repository, set, and mark, in no promised order. Why a repository has
        none of it to tell is in `unread`.
        """
        self.unread = ()
        for place in self._nearest:
            try:
                repository = self._at(place)
                repository.check()
                overview = repository.overview()
                for name in overview.names:
                    yield from ((place, str(name), mark) for mark in overview.marks(name) if mark.kind == "proof")
            except (RecoupError, OSError) as error:
                self.unread = (*self.unread, f"{place} cannot be read: {error}")

    def trashed(self) -> "dict[str, tuple[str, ...]]":
        """The sets in the trash, the newest first, by the repository that has them. What could not be read is in `unread`."""
        found: dict[str, tuple[str, ...]] = {}
        self.unread = ()
        for place in self._nearest:
            try:
                repository = self._at(place)
                repository.check()
                found[place] = tuple(map(str, sorted(repository.trashed(), reverse=True)))
            except (RecoupError, OSError) as error:
                self.unread = (*self.unread, f"the trash of {place} cannot be read: {error}")
        return found

    def _holding(self, text: str, path: str) -> "tuple[Manifest, SetInfo]":
        """The nearest copy of the set that a person means, where a path in it is to be read."""
        from recoup.operations import contents

        source, _ = contents.split(path)
        manifest, info, _ = self._whole_copy(self._copies(text, [source] if source else None))
        return manifest, info

    # --- comparing and measuring --------------------------------------------------------------------------------------

    def diff(self, before: str, after: str = "latest", *, wait_lock: float = 0.0) -> "DiffReport":
        """What changed from one set to another. Contents are not read: what is known of them is compared.

        Args:
            before: a set.
            after: another one.
            wait_lock: seconds to wait for a lock.

        Raises:
            DamagedError: what says what is in a set is damaged.
        """
        from recoup.operations import diff

        left, right = self._copies(before), self._copies(after)
        near = next((one for one in left if one.repository == right[0].repository), left[0])  # there they share chunks
        with self._locked("diff", wait_lock) as reading:
            one, other = (diff.Side(reading(i.repository), self._whole_manifest(i)) for i in (near, right[0]))
            return diff.run(one, other)

    def stats(self, *, wait_lock: float = 0.0) -> "list[RepositoryStats]":
        """What the sets of each repository hold, and what they take. Repositories that cannot be read are in `unread`.

        Args:
            wait_lock: seconds to wait for a lock.
        """
        from recoup.operations import nearest, stats

        infos, failures = nearest.looked_into({name: self._reader(name) for name in self._nearest}, self._clock.now())
        self.unread = tuple(nearest.left_out(failures))
        names = [name for name in self._nearest if name not in failures]
        with self._locked("stats", wait_lock) as reading:
            return [stats.run(reading(name), [info for info in infos if info.repository == name]) for name in names]

    # --- export -------------------------------------------------------------------------------------------------------

    def plan_export(self, text: str, to: str) -> "ExportPlan":
        """What an export would do; changes nothing.

        Args:
            text: a set.
            to: a folder, which becomes a plain repository with this set or is one that gets it; a file that ends in `.tar`;
                or `-`, a tar on standard output.

        Raises:
            RefusedError: there is such a file already.
        """
        from recoup.operations import exporting

        info = self._copies(text)[0]
        manifest = self._whole_manifest(info)
        settings = self._settings_of(info.repository)
        sealed = manifest.sealing is not None or settings.layout == "dedup"
        target = None if to == "-" else checked_destination(to, self._cwd)
        return exporting.plan(info, target, was_sealed=sealed)

    def export(
        self,
        plan: "ExportPlan | None" = None,
        *,
        set: str = "latest",  # noqa: A002 - the noun of the field
        to: str = "",
        wait_lock: float = 0.0,
        output: IO[bytes] | None = None,
    ) -> "ExportReport":
        """Writes a set as a plain repository, unencrypted, with its pins, proofs and notes. Every byte is checked on the way.

        Args:
            plan: from `plan_export`; made from the other arguments when None.
            set: a set.
            to: see `plan_export`.
            wait_lock: seconds to wait for a lock.
            output: where a tar for standard output goes.

        Raises:
            DamagedError: what is stored of the set is damaged; nothing was exported.
        """
        from recoup.operations import exporting

        plan = plan or self.plan_export(set, to)
        with self._locked("export", wait_lock) as reading, self._emitting() as emit:
            around = exporting.Around(
                reading(plan.repository), self._plain_at, self._clock, emit, spool=self._spool, output=output
            )
            try:
                return exporting.run(plan, around)
            except DamagedError as error:
                raise DamagedError(
                    f"{error.message}; nothing was exported", self._another(plan) or error.hint
                ) from None

    def _plain_at(self, folder: Path) -> "Repository":
        """A plain repository, unencrypted and uncompressed."""
        from recoup.repository.opening import open_repository
        from recoup.system.plugs import load

        storage = load("recoup.storage", "local").connect(folder)
        return open_repository(str(folder), storage, "tree", "none", None, self._clock)

    def _another(self, plan: "ExportPlan") -> str:
        """Where else there is a copy of the set."""
        others = [info.repository for info in self._copies(plan.info.name) if info.repository != plan.repository]
        return f"There is another copy: -r {others[0]}." if others else ""
