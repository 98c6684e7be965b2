"""The data directory of a service that has to stand still while it is copied: it is stopped, read, and started again.

A watchdog keeps the promise that the service is up again, whatever becomes of us (`_service_watch`). With `snapshot` the service
stands still only as long as the file system takes for a copy of its own, and is read from there.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from recoup.errors import BusyError, DamagedError, InterruptedRunError, RefusedError, RestoreError, SourceError
from recoup.model.events import Event, Level
from recoup.model.facts import Facts
from recoup.model.names import shown
from recoup.model.part import Part, TreePart
from recoup.model.secrets import bare_url
from recoup.sources import _directory_copy, _folder, _placing
from recoup.sources._base import Existing, Placement, Site, Source, SourceOptions
from recoup.sources._directory_capture import DirectoryCapture
from recoup.sources._directory_options import Options, RestoreOptions, seconds
from recoup.sources._service import Service, ServiceError, commands_of
from recoup.sources._service_pause import Watch, start_left_behind, watching
from recoup.sources._service_reach import unreachable
from recoup.sources._walking import REPOSITORY, Note, Rules, Walk, open_folder
from recoup.system.filesystem import writers
from recoup.system.host import is_this_machine
from recoup.system.tempdirs import remove_tree

__all__ = ["DirectorySource", "Options", "RestoreOptions", "connect"]


class DirectorySource:
    """One directory of a service on this machine.

    Args:
        options: its settings.
        site: what it is handed.
        served: False for a place that no service uses: a twin, or a restore to somewhere else.
    """

    exact = True

    def __init__(self, options: Options, site: Site, *, served: bool = True) -> None:
        self.options: SourceOptions = options
        self._options, self._site = options, site
        self.path = Path(os.path.abspath(site.base / options.path.expanduser()))  # noqa: PTH100 - links stay
        self._service = self._described() if served and not options.is_elsewhere else None

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._site.name

    def _described(self) -> Service:
        options, wait = self._options, self._options.wait
        steps = {"stop": options.stop, "start": options.start, "freeze": options.freeze, "thaw": options.thaw}
        pid_file = self._site.base / wait.pid_file.expanduser() if wait.pid_file else ""
        return Service(
            name=self._site.name,
            path=str(self.path),
            folder=str(self._site.base),
            commands=dict(commands_of(steps)),
            url=wait.url,
            port=wait.port or 0,
            pid_file=str(pid_file),
            probe=wait.command,
            patience=seconds(wait.timeout),
            limit=seconds(options.command_timeout),
        )

    # --- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Opens the directory, and looks whether the service can be stopped from here.

        Raises:
            SourceError: it is not there, cannot be read, is no folder, or its service is out of reach.
            RefusedError: the service would be asked on another machine, and `allow_remote` is off.
        """
        if not self.present():
            raise SourceError(f"{self._shown} is not there", "See whether the path in the configuration is right.")
        if not self.path.is_dir():
            raise SourceError(f"{self._shown} is not a folder", "Back up a single file with `kind: files`.")
        with _folder.explained(self.path):
            os.close(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
            if (self.path / REPOSITORY).exists():
                raise SourceError(f"{self._shown} is a Recoup repository", "Copy a repository with its own means.")
        self._require_reach()

    def _require_reach(self) -> None:
        if self._service is None:
            return
        url = self._options.wait.url
        if url and not self._site.allow_remote and not is_this_machine(urlsplit(url).hostname or ""):
            raise RefusedError(
                f"{bare_url(url)} is not this machine, and allow_remote is false",
                "Set `allow_remote: true` if this host may be contacted.",
            )
        for command in self._service.commands.values():
            if problem := unreachable(command, self._site.base):
                hint = (
                    "This kind of source runs on the host that owns the service, as a user who may stop and start it."
                )
                raise SourceError(f"the service of {self._shown} cannot be stopped from here: {problem}", hint)

    def doubts(self) -> tuple[str, str] | None:
        """A service that is not seen while it should run: either it is down, or `wait` looks elsewhere and sees no stop."""
        if self._service is None or self._service.is_up():
            return None
        return (
            f"its service is not up, as far as `wait` sees ({self._service.seen_by})",
            "Start it. If it runs, correct `wait`: by that Recoup sees whether it is stopped, and up again.",
        )

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
            return 0
        with contextlib.closing(self.walk(self.path, _folder.unnoted, reading=False)) as walk:
            for _ in walk.members():
                pass
            return walk.tally.occupied

    def settings(self) -> Mapping[str, Any]:
        """The settings; credentials inside URLs are left out."""
        settings = self._options.model_dump(mode="json", exclude={"kind"})
        settings["wait"]["url"] = bare_url(self._options.wait.url)
        return settings

    def walk(self, path: Path, note: Note, *, reading: bool = True) -> Walk:
        """A walk over the directory or a copy of it, to be closed."""
        name, staging = self.path.name, self._site.staging
        status = staging.stat() if staging.exists() else None

        def hidden(entry: str) -> bool:
            return _placing.is_kept_name(entry, name) or _directory_copy.is_copy(entry)

        rules = Rules((), self._options.exclude, False, hidden, (status.st_dev, status.st_ino) if status else None)
        return Walk(open_folder(str(path)), rules, note, reading=reading)

    # --- capture -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def capture(self) -> Iterator[DirectoryCapture]:
        """Stops the service; it is up again when all was read, or on leaving.

        Raises:
            SourceError: it cannot be read.
            ServiceError: the service cannot be stopped, or something still writes into the directory.
            EmptySourceError: there is nothing in it.
        """
        self.check()
        if not self._options.allow_empty:
            with _folder.explained(self.path):
                _folder.require_something(self.path, lambda note: self.walk(self.path, note, reading=False))
        if self._service is None:
            with contextlib.closing(self._captured(self.path, "read while no service uses it", None)) as capture:
                yield capture
            return
        with watching(self._service, self._site, seconds(self._options.freeze_timeout)) as watch:
            watch.stop()
            self._require_stillness()
            with self._read(watch) as capture, contextlib.closing(capture):
                yield capture

    def _captured(self, path: Path, method: str, watch: Watch | None) -> DirectoryCapture:
        with _folder.explained(path):
            return DirectoryCapture(lambda note: self.walk(path, note), self._site.clock.now(), method, watch)

    def _require_stillness(self) -> None:
        if found := writers(self.path):
            pid, file = found[0]
            raise ServiceError(
                f"process {pid} still writes to {shown(file)}, though the service is stopped",
                "Stop that process too, or correct `stop` and `wait`.",
            )

    @contextlib.contextmanager
    def _read(self, watch: Watch) -> Iterator[DirectoryCapture]:
        if self._options.snapshot == "none":
            yield self._captured(self.path, "service stopped, read, started", watch)
        elif self._options.snapshot == "reflink":
            with self._reflinked(watch) as capture:
                yield capture
        else:
            with self._snapshotted(watch) as capture:
                yield capture

    @contextlib.contextmanager
    def _reflinked(self, watch: Watch) -> Iterator[DirectoryCapture]:
        with _directory_copy.reflinked(self.path, watch.refuse_if_stopping) as copy:
            if copy.path is None:
                capture = self._captured(self.path, "service stopped, read, started (no reflinks here)", watch)
                self._tell_slow(copy.refused)
                capture.note(f"no reflink copy: {copy.refused}; the service stood still while all was read")
                yield capture
                return
            capture = self._captured(copy.path, "service stopped for a reflink copy, read from that", None)
            watch.require_stillness()
            capture.start(watch)
            yield capture

    def _tell_slow(self, reason: str) -> None:
        sentence = f"{self.name}: no reflink copy ({reason}): the service stands still while all is read"
        fields = {"source": self.name}
        self._site.emit(Event("snapshot_impossible", self._site.clock.now(), sentence, Level.WARNING, fields=fields))

    @contextlib.contextmanager
    def _snapshotted(self, watch: Watch) -> Iterator[DirectoryCapture]:
        kind = self._options.snapshot
        at = self._site.base / (self._options.snapshot_path or Path()).expanduser()
        watch.freeze()
        try:
            self._require_copy(at)
            capture = self._captured(at, f"service stopped for a {kind} snapshot by `freeze`, read from that", None)
            watch.require_stillness()
            capture.start(watch)
            with contextlib.closing(capture):
                yield capture
        except (KeyboardInterrupt, InterruptedRunError):
            raise  # no time to wait: the watchdog thaws
        except BaseException:
            watch.thaw()
            raise
        watch.thaw()

    def _require_copy(self, at: Path) -> None:
        if not at.is_dir():
            hint = "Correct `snapshot_path`."
            raise ServiceError(f"`freeze` ended well, but {shown(str(at))} is not there", hint)
        if not self._options.allow_empty:
            _folder.require_something(at, lambda note: self.walk(at, note, reading=False))

    def facts(self) -> Facts:
        """How many files, folders, links and bytes there are.

        Raises:
            SourceError: it cannot be read.
        """
        self.check()
        with (
            _folder.explained(self.path),
            contextlib.closing(self.walk(self.path, _folder.unnoted, reading=False)) as walk,
        ):
            for _ in walk.members():
                pass
            return Facts({"folder": walk.tally.values()})

    # --- restore -----------------------------------------------------------------------------------------------------

    def recover(self) -> tuple[str, ...]:
        """Finishes or takes back a killed restore, and starts a service that killed runs left stopped."""
        done = _placing.recover(self.path)
        if self._service is None:
            return done
        try:
            return (*done, *start_left_behind(self.path, self._site))
        except ServiceError as error:
            by_hand = " ".join(self._service.commands["start"])
            return (*done, f"A killed run left the service stopped, and it does not start: {error.message} ({by_hand})")

    def existing(self) -> Existing:
        """What a restore to the configured path would meet."""
        place = str(self.path)
        if self.path.is_symlink():
            refused = f"It is refused: name the place that the link leads to, {self.path.readlink()}."
            return Existing(place, present=True, description="symbolic link", consequence=refused)
        stops = " The service is stopped for the swap and started after it." if self._service else ""
        if not self.path.exists():
            return Existing(place, present=False, description="nothing", consequence=f"It is created.{stops}")
        entries = sum(1 for _ in self.path.iterdir()) if self.path.is_dir() else 1
        description = f"folder with {entries:,} {'entry' if entries == 1 else 'entries'}"
        left_out = f" {_folder.LEFT_OUT}" if self._options.exclude else ""
        return Existing(place, present=True, description=description, consequence=f"{_folder.KEPT}{left_out}{stops}")

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:
        """Puts the directory in its place: written and checked beside it, then the service is stopped, the two are swapped, and
        the service is started. Where it does not come up, what was there before is put back and started.

        Raises:
            UnsafePathError: the place is a symbolic link, or a name in the set leads outside.
            RefusedError: the directory holds a repository.
            DamagedError: the stored bytes are wrong.
            RestoreError: it failed, or the service did not come up; the place is as it was.
        """
        chosen = RestoreOptions.model_validate(options.model_dump())
        remaining = iter(parts)
        part = _folder.first(remaining)
        if not isinstance(part, TreePart):
            raise DamagedError("the set holds a file where a directory is expected")
        if self.path.is_dir():
            _folder.refuse_inner_repository(self.path)
        if self._service is None:
            return self._place(part, remaining, None)
        self._require_reach_for(chosen)
        if chosen.stopped:
            return self._place(part, remaining, self._require_stopped)
        try:
            return self._restore_served(part, remaining, self._service)
        except ServiceError as error:
            raise RestoreError(error.message, error.hint) from error

    def _require_reach_for(self, chosen: RestoreOptions) -> None:
        if not chosen.stopped:
            try:
                self._require_reach()
            except SourceError as error:
                hint = f"{error.hint} Where it is stopped already: --option {self.name}.stopped=true"
                raise RestoreError(error.message, hint) from error

    def _require_stopped(self) -> None:
        if self._service and not self._service.is_down():
            raise BusyError(
                f"the service of {self._shown} is running ({self._service.seen_by})", "Stop it, or leave out `stopped`."
            )
        self._refuse_writers()

    def _refuse_writers(self) -> None:
        try:
            self._require_stillness()
        except ServiceError as error:
            raise BusyError(error.message, error.hint) from error

    def _place(self, part: Part, remaining: Iterator[Part], still: Callable[[], None] | None) -> Placement:
        return _placing.place(
            self.path,
            now=self._site.clock.now(),
            write=lambda staged: _folder.write(part, staged, self._site),
            check=lambda _: _folder.require_end(remaining),  # the bytes were checked while they were written
            still=still,
        )

    def _restore_served(self, part: Part, remaining: Iterator[Part], service: Service) -> Placement:
        with watching(service, self._site, 0.0) as watch:

            def still() -> None:
                watch.stop()
                self._refuse_writers()

            placement = self._place(part, remaining, still)
            try:
                watch.start()
            except ServiceError as error:
                self._take_back(watch, placement, error)
            return placement

    def _take_back(self, watch: Watch, placement: Placement, error: ServiceError) -> None:
        """Puts what was there before back and starts the service with it.

        Raises:
            RestoreError: always; it says how the place and the service are now.
        """
        sentence = f"the service does not come up with the restored directory: {error.message}"
        try:
            with contextlib.suppress(ServiceError):  # it may not be able to stop what never came up
                watch.stop()
            self._require_stillness()
            self._undo(watch, placement)
        except (ServiceError, OSError) as second:
            watch.tell_down(error)
            where = (
                f"the restored directory is still in its place, what was there before is {placement.kept or 'nothing'}"
            )
            raise RestoreError(f"{sentence}. Nor can it be taken back ({second}): {where}", watch.by_hand) from None
        if not placement.kept:
            raise RestoreError(sentence, "Nothing was there before, and nothing is there now.")
        try:
            watch.start()
        except ServiceError as second:
            watch.tell_down(second)
            hint = f"What was there before is back, but does not come up either. {watch.by_hand}"
            raise RestoreError(sentence, hint) from None
        raise RestoreError(sentence, "What was there before is back in its place, and the service is up.")

    def _undo(self, watch: Watch, placement: Placement) -> None:
        """Takes the restored directory out of its place, and removes it: the set still has it."""
        kept = Path(placement.kept) if placement.kept else _placing.kept_path(self.path, self._site.clock.now())
        aside = _placing.set_aside_path(kept)
        if placement.kept:
            watch.undo(str(kept))
        else:
            self.path.rename(aside)
        remove_tree(aside)

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        """A twin that is not there yet, and that no service uses."""
        inner = Path(tempfile.mkdtemp(prefix="directory-", dir=folder))
        changes = {"path": inner / self.path.name, "exclude": (), "allow_empty": True, "snapshot": "none"}
        try:
            options = self._options.model_copy(update=changes)
            yield DirectorySource(options, dataclasses.replace(self._site, base=inner), served=False)
        finally:
            remove_tree(inner)

    @property
    def _shown(self) -> str:
        return shown(str(self.path))


def connect(options: Options, site: Site) -> DirectorySource:
    """The source that the settings describe."""
    return DirectorySource(options, site)
