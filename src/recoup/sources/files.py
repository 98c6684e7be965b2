"""A file, or a folder with all that is in it.

Nothing makes a plain folder stand still, so its parts come from an interval, and the manifest says so. Each file is watched
while it is read. A pointer file (`CURRENT`) is read before everything and compared after everything: when it moved meanwhile,
the capture has to be taken again, so that the pointer and what it points to agree.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from recoup.errors import SourceError, UnsafePathError
from recoup.model.events import Event, Level
from recoup.model.facts import Bracket, Facts, Value
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import checked_relative, shown
from recoup.model.part import Member, Part, StreamPart, TreePart
from recoup.sources import _folder, _placing
from recoup.sources._base import Existing, MovedError, Noted, Placement, Site, Source, SourceOptions
from recoup.sources._walking import (
    REPOSITORY,
    LiveFile,
    Note,
    Opened,
    Pinned,
    Rules,
    Walk,
    attributes_of,
    compiled,
    occupied,
    open_folder,
    read_pointer,
)
from recoup.system.tempdirs import remove_tree
from recoup.system.unpacking import Overwrite, write_tree


class Options(SourceOptions):
    """Settings of a file or folder."""

    path: Path = Field(description="The file or folder.")
    include: tuple[str, ...] = Field((), description="Patterns in gitignore syntax: back up only what matches.")
    exclude: tuple[str, ...] = Field((), description="Patterns in gitignore syntax: leave out what matches.")
    pointers: tuple[str, ...] = Field(
        (), description="Files in the folder that say which version is current: the backup agrees with them."
    )
    one_file_system: bool = Field(False, description="Leave out what is mounted inside the folder.")
    store_once: bool = Field(
        False, description="Large files that seldom change: what equals the copy in an earlier set shares it."
    )

    @field_validator("include", "exclude")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        compiled(patterns)
        return patterns

    @field_validator("pointers")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                checked_relative(name)
            except UnsafePathError as error:
                raise ValueError(error.message) from None
        return names


class RestoreOptions(BaseModel):
    """How a folder is restored to its own place. Without any of them what belongs to the backup is replaced, and kept beside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    overwrite: Overwrite | None = Field(None, description="Restore into the present folder: which files to replace.")
    delete: bool = Field(
        False, description="Restore into the present folder, and remove what the backup does not have."
    )


def _chosen(options: BaseModel) -> RestoreOptions:
    """The options of a restore; a plug that stands on this one may have more of them."""
    return options if isinstance(options, RestoreOptions) else RestoreOptions.model_validate(options.model_dump())


class FolderCapture:
    """A folder being read."""

    method = "read file by file while in use"
    engine = ""

    def __init__(self, source: "FilesSource", pointers: Mapping[str, tuple[str, bytes] | None]) -> None:
        self._source = source
        self._pointers = pointers
        self._noted = Noted()
        self._first = self._last = source.now()
        pinned = {name: Pinned(found[1]) for name, found in pointers.items() if found and found[0] == "file"}
        self._walk = source.walk(self._note, pinned)

    @property
    def frozen(self) -> Frozen:
        """From the reading of the pointers to the last file."""
        return _interval(self._first, self._last)

    def parts(self) -> Iterator[Part]:
        """The folder as one tree.

        Raises:
            MovedError: a pointer moved while the tree was read.
        """
        yield TreePart(".", self._members(), once=self._source.once)

    def _members(self) -> Iterator[Member]:
        yield from self._walk.members()
        self._last = self._source.now()
        moved = [name for name, said in self._source.read_pointers().items() if said != self._pointers[name]]
        if moved:
            names = ", ".join(map(shown, moved))
            raise MovedError(f"{names} moved while the folder was read", "Back up when the application publishes less.")

    def facts(self) -> Facts:
        """How many files, folders, links and bytes were read, and where the pointers lead."""
        return _facts(self._walk, self._pointers)

    def findings(self) -> Iterable[Finding]:
        """What was skipped or could not be read."""
        return self._noted.findings

    def brackets(self) -> tuple[Bracket, ...]:
        """None: the facts are of what was read."""
        return ()

    def close(self) -> None:
        """Closes the folder."""
        self._walk.close()

    def _note(self, what: str, item: str, message: str, *, harmless: bool = False) -> None:
        self._noted.add(what, item, message, harmless=harmless)
        self._source.tell(what, item, message)


