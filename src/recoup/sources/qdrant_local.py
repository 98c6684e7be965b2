"""The folder of Qdrant's local mode (`QdrantClient(path=...)`), captured while its owner has it open.

All collections are held by read transactions at one moment and copied by SQLite's online backup; `meta.json` is read before
and after and has to be the same. Points are pickles: they are read in a child of its own, which runs nothing that they say
(`_pickled_points`). All of it happens in child processes: this process opens no SQLite file (`_sqlite_files` tells why).
"""

import contextlib
import dataclasses
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from recoup.errors import BusyError, DamagedError, RestoreError, SourceError, UnsafePathError
from recoup.model.facts import Bracket, Facts, Probe, Value
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import shown
from recoup.model.part import Attributes, Part, StreamPart
from recoup.sources import _pickled_points, _placing, _qdrant_folder
from recoup.sources._base import Existing, NoRestoreOptions, Placement, Site, Source, SourceOptions
from recoup.sources._qdrant_folder import COLLECTIONS, LOCK, META, STORAGE, storage_name
from recoup.sources._sqlite_files import errors_of_child
from recoup.sources._staged import StagedFile
from recoup.system.atomicfile import make_private_folder
from recoup.system.filesystem import holders
from recoup.system.subprocesses import Child, ChildFailedError, call, child
from recoup.system.tempdirs import remove_tree
from recoup.system.unpacking import write_part

_PART = re.compile(rf"{re.escape(META)}|{COLLECTIONS}/[^/\0]+/{re.escape(STORAGE)}", re.DOTALL)


class Options(SourceOptions):
    """Settings of a folder of Qdrant's local mode."""

    path: Path = Field(description="The folder given to QdrantClient(path=...).")
    collections: tuple[str, ...] = Field(
        ("*",),
        description="Patterns of the collections to take; a leading ! excludes. Each pattern has to match something.",
    )
    busy_timeout: float = Field(30.0, ge=0, description="Seconds to wait for a writer that holds a collection.")


RestoreOptions = NoRestoreOptions


@dataclass
class QdrantLocalCapture:
    """Collections that were all frozen at one moment, staged as copies."""

    frozen: Frozen
    staged: Mapping[str, Any]
    folder: Path
    attributes: Attributes
    seed: int
    described: Facts | None = None
    method: str = "online backup of all collections in read transactions, staged while writers waited"
    engine: str = "qdrant-client local mode"

    def parts(self) -> Iterator[Part]:
        """`meta.json`, then the SQLite file of each collection.

        Raises:
            SourceError: a collection is damaged, or holds a point that cannot be read safely.
        """
        # Facts come first: whoever stores a copy may move it away.
        self.described = _described(self.staged["collections"], self.staged["aliases"], self.seed, self.folder)
        yield _part(META, Path(self.staged["meta"]), self.attributes)
        for entry in self.staged["collections"]:
            mode_and_time = entry["attributes"]
            attributes = Attributes(*mode_and_time) if mode_and_time else None
            yield _part(storage_name(entry["collection"]), Path(entry["file"]), attributes)

    def facts(self) -> Facts:
        """Points, their ids and content, vectors, aliases, and probes with their exact answers."""
        return self.described or Facts()

    def findings(self) -> Iterable[Finding]:
        """None: a collection is captured whole, or the source fails."""
        return ()

    def brackets(self) -> tuple[Bracket, ...]:
        """Points of the live collections from the freeze until after the copy."""
        found = self.facts().values
        brackets = []
        for entry in self.staged["collections"]:
            subject = _subject(entry["collection"])
            outdated = found.get(subject, {}).get("outdated rows")  # rows which the client itself does not count
            low = entry["low"] - (outdated if isinstance(outdated, int) else 0)
            brackets.append(Bracket(subject, "points", low, entry["high"]))
        return tuple(brackets)


