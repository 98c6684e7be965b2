"""A stack that is watched: what is wrong with its backups, and what would stop the next one."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from recoup._opened import OpenedStack
from recoup.errors import RecoupError, StorageError
from recoup.system.destinations import checked_destination

if TYPE_CHECKING:
    from recoup.model.reports import Problem, StatusReport
    from recoup.operations.doctor import Finding
    from recoup.operations.doctor import Report as DoctorReport
    from recoup.operations.status import Known, Limits, Look, RepositoryState
    from recoup.retention import Verdict
    from recoup.storage._base import Storage

_DAILY = timedelta(hours=26)  # clocks that go back make a day longer
_WATCHED_VERBS = ("prune", "verify", "drill")


class WatchedStack(OpenedStack):
    """A configured stack, looked at."""

    def status(self) -> "StatusReport":
        """How old the newest good copy of each source is, in every configured repository (or the chosen one), and what is
        wrong.

        Raises:
            RecoupError: none of the repositories can be read; the first one's reason.
        """
        found = self.look()
        failures = [state.failure for state in found.states if state.failure]
        if failures and len(failures) == len(found.states):
            raise failures[0]
        return found.report

    def look(self) -> "Look":
        """The status, with what it was made of. That no repository can be read is a problem among others here."""
        from recoup.operations import status

        known, limits = self._known, self._limits
        states = tuple(self._state_of(name, known) for name in self._nearest)
        report = status.report(states, self.source_names, self._clock.now(), limits, known)
        return status.Look(replace(report, problems=(*report.problems, *self._untold)), states, known, limits)

    def verdicts(self, found: "Look") -> "dict[tuple[str, str], Verdict]":
        """What the rules of each repository say of its sets, by repository and name. What a storage keeps by force is not asked.

        Args:
            found: from `look`.
        """
        from recoup.operations import prune

        now = self._clock.now()
        return {
            (state.repository, name): verdict
            for state in found.states
            for name, verdict in prune.verdicts(state.infos, self._rules_of(state.repository), now).items()
        }

    @property
    def _untold(self) -> "tuple[Problem, ...]":
        """Whom notices do not reach."""
        from recoup.sinks._notices import failing
        from recoup.system.statefile import StateError

        try:
            return failing(self.remembered_as, self._loaded.notify) if self._loaded.notify else ()
        except StateError:
            return ()  # that nothing can be remembered is a problem of its own

    def _state_of(self, name: str, known: "Known") -> "RepositoryState":
        """What a repository holds; one that cannot be read is told, and the others are looked at all the same."""
        from recoup.operations import selection, status

        try:
            repository = self._at(name)
            repository.check()
            found = selection.listing(repository, self._clock.now())
            stack = self.remembered_as
            locks = [lock for lock in repository.locks() if lock.mode == "backup" and not lock.stale]
            return status.RepositoryState(
                name,
                tuple(found),
                repository.free_bytes(),
                rules=self._rules_of(name) if self._prunes(name, known) else None,
                running=any(lock.stack == stack for lock in locks),
                stack=stack,
                awaited=self._awaited(name),
            )
        except RecoupError as error:
            return status.RepositoryState(name, failure=error)
        except OSError as error:
            failure = StorageError(f"{error.strerror or error}", "Check its disk and permissions.")
            return status.RepositoryState(name, failure=failure)

    def _awaited(self, name: str) -> "frozenset[str] | None":
        """The sources that the schedule brings into a repository, with those that it brings nowhere; None when it brings nothing
        there, so that a repository that was forgotten in it is told.
        """
        lines = [line for line in self.settings.schedule if line.run == "backup"]
        here = [line for line in lines if not line.to or {"all", name} & {*line.to}]
        if not here or any(line.run == "copy" and name in line.to for line in self.settings.schedule):
            return None
        brought = {source for line in here for source in line.sources or self.source_names}
        elsewhere = {source for line in lines for source in line.sources or self.source_names}
        return frozenset(brought | ({*self.source_names} - elsewhere))

    def _prunes(self, name: str, known: "Known") -> bool:
        """Whether sets are pruned there: after each backup, by the schedule, or by hand."""
        scheduled = any(job.run == "prune" for job in known.jobs)
        by_hand = any(run.verb == "prune" and run.repository == name and not run.exit_code for run in known.runs)
        return self._settings_of(name).prune_after_backup or scheduled or by_hand

    @property
    def _known(self) -> "Known":
        """What this machine remembers; that it cannot remember is told, too."""
        from recoup.operations.status import Known
        from recoup.scheduler.state import alive, job_states
        from recoup.system.runs import runs
        from recoup.system.statefile import StateError

        stack = self.remembered_as
        if not stack:
            return Known()
        try:
            return Known(runs(stack), job_states(stack, self.jobs, self._clock.now()), alive(stack))
        except StateError as error:
            return Known(failure=f"{error.message}. {error.hint}")

    @property
    def _limits(self) -> "Limits":
        from recoup.operations.status import Limits
        from recoup.storage._object_options import number_of

        watch = self.settings.watch
        ages = {verb: age for verb in _WATCHED_VERBS if (age := self._age_of(verb)) is not None}
        return Limits(
            watch.max_age,
            {
                **self._ages_by_schedule(),
                **{n: one.max_age for n, one in watch.sources.items() if one.max_age is not None},
            },
            {name: self._shrink_of(name) for name in self.source_names},
            ages,
            None if watch.min_free is None else number_of(watch.min_free),
            watch.days_until_full,
        )

    def _ages_by_schedule(self) -> dict[str, timedelta]:
        """How old sources may become, where nobody set it, that the schedule takes less often than each day."""
        if "max_age" in self.settings.watch.model_fields_set:
            return {}
        now, found = self._clock.now(), dict[str, timedelta]()
        for job in self.jobs:
            distance = job.distance(now)
            if distance is None or job.arguments[0] != "backup":
                continue
            for source in job.sources or self.source_names:
                found[source] = min(found.get(source, distance), distance)
        return {source: distance * 1.25 for source, distance in found.items() if distance > _DAILY}

    def _age_of(self, verb: str) -> timedelta | None:
        """How old a verb's last good run may become: as set, else twice the distance of its line in the schedule."""
        chosen: timedelta | None = getattr(self.settings.watch, f"{verb}_age")
        if chosen is not None:
            return chosen
        now = self._clock.now()
        found = [distance for job in self.jobs if job.arguments[0] == verb and (distance := job.distance(now))]
        return 2 * max(found) if found else None

    def _shrink_of(self, source: str) -> float:
        """The share of the usual size below which a source's copy is suspicious."""
        watch = self.settings.watch
        own = watch.sources.get(source)
        return watch.shrink if own is None or own.shrink is None else own.shrink

    def doctor(self) -> "DoctorReport":
        """What would stop a backup, and how to mend it; changes nothing."""
        from recoup.operations import doctor

        live = {name: self._source(name, Path(tempfile.gettempdir())) for name in self.source_names}
        names = self._repository_names
        openers = {name: self._opener(name) for name in names}
        factors = {name: self._settings_of(name).free_space_factor for name in names}
        return doctor.run(live, openers, factors, self.warnings, self._machine())

    def _machine(self) -> "Iterator[Finding]":
        """What is to be said of this machine."""
        from recoup.operations import _machine
        from recoup.scheduler.active import Entry, entries
        from recoup.sinks._opening import receivers
        from recoup.system.statefile import StateError, state_path

        yield from _machine.of_places(self._places)
        allowed = self.settings.allow_remote
        yield from _machine.of_receivers(
            receivers(self._loaded.notify, self._loaded.base, self.masker, allow_remote=allowed)
        )
        stack, known = self.remembered_as, self._known
        if not stack:
            return
        installed: tuple[Entry, ...] = ()
        put_aside: Path | None = None
        with contextlib.suppress(StateError):  # which the memory's own finding tells
            damaged = state_path(stack).with_suffix(".db.damaged")
            put_aside = damaged if damaged.exists() else None
            installed = entries(stack) if state_path(stack).exists() else ()
        yield from _machine.findings(known, installed, put_aside, self._clock.now())

    @property
    def _places(self) -> dict[str, Path]:
        """Folders that the configuration names, besides repositories."""
        events = self.settings.events
        files = {"events.jsonl": events.jsonl, "events.log": events.log}
        found = {name: checked_destination(file, self._loaded.base).parent for name, file in files.items() if file}
        return found if self._spool is None else {"staging": self._spool, **found}

    def doctor_storage(self) -> "DoctorReport":
        """What the repositories' storages can and cannot do; tried with objects that are removed again."""
        from recoup.operations import doctor

        def connecting(name: str) -> "Callable[[], Storage]":
            return lambda: self._storage_of(self._settings_of(name))

        return doctor.probe({name: connecting(name) for name in self._repository_names})
