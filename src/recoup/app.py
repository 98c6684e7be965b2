"""The wiring: from settings to live objects to verbs. The only place that knows everything.

`open_stack` is the door for the command line, the demo and programs (`recoup.open`).
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup._caches import StackWithCaches
from recoup._contents import StackWithContents
from recoup._jobs import StackWithJobs
from recoup._keys import StackWithKeys
from recoup._opened import is_place
from recoup._told import StackWithNotices
from recoup.errors import (
    ConfigError,
    NoRepositoryError,
    NoSpaceError,
    NoSuchSetError,
    RecoupError,
    RefusedError,
    UsageError,
    WrongKeyError,
)
from recoup.model.events import Emit, Event, Level, ignore
from recoup.model.names import SetName
from recoup.model.structs import Struct
from recoup.operations._remembering import remembers
from recoup.system.atomicfile import make_private_folder
from recoup.system.clock import Clock, SystemClock, local_zone_name
from recoup.system.destinations import checked_destination
from recoup.system.plugs import load

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from recoup.config.settings import RepositorySettings
    from recoup.model.artefact import Artefact
    from recoup.model.manifest import Manifest
    from recoup.model.reports import (
        BackupReport,
        CopyReport,
        DrillReport,
        PruneReport,
        PutRight,
        RecoveryReport,
        RepairReport,
        RestoreReport,
        SetInfo,
        StoredCopy,
        VerifyReport,
    )
    from recoup.operations._backup_plan import Send
    from recoup.operations._working import Crew
    from recoup.operations.backup import Plan as BackupPlan
    from recoup.operations.backup import Run as BackupRun
    from recoup.operations.backup import Target as BackupTarget
    from recoup.operations.copy import Plan as CopyPlan
    from recoup.operations.drill import Plan as DrillPlan
    from recoup.operations.nearest import Locked
    from recoup.operations.prune import PrunePlan
    from recoup.operations.recovery import Plan as RecoveryPlan
    from recoup.operations.repair import Row as RepairRow
    from recoup.operations.restore import Item as RestoreItem
    from recoup.operations.restore import Plan as RestorePlan
    from recoup.operations.verify import Examiner
    from recoup.repository._base import Lock, Subset
    from recoup.repository._subset import Portion
    from recoup.repository.plain.repository import PlainRepository
    from recoup.retention import Rules
    from recoup.sources._base import Source
    from recoup.system.unpacking import Overwrite

PRUNE_WAIT = 60.0
"""Seconds that the prune after a backup waits for readers to end, at least."""


def open_stack(
    config: Sequence[Path | str] = (),
    overrides: Sequence[str] = (),
    repository: str | None = None,
    emit: Emit = ignore,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
    clock: Clock | None = None,
) -> "Stack":
    """Opens a stack by its configuration.

    Args:
        config: configuration files, later ones win; none means the usual places.
        overrides: `KEY=VALUE`, dotted keys.
        repository: a configured repository's name, or a path or file:// URL of one. With a path and no configuration at all,
            the stack has that repository and no sources: sets can be listed, verified, drilled and restored.
        emit: is told of every event and of progress.
        environ: the environment.
        cwd: the working folder, the present one by default.
        clock: time.

    Raises:
        ConfigError: the configuration is missing or wrong.
    """
    from recoup.config import loading

    cwd = cwd or Path.cwd()
    paths = [Path(path) for path in config]
    try:
        loaded = loading.load(paths, overrides, environ, cwd)
    except ConfigError:
        if paths or overrides or not is_place(repository, cwd) or loading.has_configuration(environ, cwd):
            raise
        loaded = loading.without_file(cwd)
    return Stack(loaded, repository, emit, cwd, clock or SystemClock())


def _nobody(_kind: str) -> None:
    """No plug is asked."""


class DeletePlan(Struct):
    """Which sets a delete removes.

    Attributes:
        infos: the sets.
        refused: set name to the reason why it cannot be deleted without force.
        trash_days: how long they can be taken back; 0 is not at all.
    """

    infos: "tuple[SetInfo, ...]"
    refused: Mapping[str, str]
    trash_days: float = 0.0

    def require_allowed(self, *, force: bool = False) -> None:
        """Demands that nothing is protected of what goes.

        Args:
            force: protected sets go, too.

        Raises:
            RefusedError: something is.
        """
        if self.refused and not force:
            name, reason = next(iter(self.refused.items()))
            raise RefusedError(f"{name} is not deleted: {reason}", "`--force` deletes it all the same.")


def _wanted_sources(sources: Sequence[str] | None, targets: Mapping[str, str], *, whole: bool) -> list[str] | None:
    """Names of the sources to restore, None for all. Places alone mean the sources that they name."""
    if sources is None:
        return list(targets) if targets and not whole else None
    for name in targets:
        if name not in sources:
            raise UsageError(f"--target names the source {name}, which --source leaves out")
    return list(sources)


class Stack(StackWithJobs, StackWithContents, StackWithKeys, StackWithCaches, StackWithNotices):
    """A stack: its sources and repositories, and the verbs on them. Made by `open_stack`."""

    # --- what it is -------------------------------------------------------------------------------------------------

    def present(self, source: str) -> bool:
        """Whether a configured source is there: a file, a folder, a server that answers.

        Raises:
            UsageError: no source is configured under this name.
        """
        (name,) = self._chosen_sources([source])
        return self._source(name, Path(tempfile.gettempdir())).present()

    # --- backup -----------------------------------------------------------------------------------------------------

    def plan_backup(
        self,
        sources: Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        note: str = "",
        *,
        to: Sequence[str] | None = None,
    ) -> "BackupPlan":
        """What a backup would do; changes nothing.

        Args:
            sources: names; all configured ones by default.
            tags: for the set.
            note: for the set.
            to: names of the repositories that get the set, or `all`; by default the one chosen, else all that are configured.

        Raises:
            RecoupError: none of the repositories can be used.
        """
        from recoup.operations import backup

        targets = self._targets(to)
        chosen = self._chosen_sources(sources)
        live = {name: self._source(name, Path(tempfile.gettempdir())) for name in chosen}
        planned = backup.plan(live, None, 1.0, self._masked_tags(tags), note)
        return planned.going_to([target.needing(planned.total_bytes) for target in targets])

    def _targets(self, to: Sequence[str] | None) -> "list[BackupTarget]":
        """The repositories of a backup, as they are now."""
        from recoup.operations import backup

        names = self._several(to)
        return backup.targets(
            {name: self._open(name) for name in names},
            {name: self._settings_of(name).free_space_factor for name in names},
        )

    @remembers("backup")
    def backup(
        self,
        plan: "BackupPlan | None" = None,
        *,
        sources: Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        note: str = "",
        to: Sequence[str] | None = None,
        prune: bool | None = None,
        wait_lock: float = 0.0,
    ) -> "BackupReport":
        """Takes one cut of the stack and stores it, in one repository or several. The sources are read once for all of them;
        a repository that fails does not stop the others, and is named in the report.

        Args:
            plan: from `plan_backup`; made from the other arguments when None.
            sources: names; all configured ones by default.
            tags: for the set.
            note: for the set.
            to: names of the repositories that get the set, or `all`; by default the one chosen, else all that are configured.
            prune: prune afterwards, each repository by its own rules, if the backup is complete there; by default as configured.
            wait_lock: seconds to wait for a lock.

        Raises:
            LockedError: another backup of this stack, or a prune, is running (in the only repository).
            NoSpaceError: there is too little space (in the only repository).
        """
        from recoup.operations import backup

        plan = plan or self.plan_backup(sources, tags, note, to=to)
        repositories = [self._open(target.repository) for target in plan.targets]
        with self._emitting() as emit, contextlib.ExitStack() as held:
            if len(repositories) == 1:
                held.enter_context(repositories[0].lock("backup", "backup", self.settings.stack, wait_lock))
            staging = held.enter_context(self._staging("staging", repositories))
            live = self._live(plan, staging, emit, repositories)
            if len(repositories) == 1:
                send = held.enter_context(self._capturing(live, plan.targets[0].repository))
                report = backup.run(plan, live, repositories[0], self._run(emit, send))
            else:
                report = backup.run_several(plan, live, repositories, self._run(emit), wait_lock)
        return self._pruned_after(report, wait_lock, prune=prune)

    def _capturing(self, live: "Mapping[str, Source]", repository: str) -> "AbstractContextManager[Send | None]":
        """Who takes pieces of the sources: nobody else where none has any."""
        from recoup.sources._base import Divisible

        divisible = any(isinstance(source, Divisible) for source in live.values())
        return self._sending(repository) if divisible else contextlib.nullcontext()

    def _live(
        self, plan: "BackupPlan", staging: Path, emit: Emit, repositories: "Sequence[PlainRepository]"
    ) -> "dict[str, Source]":
        from recoup.operations._recalling import Recalling

        shared = len(plan.rows) > 1
        compresses = all(self._settings_of(target.repository).compression != "none" for target in plan.targets)
        dedup = [one for one in repositories if self._settings_of(one.name).layout == "dedup"]
        recalling = Recalling(dedup, self.settings.stack, self._clock.now())
        return {
            row.source: self._source(
                row.source,
                staging,
                emit,
                shared=shared,
                compresses=compresses,
                recall=recalling.of(row.source),
            )
            for row in plan.rows
        }

    def _pruned_after(self, report: "BackupReport", wait_lock: float, *, prune: bool | None) -> "BackupReport":
        """Prunes each repository that got the set. What fails in one of several is noted, and the others are pruned."""
        copies = []
        for copy in report.repositories:
            wanted = self._settings_of(copy.repository).prune_after_backup if prune is None else prune
            if wanted and not copy.error:
                copy = self._prune_after(copy, wait_lock, alone=len(report.repositories) == 1)  # noqa: PLW2901
            copies.append(copy)
        return replace(report, repositories=tuple(copies))

    def _prune_after(self, copy: "StoredCopy", wait_lock: float, *, alone: bool) -> "StoredCopy":
        if copy.outcome != "complete":
            with self._emitting() as emit:
                where = "" if alone else f" in {copy.repository}"
                message = f"nothing was pruned{where}, because the backup is not complete"
                emit(Event("prune_skipped", self._clock.now(), message, Level.WARNING))
            return copy
        try:
            done = self.only(copy.repository).prune(wait_lock=max(wait_lock, PRUNE_WAIT))
        except (RecoupError, OSError) as error:
            if alone:
                raise
            return replace(copy, prune_error=self._prune_failed(copy, error))
        return replace(copy, pruned=done.removed)

    def _prune_failed(self, copy: "StoredCopy", error: Exception) -> str:
        message = self.masker(str(error))
        with self._emitting() as emit:
            fields = {"repository": copy.repository, "error": message}
            text = f"{copy.repository} was not pruned: {message}"
            emit(Event("prune_failed", self._clock.now(), text, Level.ERROR, fields=fields))
        return message

    def _run(self, emit: Emit, send: "Send | None" = None) -> "BackupRun":
        from importlib.metadata import version

        from recoup.operations import backup

        return backup.Run(
            stack=self.settings.stack,
            host=self._host,
            version=version("recoup"),
            id=secrets.token_hex(16),
            time_zone=local_zone_name(),
            clock=self._clock,
            emit=emit,
            mask=self.masker,
            send=send,
            shrink={name: self._shrink_of(name) for name in self.source_names},
        )

    # --- looking ----------------------------------------------------------------------------------------------------

    def show(self, text: str = "latest") -> "SetInfo":
        """One set.

        Args:
            text: its name, a unique prefix, `latest`, `latest-complete`, `oldest`, or a time.
        """
        return self._resolve(text)

    # --- verify and drill -------------------------------------------------------------------------------------------

    @remembers("verify")
    def verify(
        self, text: str | None = None, subset: "Subset | Portion | None" = None, *, wait_lock: float = 0.0
    ) -> "list[VerifyReport]":
        """Compares stored bytes with the manifests, in every repository.

        Args:
            text: a set; all sets by default. Of several repositories, every copy of it.
            subset: which part of the bytes to read; all by default. This machine remembers a portion, and reads on from there
                the next time.
            wait_lock: seconds to wait for a lock.

        Raises:
            NoSuchSetError: there is nothing to verify.
            StateError: nothing can be remembered here, and a portion was asked for.
        """
        from recoup.operations import nearest, verify

        if len(self._nearest) == 1:
            names = [self._named(text)] if text else list(self._existing_names())
            return self._verify(names, subset, wait_lock, text or "")
        infos = self._everywhere(text) if text else self.sets()
        reports = [verify.unreachable(reason) for reason in self.unread]
        for name, held in nearest.by_repository(infos).items():
            reports += self.only(name)._verify(held, subset, wait_lock, text or "")  # noqa: SLF001 - another one of us
        if not reports:
            raise NoSuchSetError("the repositories hold no sets: nothing was verified", "Run `recoup backup`.")
        return reports

    def _verify(
        self, names: Sequence[SetName], asked: "Subset | Portion | None", wait_lock: float, sets: str
    ) -> "list[VerifyReport]":
        from recoup.operations import verify
        from recoup.operations.turns import Turns

        if not names:
            raise NoSuchSetError(f"{self.repository.name} holds no sets: nothing was verified", "Run `recoup backup`.")
        reports, turns = list["VerifyReport"](), Turns(self.settings.stack, self._repository_names[0], sets)
        with (
            self._read_locked(self.repository, "verify", wait_lock),
            self._emitting() as emit,
            self._crew("verify", self._repository_names, emit) as crew,
        ):
            subset = verify.chosen(names, asked, self.repository, turns)
            for name in verify.plan(names):
                reports.append(self._verified(name, subset, crew, self._examiner(name, emit), emit))
            if subset.share is not None:
                unread = sum(not report.files for report in reports)
                emit(turns.read_now(subset, self._clock.now(), unread))
        return reports

    def _verified(
        self, name: SetName, subset: "Subset", crew: "Crew | None", examiner: "Examiner", emit: Emit
    ) -> "VerifyReport":
        from recoup.operations import _verify_divided, verify

        host = self._host.name
        if crew is None:
            return verify.run([name], self.repository, subset, self._clock, emit, host, examiner)[0]
        return _verify_divided.run(name, self.repository, subset, crew, examiner, self._clock, emit, host)

    def _examiner(self, name: SetName, emit: Emit) -> "Examiner":
        """Whom to ask about what is stored: nobody where this host cannot read it, which is said."""
        try:
            if self.repository.can_open(name):
                self.repository.whole(self.repository.manifest(name))
                return self._examine_of_plug
        except WrongKeyError:
            raise
        except (RecoupError, OSError):
            return self._examine_of_plug  # a damaged manifest is the verification's to report
        message = (
            f"{name} is encrypted, and this host has no key to it: its bytes are compared, its contents not looked into"
        )
        emit(Event("contents_not_examined", self._clock.now(), message, Level.WARNING, str(name)))
        return _nobody

    def plan_drill(self, text: str = "latest-complete", sources: Sequence[str] | None = None) -> "DrillPlan":
        """What a drill would restore; changes nothing.

        Args:
            text: a set; the newest complete one by default.
            sources: names; all that the set holds by default.
        """
        from recoup.operations import drill

        manifest, info, others = self._whole_copy(self._copies(text, sources))
        self._demand_known(sources, manifest)
        plan = drill.plan(manifest, sources)
        return replace(plan, repository=info.repository, others=tuple(others))

    @remembers("drill")
    def drill(
        self,
        plan: "DrillPlan | None" = None,
        *,
        set: str = "latest-complete",  # noqa: A002 - the noun of the field
        sources: Sequence[str] | None = None,
        wait_lock: float = 0.0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> "DrillReport":
        """Restores a set into scratch twins and compares facts with facts.

        Args:
            plan: from `plan_drill`; made from the other arguments when None.
            set: a set; the newest complete one by default.
            sources: names; all that the set holds by default.
            wait_lock: seconds to wait for a lock.
            options: source name to the plug's own drill options.
        """
        plan = plan or self.plan_drill(set, sources)
        for name in {*(options or {})} - {*plan.sources}:
            raise UsageError(f"{name} is not drilled, so options of it have no meaning")
        if not plan.sources:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.skipped.items())
            raise UsageError(f"{plan.set} holds nothing that could be drilled ({reasons})")
        with self._locked("drill", wait_lock) as reading, self._emitting() as emit:
            return self._drill_copies(plan, reading, emit, options or {}, recorded=False)

    def _drill_copies(
        self,
        plan: "DrillPlan",
        reading: "Locked",
        emit: Emit,
        options: Mapping[str, Mapping[str, Any]],
        *,
        recorded: bool,
    ) -> "DrillReport":
        """Drills the nearest copy; when it cannot be read, the next one. The report has both."""
        from recoup.operations import nearest

        try:
            reading(plan.repository)
        except RecoupError as error:
            if not plan.others:
                raise
            emit(nearest.drill_fell_back(plan, error.message, self._clock.now()))
            return self._drill_copies(self._next_copy(plan), reading, emit, options, recorded=recorded)
        report = self._drill_copy(plan, reading, emit, options, recorded=recorded)
        if not report.unreadable or not plan.others:
            return report
        emit(nearest.drill_fell_back(plan, nearest.why_unreadable(report), self._clock.now()))
        later = self._drill_copies(self._next_copy(plan), reading, emit, options, recorded=recorded)
        return replace(later, earlier=(report, *later.earlier))

    def _drill_copy(
        self,
        plan: "DrillPlan",
        reading: "Locked",
        emit: Emit,
        options: Mapping[str, Mapping[str, Any]],
        *,
        recorded: bool,
    ) -> "DrillReport":
        """Drills one copy of a set, by workers where there are some."""
        with self._crew_for_drill(plan, emit, given=any(options.values())) as crew:
            if crew is not None:
                return self._drill_by(crew, plan, reading(plan.repository), emit, recorded=recorded)
        with self._staging("drill", [self._at(plan.repository)]) as scratch:
            return self._drill_in(scratch, plan, reading, emit, options, recorded=recorded)

    def _next_copy(self, plan: "DrillPlan") -> "DrillPlan":
        """The same drill of the copy behind the nearest one."""
        from recoup.operations import drill

        manifest, info, others = self._whole_copy(plan.others)
        again = drill.plan(manifest, plan.sources)
        return replace(again, skipped=plan.skipped, asked=plan.asked, repository=info.repository, others=tuple(others))

    def _drill_in(
        self,
        scratch: Path,
        plan: "DrillPlan",
        reading: "Locked",
        emit: Emit,
        options: Mapping[str, Mapping[str, Any]],
        *,
        recorded: bool,
    ) -> "DrillReport":
        """Drills one copy of a set; `recorded`: with the settings in its manifest, whatever is configured here."""
        from recoup.operations import drill

        drill.require_room(plan, scratch)
        live, defaults = {}, {}
        for name in plan.sources:
            source = self._source(name, scratch, emit, plan.manifest, recorded=recorded)
            live[name] = self._drilled(source, options.get(name, {}))
            defaults[name] = self._restore_options(plan.manifest.sources[name].kind, {})
        repository = reading(plan.repository)
        return drill.run(plan, live, defaults, repository, scratch, self._clock, emit, self._host.name)

    def plan_recovery(self) -> "RecoveryPlan":
        """What a disaster-recovery drill would restore: the newest good copy of every source; changes nothing.

        Raises:
            NoSuchSetError: no set has anything to restore.
            UsageError: the repository holds sets of several stacks, and no configuration says whose.
        """
        from recoup.operations import nearest, recovery

        infos = self._own_sets()
        stacks = sorted({info.manifest.stack for info in infos if info.manifest})
        if len(stacks) > 1:
            raise UsageError(
                f"{', '.join(self._nearest)} holds sets of several stacks: {', '.join(stacks)}",
                "Name a configuration with -c that has `stack:` and this repository.",
            )

        def whole(info: "SetInfo") -> "Manifest":
            return self._whole_copy(nearest.copies(info, infos, self._nearest))[0]

        with self._telling_of_keys():
            plan = recovery.plan(infos, self._loaded.sources, whole, self._clock.now())
        return replace(plan, drills=tuple(self._with_copies(one, infos) for one in plan.drills))

    def _with_copies(self, plan: "DrillPlan", infos: "Sequence[SetInfo]") -> "DrillPlan":
        """A drill of the nearest copy that can be opened, and where the others are."""
        from recoup.operations import nearest

        named = next(info for info in infos if info.manifest and info.manifest.id == plan.manifest.id)
        _, info, others = self._whole_copy(nearest.copies(named, infos, self._nearest))
        return replace(plan, repository=info.repository, others=tuple(others))

    @remembers("drill")
    def drill_recovery(
        self,
        plan: "RecoveryPlan | None" = None,
        *,
        wait_lock: float = 0.0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> "RecoveryReport":
        """Restores everything into scratch as an empty machine would: by the repository alone, with the settings in its
        manifests; compares, and measures how long it takes and of when the data is.

        Args:
            plan: from `plan_recovery`; made when None.
            wait_lock: seconds to wait for a lock.
            options: source name to the plug's own drill options.
        """
        from recoup.operations import recovery

        plan, chosen = plan or self.plan_recovery(), options or {}
        for name in {*chosen} - {name for one in plan.drills for name in one.sources}:
            raise UsageError(f"{name} is not drilled, so options of it have no meaning")
        places = ", ".join(self._at(name).location for name in self._nearest)
        with self._locked("drill", wait_lock) as reading, self._emitting() as emit:

            def drilled(one: "DrillPlan") -> "DrillReport":
                return self._drill_copies(one, reading, emit, chosen, recorded=True)

            return recovery.run(plan, drilled, self._clock, places, self._host.name)

    # --- restore ----------------------------------------------------------------------------------------------------

    def plan_restore(
        self,
        text: str = "latest",
        sources: Sequence[str] | None = None,
        *,
        target: str | None = None,
        targets: Mapping[str, str] | None = None,
        in_place: bool = False,
        overwrite: "Overwrite | None" = None,
        delete: bool = False,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        paths: Sequence[str] = (),
    ) -> "RestorePlan":
        """What a restore would do; changes nothing.

        Args:
            text: a set. `latest` means, for each source, the newest set that holds a good copy of it.
            sources: names; all that the set holds by default.
            target: folder for files; `restored_<set>` in the working folder by default.
            targets: source name to the place where its store is to be put; alone, it means these sources only.
            in_place: put each source back where it lives.
            overwrite: what happens to present files in `target`.
            delete: remove files in `target` that the set does not have.
            options: source name to the plug's own options.
            paths: only these, as files: `SOURCE/PART`, or that and a member of a tree or of an archive.
        """
        from recoup.operations import contents, nearest, restore

        targets, options = dict(targets or {}), dict(options or {})
        inner = contents.restored_by_source(paths, sources, place=bool(in_place or targets), delete=delete)
        sources = list(inner) if inner else sources
        if in_place and target:
            raise UsageError("--in-place and --target DIR contradict each other")
        if delete and overwrite is None and not in_place:
            raise UsageError("--delete needs --overwrite if-changed or always", "It changes a folder that is there.")
        whole = bool(target or in_place)
        wanted = _wanted_sources(sources, targets, whole=whole)
        chosen = self._holdings(text, wanted)
        notes = list(self.unread)
        for name in {*targets, *options} - set(chosen):
            raise UsageError(f"there is no source {name} in {text}", f"It has: {', '.join(chosen)}.")
        items, skipped = [], {}
        for name, (manifest, copies) in chosen.items():
            if reason := restore.reason_to_skip(manifest, name):
                skipped[name] = reason
                continue
            where = targets.get(name)
            if where is None and not in_place and options.get(name):
                raise UsageError(f"options of {name} have no meaning when it is restored as files")
            folder = checked_destination(target or f"restored_{manifest.name}", self._cwd)

            def item(
                info: "SetInfo",
                held: "Manifest",
                name: str = name,
                where: str | None = where,
                folder: Path = folder,
            ) -> "RestoreItem":
                if where is not None or in_place:
                    return self._place_item(
                        name, held, where, overwrite, delete, options.get(name, {}), self._at(info.repository)
                    )
                return restore.as_files(
                    name,
                    held,
                    folder,
                    overwrite,
                    delete=delete,
                    repository=info.repository,
                    paths=inner.get(name, ()),
                )

            tried = nearest.tried(copies, self._whole_manifest, item, notes)
            items.append(replace(next(tried), others=tried))
        if not items:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise UsageError(f"{text} holds nothing to restore ({reasons})")
        if wanted is not None and skipped:
            name, reason = next(iter(skipped.items()))
            raise UsageError(
                f"{name} cannot be restored from {text}: {reason}", "Choose another set, or other sources."
            )
        lost = tuple(name for name in skipped if restore.is_lost(chosen[name][0], name))
        return restore.Plan(restore.outer_first(items), overwrite, delete, skipped, lost, notes)

    def _place_item(
        self,
        name: str,
        manifest: "Manifest",
        where: str | None,
        overwrite: "Overwrite | None",
        delete: bool,  # noqa: FBT001 - passed on
        options: Mapping[str, Any],
        repository: "PlainRepository",
    ) -> "RestoreItem":
        from recoup.operations import restore

        kind = manifest.sources[name].kind
        accepted = self._restore_options_type(kind).model_fields
        general = {"overwrite": overwrite, "delete": delete or None}
        given = {key: value for key, value in general.items() if value is not None and key in accepted} | dict(options)
        if where is None and name not in self._loaded.sources:
            raise UsageError(
                f"{name} is not configured, so nobody knows where it lives",
                f"Say where: --target {name}=WHERE, or restore it as files.",
            )
        staging = self._spool or Path(tempfile.gettempdir())
        live = self._source(name, staging, self._listener, manifest, where)
        return restore.in_place(name, manifest, live, self._restore_options(kind, given), repository)

    def restore(
        self, plan: "RestorePlan | None" = None, *, wait_lock: float = 0.0, **arguments: Any
    ) -> "RestoreReport":
        """Restores.

        Args:
            plan: from `plan_restore`; made from `arguments` when None.
            wait_lock: seconds to wait for a lock.
            arguments: those of `plan_restore`.
        """
        from recoup.operations import restore

        plan = plan or self.plan_restore(**arguments)
        with self._locked("restore", wait_lock) as reading, self._emitting() as emit:
            if len(self._nearest) == 1:
                reading(self._nearest[0])  # of one repository, what is in the way of reading it stops all
            if self._spool is not None:
                make_private_folder(self._spool)  # what is on its way to a server waits there
            for item in plan.items:
                for sentence in item.live.recover() if item.live else ():
                    emit(Event("restore_recovered", self._clock.now(), f"{item.row.source}: {sentence}", Level.WARNING))
            with self._restoring_elsewhere(plan, reading, emit) as elsewhere:
                return restore.run(plan, reading, self._clock, emit, self._host.name, elsewhere)

    def holder(self, text: str, kind: str, source: str | None = None) -> "tuple[Manifest, str]":
        """The set that a person means, and which of its sources is of a kind.

        Args:
            text: a set; a word or a time means the newest one that has a good copy of `source`.
            kind: the plug.
            source: its name; the only one of that kind by default.

        Raises:
            UsageError: the set has none of that kind, or several.
        """
        from recoup.operations import restore

        manifest = self._whole_manifest(self._resolve(text, [source] if source else None))
        self._demand_known([source] if source else None, manifest)
        found = [name for name, record in manifest.sources.items() if record.kind == kind and source in (None, name)]
        if not found:
            raise UsageError(
                f"{manifest.name} has no source of kind {kind}"
                if source is None
                else f"{source} is not of kind {kind}",
                "`recoup show SET` says what a set holds.",
            )
        if len(found) > 1:
            raise UsageError(
                f"{manifest.name} has several sources of kind {kind}: {', '.join(found)}", "Choose one with --source."
            )
        if reason := restore.reason_to_skip(manifest, found[0]):
            raise UsageError(f"{manifest.name} has nothing of {found[0]}: {reason}", "Choose another set.")
        return manifest, found[0]

    @contextlib.contextmanager
    def fetched(
        self, manifest: "Manifest", source: str, wanted: Callable[[str], bool], *, wait_lock: float = 0.0
    ) -> Iterator[Path]:
        """Some parts of a source as files in a temporary folder that is removed on leaving; what is read is checked.

        Args:
            manifest: of the set.
            source: its name.
            wanted: chooses parts by name.
            wait_lock: seconds to wait for a lock.

        Raises:
            DamagedError: the stored bytes are wrong.
            NoSpaceError: there is too little room.
        """
        from recoup.system.filesystem import free_bytes
        from recoup.system.unpacking import write_part

        parts = [part for part in manifest.sources[source].parts if wanted(part.name)]
        info = self._copies(manifest.name)[0]
        name, repository = self._parsed(info.name), self._at(info.repository)
        with self._staging("look", [repository]) as folder:
            if sum(part.bytes for part in parts) > free_bytes(folder):
                raise NoSpaceError(
                    f"insufficient disk space to look into {manifest.name}",
                    "Free space, or set `staging:` to a folder on a larger disk.",
                )
            with self._read_locked(repository, "look", wait_lock):
                for part in parts:
                    write_part(repository.fetch(name, source, part), folder)
            yield folder

    # --- what other tools put there ---------------------------------------------------------------------------------

    def foreign(self) -> "tuple[Artefact, ...]":
        """What other tools put into keyed repositories, oldest first of each. What could not be read is added to `unread`."""
        from recoup.operations import foreign

        found: list[Artefact] = []
        for name in filter(self._is_keyed, self._nearest):
            try:
                found += foreign.listing(self._at(name))
            except (RecoupError, OSError) as error:
                self.unread = (*self.unread, f"{name}: what other tools put there could not be listed: {error}")
        return tuple(found)

    def foreign_named(self, text: str) -> "Artefact | None":
        """The one whose key or location a person wrote; None when it is neither."""
        from recoup.operations import foreign

        places = (self._at(name) for name in self._nearest if self._is_keyed(name))
        return next((found for place in places if (found := foreign.named(place, text))), None)

    @contextlib.contextmanager
    def foreign_file(self, artefact: "Artefact", *, wait_lock: float = 0.0) -> "Iterator[tuple[Path, str]]":
        """One of them as a file that is removed on leaving, and what it holds; it was looked into.

        Args:
            artefact: from `foreign`.
            wait_lock: seconds to wait for a lock.

        Raises:
            DamagedError: its content is damaged.
            RefusedError: nothing here can look into such a file.
        """
        from recoup.operations import foreign

        repository = self._at(artefact.repository)
        with (
            self._staging("look", [repository]) as folder,
            self._read_locked(repository, "look", wait_lock),
        ):
            yield foreign.fetched(repository, artefact, folder, lambda kind: load("recoup.sources", kind).look_into)

    def _is_keyed(self, name: str) -> bool:
        return self._settings_of(name).layout == "keyed"

    # --- several repositories ---------------------------------------------------------------------------------------

    def plan_copy(self, to: str, sets: Sequence[str] = (), *, origin: str | None = None) -> "CopyPlan":
        """What a copy would do; changes nothing.

        Args:
            to: name of the repository that gets the sets.
            sets: texts that name sets; all of this stack by default.
            origin: name of the repository that they are in; the one chosen by default.
        """
        from recoup.operations import copy

        left, right = self.only(origin) if origin else self, self.only(to)
        if left.repository.location == right.repository.location:
            raise UsageError(f"{left.repository.name} and {to} are one and the same repository")
        right.repository.check()
        infos = [left.show(text) for text in sets] or left._own_sets()  # noqa: SLF001 - another one of us
        factor = self._settings_of(to).free_space_factor
        return copy.plan(infos, left.repository, right.repository, factor, self._clock)

    def measured_copy(self, plan: "CopyPlan") -> "CopyPlan":
        """The plan of a copy with what goes over as it is stored, where both repositories have the same keys; changes nothing."""
        from recoup.operations import copy

        return copy.measured(plan, self._open(plan.origin), self._open(plan.target))

    @remembers("copy")
    def copy(
        self,
        plan: "CopyPlan | None" = None,
        *,
        to: str = "",
        sets: Sequence[str] = (),
        origin: str | None = None,
        wait_lock: float = 0.0,
    ) -> "CopyReport":
        """Copies sets into another repository, with their marks. Every byte is checked on the way; what is there is skipped.

        Args:
            plan: from `plan_copy`; made from the other arguments when None.
            to: name of the repository that gets the sets.
            sets: texts that name sets; all of this stack by default.
            origin: name of the repository that they are in; the one chosen by default.
            wait_lock: seconds to wait for a lock.
        """
        from recoup.operations import _copy_divided, copy

        plan = plan or self.plan_copy(to, sets, origin=origin)
        left, right = self._open(plan.origin), self._open(plan.target)
        with self._read_locked(left, "copy", wait_lock), self._emitting() as emit:
            way = copy.Way(left, right, self._clock, emit, wait_lock)
            with self._crew_for_copy(plan, emit) as crew:
                return copy.run(plan, way) if crew is None else _copy_divided.run(plan, way, crew)

    def plan_repair(self, helper: str = "", sets: Sequence[str] = (), *, wait_lock: float = 0.0) -> "list[RepairRow]":
        """Looks for damage by reading every stored byte, in the repository chosen, or in all but the helper; changes nothing.

        Args:
            helper: name of the repository that has copies of the same cuts; empty for what can be done without one.
            sets: texts that name sets; all by default.
            wait_lock: seconds to wait for a lock.
        """
        from recoup.operations import repair

        rows = list["RepairRow"]()
        with self._emitting() as emit, self._locked("repair", wait_lock) as reading:
            there = reading(helper) if helper else None
            for name in self._mended(helper):
                one = self.only(name)
                chosen = [one._named(text) for text in sets] or list(one._existing_names())  # noqa: SLF001 - another of us
                rows += repair.plan(chosen, repair.Sides(reading(name), there, self._clock, emit))
        return rows

    def _mended(self, helper: str) -> list[str]:
        names = self._several(None)
        found = [name for name in names if not helper or self._at(name).location != self._at(helper).location]
        if not found:
            raise UsageError(f"{helper} cannot mend itself", "Name the repository with damage by -r.")
        return found

    def repair(
        self,
        rows: "Sequence[RepairRow] | None" = None,
        *,
        helper: str = "",
        sets: Sequence[str] = (),
        wait_lock: float = 0.0,
    ) -> "list[RepairReport]":
        """Replaces damaged and missing files of sets by those of another repository, if they are those that the manifest
        wants, and looks at all of each damaged set again.

        Args:
            rows: from `plan_repair`; made from the other arguments when None.
            helper: name of the repository that has copies of the same cuts; empty for what can be done without one: the index
                of a dedup repository is made anew from its packs.
            sets: texts that name sets; all by default.
            wait_lock: seconds to wait for a lock.

        Raises:
            NoSuchSetError: there is nothing to look at.
        """
        from recoup.operations import repair

        rows = self.plan_repair(helper, sets, wait_lock=wait_lock) if rows is None else rows
        if not rows:
            raise NoSuchSetError("there are no sets: nothing was looked at", "`recoup list` shows what there is.")
        reports, stack = list["RepairReport"](), self.settings.stack
        with self._emitting() as emit, self._locked("repair", wait_lock) as reading:
            there = reading(helper) if helper else None
            for row in rows:
                here = self._at(row.repository)
                sides = repair.Sides(here, there, self._clock, emit)
                with here.lock("exclusive", "repair", stack, wait_lock) if row.damage else contextlib.nullcontext():
                    reports.append(repair.run(row, sides))
        return reports

    # --- retention --------------------------------------------------------------------------------------------------

    def plan_prune(
        self, tags: Mapping[str, str] | None = None, sources: Sequence[str] = (), *, free: int = 0
    ) -> "PrunePlan":
        """What a prune would remove, with the reasons; changes nothing.

        Args:
            tags: judge and remove only sets that have all of these tags; the others stay.
            sources: judge and remove only sets that were asked for all of these sources; the others stay.
            free: bytes that are needed at once: the oldest sets go until they take as much, whatever the rules keep.
        """
        from recoup.operations import prune, selection

        self.repository.check()
        filters = selection.Filter(tags=dict(tags or {}), sources=tuple(sources))
        return prune.plan(self.repository, self._rules, self._clock.now(), filters, wanted_bytes=free)

    @remembers("prune")
    def prune(self, plan: "PrunePlan | None" = None, *, wait_lock: float = 0.0) -> "PruneReport":
        """Removes the sets that no rule keeps.

        Args:
            plan: from `plan_prune`, for example after a person agreed to it; made anew under the lock when None.
            wait_lock: seconds to wait for a lock.
        """
        from recoup.operations import prune

        with self.repository.lock("exclusive", "prune", self.settings.stack, wait_lock), self._emitting() as emit:
            plan = plan or self.plan_prune()
            return prune.run(plan, self.repository, self._repository_settings.trash_days, emit, self._clock)

    def pin(self, text: str, reason: str = "", until: datetime | None = None) -> str:
        """Protects a set from retention; returns its name."""
        from recoup.operations import marks

        name = self._named(text)
        with self.repository.lock("shared", "pin", self.settings.stack):
            marks.pin(self.repository, name, self.masker(reason), until, self._clock.now(), self._host.name)
        return str(name)

    def unpin(self, text: str) -> str:
        """Ends a set's protection; returns its name."""
        from recoup.operations import marks

        name = self._named(text)
        marks.unpin(self.repository, name, self._clock.now(), self._host.name)
        return str(name)

    def note(self, text: str, note: str) -> str:
        """Adds a note to a set; returns its name."""
        from recoup.operations import marks

        name = self._named(text)
        marks.note(self.repository, name, self.masker(note), self._clock.now(), self._host.name)
        return str(name)

    def accept(self, text: str) -> str:
        """Lets a suspicious set count as good; returns its name."""
        from recoup.operations import marks

        name = self._named(text)
        marks.accept(self.repository, name, self._clock.now(), self._host.name)
        return str(name)

    def plan_delete(self, texts: Sequence[str]) -> DeletePlan:
        """Which sets a delete would remove. Refused are those that retention would never remove, either."""
        from recoup.operations import prune

        self.repository.check()
        chosen = {info.name: info for info in map(self._resolve, texts)}
        protected = prune.protected(self.sets())
        refused = {name: protected[name] for name in chosen if name in protected}
        return DeletePlan(tuple(chosen.values()), refused, self._repository_settings.trash_days)

    def delete(self, plan: DeletePlan, *, force: bool = False, wait_lock: float = 0.0) -> tuple[str, ...]:
        """Deletes sets and returns their names; where sets share their content, an event tells what becomes of the space.

        Raises:
            RefusedError: one is protected, and `force` is off; nothing is deleted.
        """
        from recoup.operations import _reclaiming

        plan.require_allowed(force=force)
        names = [parsed for info in plan.infos if (parsed := SetName.parse(info.name))]
        with self.repository.lock("exclusive", "delete", self.settings.stack, wait_lock), self._emitting() as emit:
            reclaim = self.repository.delete(names, keep_days=plan.trash_days)
            if reclaim is not None:
                emit(_reclaiming.event(reclaim, self._clock.now()))
        return tuple(str(name) for name in names)

    def undelete(self, text: str) -> str:
        """Takes a set out of the trash; returns its name."""
        from recoup.operations import selection

        self.repository.check()
        trashed = self.repository.trashed()
        if not trashed:
            raise NoSuchSetError(
                f"{text} cannot be taken back: the trash is empty", "Sets stay in it for `trash_days`."
            )
        name = selection.named(text, trashed)
        with self.repository.lock("exclusive", "undelete", self.settings.stack):
            self.repository.undelete(name)
        return str(name)

    # --- repository -------------------------------------------------------------------------------------------------

    def create_repositories(self) -> dict[str, str]:
        """Creates the configured repositories that are not there yet; returns name to location of those created."""
        from recoup.config._keys_of import in_order

        created = {}
        for name in in_order(self._repository_names, self.settings.repositories):
            repository = self._open(name)
            try:
                repository.check()
            except NoRepositoryError:
                self._create(name, repository)
                created[name] = repository.location
        return created

    def _create(self, name: str, repository: "PlainRepository") -> None:
        from recoup.repository._base import Replica

        other = self._settings_of(name).keys_of
        if other is None:
            repository.create()
        elif isinstance(repository, Replica):  # which the configuration was checked for
            repository.create_like(self._open(other))

    def locks(self) -> "Sequence[Lock]":
        """All locks on the repository."""
        self.repository.check()
        return self.repository.locks()

    def recover(self) -> Iterator["PutRight"]:
        """Finishes or takes back what killed runs left at the sources, and starts services that they left stopped.

        Yields:
            One for each source where something was left.
        """
        from recoup.operations.recovering import put_right

        with self._emitting() as emit:
            for name in self.source_names:
                found = put_right(name, self._source(name, Path(tempfile.gettempdir()), emit))
                if found.done or found.error:
                    yield found

    def unlock(self, *, force: bool = False) -> "Sequence[Lock]":
        """Removes stale locks, or, with `force`, all; returns those removed."""
        self.repository.check()
        return self.repository.unlock(force=force)

    @cached_property
    def repository(self) -> "PlainRepository":
        """The repository to work on: the one chosen, or the only one configured.

        Raises:
            UsageError: there are several, and none was chosen.
        """
        names = self._several(None)
        if len(names) > 1:
            raise UsageError(f"there are several repositories: {', '.join(names)}", "Choose one with -r NAME.")
        return self._open(names[0])

    def only(self, repository: str) -> "Stack":
        """This stack with one of its repositories chosen.

        Args:
            repository: a configured one's name, or a path or URL.
        """
        chosen = Stack(self._loaded, repository, self._listener, self._cwd, self._clock)
        chosen._telling = self._telling  # what happens there is part of the same run
        return chosen

    def read_again(self) -> "Stack":
        """This stack, its configuration read anew with the environment of this process; nobody is told of its events.

        Raises:
            ConfigError: the configuration is missing or wrong by now.
        """
        files = [self._cwd / file for file in self.files]
        return open_stack(files, self._loaded.overrides, self._chosen, cwd=self._cwd, clock=self._clock)

    @property
    def _repository_settings(self) -> "RepositorySettings":
        return self._settings_of(self._repository_names[0])

    def _existing_names(self) -> Sequence[SetName]:
        self.repository.check()
        return self.repository.names()

    @property
    def _rules(self) -> "Rules":
        return self._rules_of(self._repository_names[0])