class FileCapture:
    """A single file being read."""

    method = "read while in use"
    engine = ""

    def __init__(self, source: "FilesSource", path: Path) -> None:
        self._source = source
        self._first = self._last = source.now()
        self._folder = Opened(open_folder(str(path.parent)))
        self._content = LiveFile(self._folder, path.name)
        self._name = source.path.name
        self._path = path

    @property
    def frozen(self) -> Frozen:
        """While it was read."""
        return _interval(self._first, self._last)

    def parts(self) -> Iterator[Part]:
        """The file, under its name."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            attributes = attributes_of(descriptor)
        finally:
            os.close(descriptor)
        yield StreamPart(self._name, self._content, attributes=attributes, once=self._source.once)
        self._last = self._source.now()

    def facts(self) -> Facts:
        """How many bytes were read."""
        return Facts({"file": {"bytes": self._content.read}})

    def findings(self) -> Iterable[Finding]:
        """None of its own."""
        return ()

    def brackets(self) -> tuple[Bracket, ...]:
        """None: the facts are of what was read."""
        return ()

    def close(self) -> None:
        """Closes the folder around it."""
        self._folder.close()


class FilesSource:
    """One file or folder."""

    exact = True

    def __init__(self, options: Options, site: Site) -> None:
        self.options: SourceOptions = options
        self._options = options
        self._site = site
        self.path = Path(os.path.abspath(site.base / options.path.expanduser()))  # noqa: PTH100 - links stay

    def check(self) -> None:
        """Opens it.

        Raises:
            SourceError: it is not there, cannot be read, is neither file nor folder, or lacks a pointer.
        """
        if not self.present():
            raise SourceError(f"{self._shown} is not there", "See whether the path in the configuration is right.")
        if not self.path.is_dir() and not self.path.is_file():
            raise SourceError(f"{self._shown} is neither a file nor a folder")
        with _folder.explained(self.path):
            os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            if self.path.is_dir():
                self._check_folder()

    def _check_folder(self) -> None:
        if (self.path / REPOSITORY).exists():
            raise SourceError(f"{self._shown} is a Recoup repository", "Copy a repository with its own means.")
        missing = [name for name, said in self.read_pointers().items() if said is None]
        if missing and not self._options.allow_empty and any(self.path.iterdir()):
            names = ", ".join(map(shown, missing))
            raise SourceError(f"{self._shown} has no {names}", "Correct `pointers`, or set `allow_empty: true`.")

    def present(self) -> bool:
        """Whether there is something of that name.

        Raises:
            SourceError: it cannot be told.
        """
        with _folder.explained(self.path):
            return self.path.exists()

    def estimate(self) -> int:
        """Bytes of all files, holes left out."""
        if not self.path.is_dir():
            return occupied(self.path.stat()) if self.path.exists() else 0
        with contextlib.closing(self.walk(_folder.unnoted, reading=False)) as walk:
            for _ in walk.members():
                pass
            return walk.tally.occupied

    def settings(self) -> Mapping[str, Any]:
        """All settings; none is a secret."""
        return self._options.model_dump(mode="json", exclude={"kind"})

    @contextlib.contextmanager
    def capture(self) -> Iterator[FolderCapture | FileCapture]:
        """Begins to read it.

        Raises:
            SourceError: it cannot be read.
            EmptySourceError: it is a folder without anything to back up.
        """
        self.check()
        with _folder.explained(self.path):
            capture: FolderCapture | FileCapture
            if self.path.is_dir():
                self._require_something()
                capture = FolderCapture(self, self.read_pointers())
            else:
                capture = FileCapture(self, self.path.resolve())
        with contextlib.closing(capture):
            yield capture

    def recover(self) -> tuple[str, ...]:
        """Finishes or takes back a killed restore."""
        return _placing.recover(self.path)

    def existing(self) -> Existing:
        """What a restore to the configured path would meet."""
        place = str(self.path)
        if not self.path.exists():
            return Existing(place, present=False, description="nothing", consequence="It is created.")
        if self.path.is_symlink():
            refused = f"It is refused: name the place that the link leads to, {self.path.readlink()}."
            return Existing(place, present=True, description="symbolic link", consequence=refused)
        if not self.path.is_dir():
            description = f"file of {self.path.stat().st_size:,} bytes"
            return Existing(place, present=True, description=description, consequence=_folder.KEPT)
        entries = sum(1 for _ in self.path.iterdir())
        description = f"folder with {entries:,} {'entry' if entries == 1 else 'entries'}"
        left_out = self._options.include or self._options.exclude
        consequence = f"{_folder.KEPT} {_folder.STAYS}" if left_out else _folder.KEPT
        return Existing(place, present=True, description=description, consequence=consequence)

    def foresee(self, parts: Iterable[Part], options: BaseModel) -> Existing:
        """What a restore of these parts would meet and do: into a present folder, when the options say so."""
        found = self.existing()
        chosen = _chosen(options)
        if not found.present or not (chosen.overwrite or chosen.delete):
            return found
        if self.path.is_dir() and isinstance(next(iter(parts), None), TreePart):
            consequence = _folder.merging(chosen.overwrite or "always", delete=chosen.delete)
            return dataclasses.replace(found, consequence=consequence)
        return dataclasses.replace(found, consequence="It stays as it is.") if chosen.overwrite == "never" else found

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:
        """Puts the file or folder in its place; see `RestoreOptions`.

        Raises:
            UnsafePathError: the place is a symbolic link, or a name in the set leads outside.
            RefusedError: the folder holds a repository and would be replaced whole.
            DamagedError: the stored bytes are wrong.
            RestoreError: it failed. A folder that was to be replaced whole is as it was.
        """
        chosen = _chosen(options)
        remaining = iter(parts)
        part = _folder.first(remaining)
        if isinstance(part, TreePart) and self.path.is_dir() and (chosen.overwrite or chosen.delete):
            placement = self._merge(part, chosen)
            _folder.require_end(remaining)
            return placement
        if self.path.exists() and chosen.overwrite == "never":
            return Placement(f"{self.path} (left as it is)")
        if self.path.is_dir():
            _folder.refuse_inner_repository(self.path)
        return _placing.place(
            self.path,
            now=self.now(),
            write=lambda staged: _folder.write(part, staged, self._site),
            check=lambda _: _folder.require_end(remaining),  # the bytes were checked while they were written
            stays=lambda present: _folder.left_out(present, self._rules()),
        )

    def facts(self) -> Facts:
        """How many files, folders, links and bytes there are, and where the pointers lead.

        Raises:
            SourceError: it cannot be read.
        """
        self.check()
        with _folder.explained(self.path):
            if not self.path.is_dir():
                return Facts({"file": {"bytes": self.path.stat().st_size}})
            with contextlib.closing(self.walk(_folder.unnoted, reading=False)) as walk:
                for _ in walk.members():
                    pass
                return _facts(walk, self.read_pointers())

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        """A twin that is not there yet. Its patterns are empty: what was stored was chosen at the backup."""
        inner = Path(tempfile.mkdtemp(prefix="files-", dir=folder))
        changes = {"path": inner / self.path.name, "include": (), "exclude": (), "allow_empty": True}
        try:
            yield FilesSource(self._options.model_copy(update=changes), dataclasses.replace(self._site, base=inner))
        finally:
            remove_tree(inner)

    @property
    def once(self) -> bool:
        """Whether what did not change is stored once."""
        return self._options.store_once

    def now(self) -> datetime:
        """The present moment."""
        return self._site.clock.now()

    def tell(self, what: str, item: str, message: str) -> None:
        """Emits news of an item that was left out."""
        fields = {"source": self._site.name, "item": item, "what": what}
        sentence = f"{self._site.name}: {item} {message}"
        self._site.emit(Event(f"item_{what}", self.now(), sentence, Level.WARNING, fields=fields))

    def walk(self, note: Note, pinned: Mapping[str, Pinned] | None = None, *, reading: bool = True) -> Walk:
        """A walk over the folder, to be closed."""
        return Walk(open_folder(str(self.path)), self._rules(), note, pinned, reading=reading)

    def _rules(self) -> Rules:
        options, name = self._options, self.path.resolve().name
        staging = self._site.staging
        status = staging.stat() if staging.exists() else None
        return Rules(
            options.include,
            options.exclude,
            options.one_file_system,
            lambda entry: _placing.is_kept_name(entry, name),
            (status.st_dev, status.st_ino) if status else None,
        )

    def read_pointers(self) -> Mapping[str, tuple[str, bytes] | None]:
        """What each pointer says now.

        Raises:
            SourceError: one cannot be read.
        """
        if not self._options.pointers:
            return {}
        with _folder.explained(self.path):
            root = open_folder(str(self.path))
            try:
                return {name: read_pointer(root, name) for name in self._options.pointers}
            finally:
                os.close(root)

    @property
    def _shown(self) -> str:
        return shown(str(self.path))

    def _require_something(self) -> None:
        if not self._options.allow_empty:
            _folder.require_something(self.path, lambda note: self.walk(note, reading=False))

    def _merge(self, part: TreePart, options: RestoreOptions) -> Placement:
        target = _placing.resolved(self.path)
        spared = {*_folder.inner_repositories(self.path)}
        rules = Rules(self._options.include, self._options.exclude)
        excluded, included = rules.excluder(), rules.includer()

        def spare(name: str) -> bool:
            if name in spared or _placing.is_kept_name(name, target.name) or excluded(name) or excluded(f"{name}/"):
                return True
            return included is not None and (target / name).is_file() and not included(name)

        overwrite = options.overwrite or "always"
        _folder.say_refused(
            write_tree(part, target, overwrite=overwrite, delete=options.delete, spare=spare), self._site
        )
        return Placement(str(target))


def _interval(first: datetime, last: datetime) -> Frozen:
    """An interval also where the clock saw no time pass: nothing stood still at a moment."""
    return Frozen(first, max(last, first + timedelta(microseconds=1)))


def _facts(walk: Walk, pointers: Mapping[str, tuple[str, bytes] | None]) -> Facts:
    values: dict[str, Mapping[str, Value]] = {"folder": walk.tally.values()}
    for name, said in pointers.items():
        values[f"pointer {shown(name)}"] = {
            "leads to": said[1].decode(errors="replace").strip()[:200] if said else None
        }
    return Facts(values)


def connect(options: Options, site: Site) -> FilesSource:
    """The source that the settings describe."""
    return FilesSource(options, site)
