"""A stack as it is configured: its settings, its repositories and its sources, opened. What the verbs stand on."""

import contextlib
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import (
    ConfigError,
    RecoupError,
    UsageError,
)
from recoup.model.events import Emit, Event, Level, News
from recoup.model.secrets import Masker
from recoup.system.caching import cache_folder
from recoup.system.clock import Clock
from recoup.system.destinations import checked_destination
from recoup.system.host import this_host
from recoup.system.plugs import load
from recoup.system.tempdirs import temporary_folder

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from recoup.config.explain import Line
    from recoup.config.loading import Loaded
    from recoup.config.settings import RepositorySettings, Settings
    from recoup.model.manifest import Manifest
    from recoup.operations.nearest import Locked
    from recoup.repository._base import Repository
    from recoup.repository.dedup.options import DedupOptions
    from recoup.repository.dedup.unlocking import Unlocking
    from recoup.repository.plain.repository import PlainRepository
    from recoup.repository.sealing._base import Sealing
    from recoup.retention import Rules
    from recoup.scheduler._jobs import Job
    from recoup.sinks._telling import Telling
    from recoup.sources._base import Recall, Source, SourceOptions
    from recoup.storage._base import Storage


def is_place(repository: str | None, cwd: Path) -> bool:
    """Whether a text names a repository by its place, and not as the configuration calls it."""
    return repository is not None and ("/" in repository or (cwd / repository).is_dir())


def _may_be_written(folder: Path) -> bool:
    """Whether there may be files in a folder, which need not be there yet; not where a disk is mounted read-only."""
    return os.access(folder if folder.exists() else folder.parent, os.W_OK)


def _staging_of(repository: "PlainRepository") -> str | None:
    """Where copies can be staged beside a repository that is there: nothing is made where its disk is not mounted."""
    if repository.staging is None:
        return None
    try:
        repository.check()
    except RecoupError:
        return None
    return repository.staging


def _seed(name: str, manifest: "Manifest | None") -> int:
    """That of the set's own probes, so that its twin is asked the same questions; without a set, a random one."""
    facts = manifest.sources[name].facts if manifest is not None and name in manifest.sources else None
    if facts is None or facts.seed is None:
        return random.SystemRandom().getrandbits(32)
    return facts.seed