class QdrantLocalSource:
    """One folder of Qdrant's local mode."""

    exact = False

    def __init__(self, options: Options, site: Site) -> None:
        self.options: SourceOptions = options
        self._options = options
        self._site = site
        self._path = Path(os.path.abspath(site.base / options.path.expanduser()))  # noqa: PTH100 - links stay

    def check(self) -> None:
        """Reads `meta.json` and looks for the collections' files.

        Raises:
            SourceError: something is missing, or cannot be read.
        """
        self._require_folder()
        with errors_of_child():
            call(_qdrant_folder.look, str(self._path), list(self._options.collections), self._options.allow_empty)

    def present(self) -> bool:
        """Whether there is something of that name."""
        return self._path.exists()

    def estimate(self) -> int:
        """Bytes of `meta.json` and of all collections' files."""
        files = [self._path / META, *self._storages()]
        return sum(file.stat().st_size for file in files if file.is_file())

    def settings(self) -> Mapping[str, Any]:
        """All settings; none is a secret."""
        return self._options.model_dump(mode="json", exclude={"kind"})

    @contextlib.contextmanager
    def capture(self) -> Iterator[QdrantLocalCapture]:
        """Freezes all collections at one moment, and stages their copies.

        Raises:
            SourceError: it cannot be read.
            EmptySourceError: a pattern matches no collection.
        """
        self._require_folder()
        folder = Path(tempfile.mkdtemp(prefix="qdrant-", dir=self._site.staging))
        options = self._options
        try:
            with child(
                _qdrant_folder.hold,
                str(self._path),
                str(folder),
                list(options.collections),
                options.busy_timeout,
                options.allow_empty,
            ) as process:
                capture = self._frozen(process, folder)
            yield capture
        finally:
            remove_tree(folder)

    def _frozen(self, process: Child, folder: Path) -> QdrantLocalCapture:
        with errors_of_child():
            process.answer()
            now = self._site.clock.now()
            staged = process.ask("copy")
        status = (self._path / META).stat()
        attributes = Attributes(status.st_mode & 0o7777, status.st_mtime_ns)
        return QdrantLocalCapture(Frozen(now, now), staged, folder, attributes, self._site.seed)

    def recover(self) -> tuple[str, ...]:
        """Finishes or takes back a killed restore."""
        return _placing.recover(self._path)

    def existing(self) -> Existing:
        """What a restore to the configured path would replace."""
        if not self._path.exists():
            return Existing(str(self._path), present=False, description="nothing", consequence="It is created.")
        description = f"folder with {len(self._storages())} collections, {self.estimate():,} bytes"
        consequence = (
            "The whole folder is kept beside the restored one, as NAME.before-restore-TIME; "
            "collections that the set does not hold are in the kept one alone."
        )
        return Existing(str(self._path), present=True, description=description, consequence=consequence)

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:  # noqa: ARG002 - it has none
        """Writes the folder beside its place, checks it, and swaps.

        Raises:
            BusyError: a client has the present folder open.
            DamagedError: the stored bytes are wrong.
            RestoreError: it failed; the place is as it was.
        """
        with self._locked():
            return _placing.place(
                self._path,
                now=self._site.clock.now(),
                write=lambda staged: _write_all(parts, staged),
                check=_require_whole,
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps clients out of the present folder, by their own lock, until it has been swapped."""
        with child(_qdrant_folder.lock, str(self._path)) as process:
            try:
                keeper = process.answer()
            except ChildFailedError as error:
                pids = holders(self._path / LOCK)
                raise BusyError(f"{error.message}{_processes(pids)}", error.hint) from None
            for file in self._storages():
                pids = tuple(pid for pid in holders(file) if pid != keeper)
                if pids:
                    raise BusyError(f"{shown(str(file))} is open{_processes(pids)}", "Stop it, then restore again.")
            yield

    def facts(self) -> Facts:
        """Points, their ids and content, vectors, aliases, and probes with their exact answers.

        Raises:
            SourceError: it cannot be read.
        """
        self._require_folder()
        options = self._options
        with errors_of_child():
            found = call(_qdrant_folder.look, str(self._path), list(options.collections), options.allow_empty)
        folder = Path(tempfile.mkdtemp(prefix="qdrant-", dir=self._site.staging))
        try:
            return _described(found["collections"], found["aliases"], self._site.seed, folder)
        finally:
            remove_tree(folder)

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        """A twin whose folder is not there yet."""
        inner = Path(tempfile.mkdtemp(prefix="qdrant-", dir=folder))
        make_private_folder(inner / "staging")
        options = self._options.model_copy(update={"path": inner / "store"})
        site = dataclasses.replace(self._site, base=inner, staging=inner / "staging")
        try:
            yield QdrantLocalSource(options, site)
        finally:
            remove_tree(inner)

    def _require_folder(self) -> None:
        if not self._path.exists():
            raise SourceError(
                f"{shown(str(self._path))} is not there", "See whether the path in the configuration is right."
            )
        if not self._path.is_dir():
            raise SourceError(
                f"{shown(str(self._path))} is not a folder", "Name the one given to QdrantClient(path=...)."
            )

    def _storages(self) -> list[Path]:
        return sorted((self._path / COLLECTIONS).glob(f"*/{STORAGE}"))


def _subject(collection: str) -> str:
    return f"collection {collection}"


def _processes(pids: tuple[int, ...]) -> str:
    return f" (process {', '.join(map(str, pids))})" if pids else ""


def _part(name: str, file: Path, attributes: Attributes | None) -> StreamPart:
    return StreamPart(name, StagedFile(file), size=file.stat().st_size, attributes=attributes)


def _described(entries: Iterable[Mapping[str, Any]], aliases: int, seed: int, folder: Path) -> Facts:
    """Facts of all collections. They are read in a child of their own: it meets what strangers may have written."""
    values: dict[str, dict[str, Value]] = {}
    probes: list[Probe] = []
    with child(_pickled_points.describe_collections, seed, str(folder)) as reader:
        with errors_of_child():
            reader.answer()
        for entry in entries:
            name = entry["collection"]
            answer = _answer(reader, entry)
            values[_subject(name)] = {**answer["values"], "aliases": entry["aliases"]}
            probes += [Probe(name, one["vector"], one["point"], tuple(one["neighbours"])) for one in answer["probes"]]
    values["store"] = {"collections": len(values), "aliases": aliases}
    return Facts(values, tuple(probes), seed)


def _answer(reader: Child, entry: Mapping[str, Any]) -> Any:
    try:
        return reader.ask({key: entry[key] for key in ("collection", "file", "live", "settings")})
    except ChildFailedError as error:
        if error.kind:
            raise SourceError(error.message, error.hint) from None
        raise SourceError(
            f"collection {shown(entry['collection'])} could not be read: the process that read its points was ended",
            "A point that asks for too much memory or time does that. Look where it came from.",
        ) from None


def _write_all(parts: Iterable[Part], staged: Path) -> None:
    make_private_folder(staged)
    for part in parts:
        if not _PART.fullmatch(part.name):
            raise UnsafePathError(f"unsafe name {shown(part.name)!r}: no file of a Qdrant folder is called so")
        if not isinstance(part, StreamPart):
            raise DamagedError(f"{shown(part.name)} in the set is not a file")
        write_part(part, staged)
    if not (staged / META).exists():
        raise DamagedError(f"the set holds no {META} of this source")


def _require_whole(staged: Path) -> None:
    try:
        call(_qdrant_folder.require_whole, str(staged))
    except ChildFailedError as error:
        raise RestoreError(f"what was restored is not sound: {error.message}", error.hint) from None


def connect(options: Options, site: Site) -> QdrantLocalSource:
    """The source that the settings describe."""
    return QdrantLocalSource(options, site)