class OpenedStack:
    """A configured stack, without its verbs."""

    def __init__(
        self,
        loaded: "Loaded",
        repository: str | None,
        emit: Emit,
        cwd: Path,
        clock: Clock,
    ) -> None:
        self._loaded, self._chosen, self._cwd, self._clock = loaded, repository, cwd, clock
        self._listener = emit
        self.masker = Masker(loaded.secrets)
        self._host = this_host()
        self._repositories: dict[str, PlainRepository] = {}
        self._unlocking: dict[str, Unlocking] = {}
        self._telling: Telling | None = None
        self.unread: tuple[str, ...] = ()
        """Repositories that could not be read when sets were last looked for, with the reasons."""

    @property
    def settings(self) -> "Settings":
        """The settings."""
        return self._loaded.settings

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the configuration."""
        from recoup.repository.sealing._base import open_to_all

        files = (file for settings in self.settings.repositories.values() for file in self._secret_files(settings))
        return (*self._loaded.warnings, *open_to_all(dict.fromkeys(files)))

    def _secret_files(self, settings: "RepositorySettings") -> tuple[Path, ...]:
        """The files that hold what opens a repository."""
        dedup, sealing = self._dedup_of(settings), self._sealing_of(settings)
        return (*(dedup.secret_files if dedup else ()), *(sealing.secret_files if sealing else ()))

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the configured sources."""
        return tuple(self._loaded.sources)

    @property
    def remembered_as(self) -> str:
        """Under which name this machine remembers what became of runs; empty without a configuration."""
        return self.settings.stack if self._loaded.files else ""

    @property
    def chosen_repositories(self) -> tuple[str, ...]:
        """Names of the repositories that verbs work on."""
        return tuple(self._repository_names)

    @property
    def files(self) -> tuple[Path, ...]:
        """The configuration files that were read, the weakest first."""
        return self._loaded.files

    @property
    def as_options(self) -> tuple[str, ...]:
        """The global options of the command line with which another process opens this stack, from whatever folder.

        Raises:
            UsageError: a secret would stand among them, where others can read it.
        """
        files = [option for file in self.files for option in ("-c", str(self._cwd / file))]
        overrides = [option for override in self._loaded.overrides for option in ("--set", override)]
        if any(self.masker(override) != override for override in overrides):
            raise UsageError(
                "a secret was given as an override, and would stand in a command line",
                "Put it into the environment or the configuration's `.env`, and refer to it.",
            )
        return (*files, *overrides, *self._choice)

    @property
    def _choice(self) -> tuple[str, ...]:
        """The option that chooses the repository, if one was chosen."""
        chosen = self._chosen
        if chosen is None:
            return ()
        by_path = chosen not in self.settings.repositories and "://" not in chosen
        return ("-r", str(self._cwd / chosen) if by_path else chosen)

    @property
    def restore_folder(self) -> Path:
        """The folder below which the web page restores files, absolute; it need not be there.

        Raises:
            UnsafePathError: the configured one leads through a symbolic link.
        """
        return checked_destination(self.settings.web.restore_folder, self._loaded.base)

    @cached_property
    def jobs(self) -> "tuple[Job, ...]":
        """The jobs of `schedule`, in the order of its lines."""
        from recoup.config._schedule import jobs

        return jobs(self.settings.schedule, self.settings.stack, self._host.name, self._loaded.base)

    @property
    def effective(self) -> "tuple[Line, ...]":
        """The configuration that is in effect, line by line, with the place where each value was set; secrets are `***`."""
        from recoup.config.explain import effective_lines

        return effective_lines(self._loaded)

    @property
    def effective_values(self) -> dict[str, Any]:
        """The configuration that is in effect, as JSON types; secrets are `***`."""
        from recoup.config.explain import effective_values

        return effective_values(self._loaded)

    def sources_of_kind(self, kind: str) -> "Mapping[str, SourceOptions]":
        """The settings of the configured sources of a kind, by name."""
        return {name: options for name, options in self._loaded.sources.items() if options.kind == kind}

    # --- repositories -------------------------------------------------------------------------------------------------

    def _several(self, named: Sequence[str] | None) -> list[str]:
        """Names of the repositories that a verb works on: those named, or the one chosen, or all.

        Raises:
            UsageError: names and a choice contradict each other.
            ConfigError: there is none.
        """
        if named is not None and self._chosen is not None:
            raise UsageError("-r and --to both say where the set goes", "Leave one of them out.")
        every = named is None or list(named) == ["all"]
        names = self._repository_names if every else list(dict.fromkeys(named or ()))
        if not names:
            raise ConfigError("no repository is configured", "Add one under `repositories:`, or name one with -r PATH.")
        return names

    @property
    def _repository_names(self) -> list[str]:
        if self._chosen is not None:
            return [self._chosen]
        return list(self.settings.repositories)

    @property
    def has_several(self) -> bool:
        """Whether several repositories are worked on: those configured, and none chosen."""
        return len(self._repository_names) > 1

    @property
    def _nearest(self) -> list[str]:
        """Names of the repositories, those on disks of this machine first."""
        return sorted(self._several(None), key=lambda name: not self._is_on_this_machine(name))

    def _is_on_this_machine(self, name: str) -> bool:
        settings = self._settings_of(name)
        return settings.path is not None or str(settings.url).startswith("file:")

    def _reader(self, name: str) -> "Callable[[], PlainRepository]":
        return lambda: self._at(name)

    def _at(self, name: str) -> "PlainRepository":
        """A repository, opened once."""
        if name not in self._repositories:
            self._repositories[name] = self._open(name)
        return self._repositories[name]

    def _settings_of(self, name: str) -> "RepositorySettings":
        from recoup.config.settings import OBJECT_SCHEMES, RepositorySettings

        if name in self.settings.repositories:
            return self.settings.repositories[name]
        if not is_place(name, self._cwd) and "://" not in name:
            known = ", ".join(self.settings.repositories) or "none"
            raise UsageError(f"there is no repository {name!r} in the configuration", f"Known: {known}.")
        place = name.removeprefix("file://")
        if place.partition("://")[0] in OBJECT_SCHEMES:
            return RepositorySettings(url=place)
        return RepositorySettings(path=checked_destination(place, self._cwd))

    def _rules_of(self, name: str) -> "Rules":
        """What a repository's prune goes by."""
        from recoup.retention import rules

        settings = self._settings_of(name)
        return rules(settings.keep.model_dump(), settings.time_zone)

    def _opener(self, name: str) -> "Callable[[], Repository]":
        return lambda: self._open(name)

    def _open(self, name: str) -> "PlainRepository":
        settings = self._settings_of(name)
        storage, dedup = self._storage_of(settings), self._dedup_of(settings)
        if dedup is not None and name not in self._unlocking:
            from recoup.repository.dedup.unlocking import Unlocking

            self._unlocking[name] = Unlocking(storage, dedup, self._clock)

        from recoup.repository.opening import Shape, open_repository

        return open_repository(
            name,
            storage,
            settings.pack,
            settings.compression,
            settings.compression_level,
            self._clock,
            self._sealing_of(settings),
            seal_manifest=settings.encrypt_manifest,
            spool=self._spool,
            shape=Shape(template, settings.adopt) if (template := settings.template) else None,
            dedup=dedup,
            cache=cache_folder(),
            unlocking=self._unlocking.get(name),
        )

    def _storage_of(self, settings: "RepositorySettings") -> "Storage":
        base = self._loaded.base
        if settings.scheme == "file":
            place = settings.path if settings.path is not None else Path(str(settings.url).removeprefix("file://"))
            local: Storage = load("recoup.storage", "local").connect(checked_destination(place, base))
            return local
        connect = load("recoup.storage", "object-store").connect
        objects: Storage = connect(
            settings.url,
            settings.storage.beside(base),
            self._clock,
            allow_remote=self._loaded.settings.allow_remote,
        )
        return objects

    def _sealing_of(self, settings: "RepositorySettings") -> "Sealing | None":
        encrypt, base = settings.encrypt, self._loaded.base
        if encrypt is None:
            return None
        if encrypt.age is not None:
            from recoup.repository.sealing.age import AgeSealing

            return AgeSealing(encrypt.age.recipients, encrypt.age.identity_file, base)
        from recoup.repository.sealing.gpg import GpgSealing

        gpg = encrypt.gpg
        return None if gpg is None else GpgSealing(gpg.passphrase_file, gpg.recipients, gpg.identity_file, base)

    def _dedup_of(self, settings: "RepositorySettings") -> "DedupOptions | None":
        from recoup.config._dedup_options import dedup_options

        return dedup_options(settings, self._loaded.base)

    @property
    def _spool(self) -> Path | None:
        configured = self.settings.staging
        return None if configured is None else checked_destination(configured, self._loaded.base)

    # --- sources ------------------------------------------------------------------------------------------------------

    def _chosen_sources(self, sources: Sequence[str] | None) -> list[str]:
        known = list(self._loaded.sources)
        if not known:
            raise ConfigError("no sources are configured", "Add some under `sources:`, or run `recoup init`.")
        for name in sources or ():
            if name not in known:
                raise UsageError(f"there is no source {name} in the configuration", f"Known: {', '.join(known)}.")
        return [name for name in known if sources is None or name in sources]

    def _source(
        self,
        name: str,
        staging: Path,
        emit: Emit | None = None,
        manifest: "Manifest | None" = None,
        where: str | None = None,
        *,
        shared: bool = False,
        compresses: bool = False,
        recorded: bool = False,
        recall: "Recall | None" = None,
    ) -> "Source":
        """A live source from its settings, or, when it is not configured or `recorded`, from what a manifest says of it."""
        from recoup.sources._base import Site

        configured = None if recorded else self._loaded.sources.get(name)
        options = configured or self._recorded_options(name, manifest)
        plug = load("recoup.sources", options.kind)
        if where is not None:
            place = str(checked_destination(where, self._cwd)) if options.place == "path" else where
            options = options.moved(place)
        site = Site(
            name=name,
            base=self._loaded.base,
            staging=staging,
            clock=self._clock,
            seed=_seed(name, manifest),
            emit=emit or self._listener,
            allow_remote=self.settings.allow_remote,
            shared=shared,
            compresses=compresses,
            recall=recall,
        )
        source: Source = plug.connect(options, site)
        return source

    def _recorded_options(self, name: str, manifest: "Manifest | None") -> "SourceOptions":
        if manifest is None:
            raise UsageError(f"there is no source {name} in the configuration")
        record = manifest.sources[name]
        options: SourceOptions = load("recoup.sources", record.kind).Options.model_validate(
            {**record.settings, "kind": record.kind}
        )
        return options

    def _restore_options_type(self, kind: str) -> Any:
        from recoup.sources._base import NoRestoreOptions

        return getattr(load("recoup.sources", kind), "RestoreOptions", NoRestoreOptions)

    def _restore_options(self, kind: str, values: Mapping[str, Any]) -> Any:
        return self._plug_options(self._restore_options_type(kind), f"restore option {{}} of kind {kind}", values)

    def _drilled(self, source: "Source", values: Mapping[str, Any]) -> "Source":
        """The source whose twin a drill makes: as the plug's own drill options want it."""
        from recoup.sources._base import NoRestoreOptions

        if not values:
            return source
        kind = source.options.kind
        plug = load("recoup.sources", kind)
        model = getattr(plug, "DrillOptions", NoRestoreOptions)
        drilled: Source = plug.drilled(source, self._plug_options(model, f"drill option {{}} of kind {kind}", values))
        return drilled

    def _plug_options(self, model: Any, what: str, values: Mapping[str, Any]) -> Any:
        from pydantic import ValidationError

        try:
            return model.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(step) for step in first["loc"])
            known = ", ".join(model.model_fields) or "none"
            raise UsageError(f"{what.format(key)}: {first['msg']}", f"Its options: {known}.") from None

    def _masked_tags(self, tags: Mapping[str, str] | None) -> dict[str, str]:
        return {self.masker(key): self.masker(value) for key, value in (tags or {}).items()}

    # --- surroundings -------------------------------------------------------------------------------------------------

    def _locked(self, verb: str, wait: float) -> "Locked":
        """The repositories, each locked for reading when it is read."""
        from recoup.operations.nearest import Locked

        return Locked(self._at, verb, self.settings.stack, wait, self._clock, self.tell)

    def _read_locked(self, repository: "PlainRepository", verb: str, wait: float) -> "AbstractContextManager[None]":
        """One repository, locked for reading."""
        from recoup.operations import _reading

        return _reading.held(repository, verb, self.settings.stack, wait, self._clock, self.tell)

    @contextlib.contextmanager
    def _staging(self, purpose: str, repositories: "Sequence[PlainRepository]") -> Iterator[Path]:
        """A temporary folder: where configured, else beside a repository, so that storing a copy is a rename."""
        parent = self._spool
        if parent is None:
            beside = map(Path, filter(None, map(_staging_of, repositories)))
            parent = next(filter(_may_be_written, beside), None)
        with temporary_folder(purpose, parent) as folder:
            yield folder

    @contextlib.contextmanager
    def _emitting(self) -> Iterator[Emit]:
        """Where news go: to the caller, and to the configured files."""
        from recoup.sinks._opening import opened

        events, base, telling = self.settings.events, self._loaded.base, self._telling
        with opened(events.jsonl, events.format, events.log, base, self.masker) as sinks:

            def emit(news: News) -> None:
                for sink in list(sinks):
                    try:
                        sink(news)
                    except OSError as error:  # a full disk, say: the work itself goes on
                        sinks.remove(sink)
                        self._listener(self._unrecorded(error))
                if telling is not None:
                    telling(news)
                self._listener(news)

            yield emit

    def tell(self, event: Event) -> None:
        """Tells an event that no verb of this stack has to the caller and to the configured files."""
        with self._emitting() as emit:
            emit(event)

    def _unrecorded(self, error: OSError) -> Event:
        where = f" {error.filename}" if error.filename else ""
        sentence = f"events are no longer recorded{where}: {error.strerror or error}; the run itself goes on"
        return Event("events_lost", self._clock.now(), self.masker(sentence), Level.WARNING)
