"""What a stack does for another machine, and how it has other machines work for it (`execution:` in the settings)."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from recoup._found import StackWithSets
from recoup.errors import ConfigError, RefusedError
from recoup.model.events import Emit, Event, ignore
from recoup.system.host import is_this_machine
from recoup.system.plugs import load

if TYPE_CHECKING:
    from recoup.model.reports import DrillReport
    from recoup.operations._backup_plan import Batch, Send
    from recoup.operations._working import Crew, Hearing
    from recoup.operations.copy import Plan as CopyPlan
    from recoup.operations.drill import Plan as DrillPlan
    from recoup.operations.nearest import Locked
    from recoup.operations.restore import Elsewhere
    from recoup.operations.restore import Item as RestoreItem
    from recoup.operations.restore import Plan as RestorePlan
    from recoup.operations.verify import Examine
    from recoup.repository._base import Repository
    from recoup.repository.plain.repository import PlainRepository
    from recoup.sources._base import Source
    from recoup.system.executing import Order, Workers

_RUN = "recoup.jobs:run"


class StackWithJobs(StackWithSets):
    """A stack that can share work with others."""

    # --- as the one that gives orders ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _sending(self, repository: str) -> "Iterator[Send | None]":
        """What gives workers orders concerning a repository; None where this machine does everything.

        Raises:
            WorkersError: they cannot be reached, or one has another version of Recoup.
            RefusedError: the scheduler is another host, and `allow_remote` is off.
        """
        if self.settings.execution.dask is None:
            yield None
            return
        with self._workers(self.settings.execution.dask) as found:

            def send(job: str, orders: "Sequence[Order]") -> "Batch":
                return found.begin(self._orders(job, repository, orders))

            yield send

    def _orders(self, job: str, repository: str, orders: "Sequence[Order]", **more: Any) -> "list[Mapping[str, Any]]":
        about = {"stack": self.settings.stack, "repository": repository, "location": self._at(repository).location}
        return [{**about, **more, "job": job, "arguments": dict(order)} for order in orders]

    @contextlib.contextmanager
    def _crew(self, verb: str, repositories: Sequence[str], emit: Emit) -> "Iterator[Crew | None]":
        """Workers for a verb; None where this machine does it alone, which is told if workers are configured.

        Args:
            verb: as the lock names it that this machine holds meanwhile.
            repositories: names of those that workers have to reach.
            emit: where news go.

        Raises:
            WorkersError: they cannot be reached, or one has another version of Recoup.
            RefusedError: the scheduler is another host, and `allow_remote` is off.
        """
        from recoup.operations._working import Crew, holder

        if self.settings.execution.dask is None:
            yield None
            return
        if here := [name for name in repositories if not self._at(name).is_remote]:
            self._tell_not_used(verb, f"{here[0]} is a folder of this machine", emit)
            yield None
            return
        waiting = holder(self._host.name, os.getpid(), verb)
        with self._workers(self.settings.execution.dask) as found:

            def give(job: str, repository: str, orders: "Sequence[Order]") -> "Batch":
                return found.begin(self._orders(job, repository, orders, holder=waiting))

            yield Crew(give, len(found.names))

    @contextlib.contextmanager
    def _crew_for_copy(self, plan: "CopyPlan", emit: Emit) -> "Iterator[Crew | None]":
        """Nobody where there is nothing to copy."""
        if not plan.missing:
            yield None
            return
        with self._crew("copy", [plan.origin, plan.target], emit) as crew:
            yield crew

    @contextlib.contextmanager
    def _crew_for_drill(self, plan: "DrillPlan", emit: Emit, *, given: bool) -> "Iterator[Crew | None]":
        """Nobody where options were given, which may hold secrets."""
        if given and self.settings.execution.dask is not None:
            self._tell_not_used("drill", "it was given options, which may hold secrets", emit)
            yield None
            return
        with self._crew("drill", [plan.repository], emit) as crew:
            yield crew

    def _drill_by(
        self, crew: "Crew", plan: "DrillPlan", repository: "Repository", emit: Emit, *, recorded: bool
    ) -> "DrillReport":
        from recoup.operations import _drill_divided

        settings = {}
        for name in plan.sources:
            live = self._source(name, Path(tempfile.gettempdir()), emit, plan.manifest, recorded=recorded)
            settings[name] = self.masker.value(live.settings())
        host = self._host.name
        return _drill_divided.run(plan, settings, repository, crew, self._clock, emit, host, recorded=recorded)

    @contextlib.contextmanager
    def _restoring_elsewhere(self, plan: "RestorePlan", reading: "Locked", emit: Emit) -> "Iterator[Elsewhere | None]":
        """Who restores sources that are reached over a network; None where this machine restores all."""
        from recoup.operations._restore_divided import Sent

        leaving = []
        for item in plan.items if self.settings.execution.dask is not None else ():
            if reason := self._reason_to_stay(item):
                if item.live is not None and item.live.options.place != "path":
                    self._tell_not_used("restore", f"{item.row.source}: {reason}", emit)
                continue
            leaving.append(item)
        if not leaving:
            yield None
            return
        with self._crew("restore", [item.row.repository for item in leaving], emit) as crew:
            if crew is None:
                yield None
                return

            def may_go(item: "RestoreItem") -> bool:
                return not self._reason_to_stay(item)

            with Sent(crew, may_go, reading, self.masker, self._clock, emit) as sent:
                yield sent

    def _reason_to_stay(self, item: "RestoreItem") -> str:
        from recoup.operations._restore_divided import reason_to_stay

        source = item.row.source
        configured = item.live is not None and item.live.options == self._loaded.sources.get(source)
        return reason_to_stay(item, configured=configured, is_remote=self._at(item.row.repository).is_remote)

    def _tell_not_used(self, verb: str, reason: str, emit: Emit) -> None:
        message = f"{verb} is done by this machine, not by workers: {reason}"
        emit(Event("workers_not_used", self._clock.now(), message, fields={"verb": verb, "reason": reason}))

    @contextlib.contextmanager
    def _workers(self, address: str) -> "Iterator[Workers]":
        from importlib.metadata import version

        from recoup.system.executing import workers

        host = urlsplit(address).hostname or ""
        if not self.settings.allow_remote and not is_this_machine(host):
            raise RefusedError(
                f"execution.dask names {host}, which is not this machine, and allow_remote is off",
                "Set allow_remote: true, or take execution.dask away.",
            )
        with workers(address, _RUN, version("recoup")) as found:
            yield found

    # --- as the one that is ordered -----------------------------------------------------------------------------------

    def do(self, order: Mapping[str, Any]) -> Any:
        """Does a job of another machine, by this machine's own configuration.

        Args:
            order: `job`, `stack`, `repository`, `location`, `arguments`: JSON values.

        Returns:
            JSON values.

        Raises:
            RefusedError: this machine is configured in another way, or does not know the job.
        """
        self._require_alike(order)
        if order["job"] == "capture":
            return self._take_piece(order["repository"], **order["arguments"])
        jobs: Mapping[str, Callable[..., Any]] = {
            "compare": self._compare,
            "examine": self._look_into,
            "drill": self._drill_source,
            "copy": self._copy_set,
            "restore": self._restore_source,
        }
        if order["job"] not in jobs:
            raise RefusedError(f"there is no job {order['job']!r}")
        repository = self._at(order["repository"])
        return jobs[order["job"]](repository, self._hearing(repository, order["holder"]), **order["arguments"])

    def _hearing(self, repository: "PlainRepository", who: Mapping[str, Any]) -> "Hearing":
        from recoup.operations._working import Hearing, is_awaited

        return Hearing(lambda: is_awaited(repository, who, self._clock.now()), self._clock, self.masker)

    def _require_alike(self, order: Mapping[str, Any]) -> None:
        if order["stack"] != self.settings.stack:
            raise self._unlike(f"the stack {self.settings.stack!r}", f"{order['stack']!r} is asked for")
        self._require_place(order["repository"], order["location"])

    def _require_place(self, repository: str, location: str) -> None:
        found = self._at(repository).location
        if found != location:
            raise self._unlike(f"the repository {repository} at {found}", f"{location} is asked for")

    def _unlike(self, here: str, there: str) -> RefusedError:
        return RefusedError(
            f"the worker on {self._host.name} is configured in another way: it has {here}, {there}",
            "Give the workers the same configuration (RECOUP_CONFIG in their environment).",
        )

    def _take_piece(
        self,
        repository: str,
        source: str,
        settings: Mapping[str, Any],
        piece: Mapping[str, Any],
        ticket: Mapping[str, str],
    ) -> dict[str, Any]:
        from recoup.operations._dividing import take
        from recoup.repository._base import Ticket
        from recoup.sources._base import Divisible

        self._chosen_sources([source])
        with self._staging("piece", []) as staging:
            live = self._source(source, staging, self._quiet, compresses=self._compresses(repository))
            self._require_same(source, live, settings)
            if not isinstance(live, Divisible):
                raise RefusedError(f"source {source} of kind {live.options.kind} has no pieces")
            writer = self._at(repository).join(Ticket(**ticket))
            return {**take(piece, source, live, writer, self._clock), "worker": f"{self._host.name}:{os.getpid()}"}

    def _compresses(self, repository: str) -> bool:
        return self._settings_of(repository).compression != "none"

    @property
    def _quiet(self) -> Emit:
        """News of a job: whoever ordered it tells what became of it."""
        return ignore

    def _require_same(self, name: str, live: "Source", settings: Mapping[str, Any]) -> None:
        if self.masker.value(live.settings()) != settings:
            raise self._unlike(f"other settings of source {name}", "which would be something else")

    def _compare(self, repository: "PlainRepository", hearing: "Hearing", name: str, subset: Mapping[str, Any]) -> Any:
        from recoup.operations import _verify_divided

        return _verify_divided.compare(self._parsed(name), subset, repository, hearing)

    def _look_into(self, repository: "PlainRepository", hearing: "Hearing", name: str, source: str) -> Any:
        from recoup.operations import _verify_divided

        examiner = self._examine_of_plug
        return _verify_divided.look_into(self._parsed(name), source, repository, examiner, hearing, self._host.name)

    @staticmethod
    def _examine_of_plug(kind: str) -> "Examine | None":
        """What a kind's plug offers to `verify` besides the hashes; None also for a plug that is not installed here."""
        try:
            examine: Examine | None = getattr(load("recoup.sources", kind), "examine", None)
        except ConfigError:
            return None
        return examine

    def _drill_source(
        self,
        repository: "PlainRepository",
        hearing: "Hearing",
        name: str,
        source: str,
        settings: Mapping[str, Any],
        recorded: bool,  # noqa: FBT001 - of an order
    ) -> Any:
        from recoup.operations import _drill_divided, drill

        manifest = repository.whole(repository.manifest(self._parsed(name)))
        with self._staging("drill", []) as scratch:
            live = self._source(source, scratch, hearing, manifest, recorded=recorded)
            self._require_same(source, live, settings)
            options = self._restore_options(manifest.sources[source].kind, {})
            plan = drill.plan(manifest, [source])
            return _drill_divided.take(plan, live, options, repository, scratch, self._clock, hearing)

    def _copy_set(
        self,
        repository: "PlainRepository",
        hearing: "Hearing",
        name: str,
        bytes: int,  # noqa: A002 - the noun of the field
        target: str,
        place: str,
        factor: float,
    ) -> Any:
        from recoup.operations import _copy_divided, copy

        self._require_place(target, place)
        way = copy.Way(repository, self._at(target), self._clock, hearing, locked=True)
        return _copy_divided.take(copy.Row(name, "", bytes), factor, way, hearing)

    def _restore_source(
        self,
        repository: "PlainRepository",
        hearing: "Hearing",
        name: str,
        source: str,
        settings: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> Any:
        from recoup.operations import _restore_divided, restore

        self._chosen_sources([source])
        manifest = repository.whole(repository.manifest(self._parsed(name)))
        with self._staging("restore", []) as staging:
            live = self._source(source, staging, hearing, manifest)
            self._require_same(source, live, settings)
            live.recover()
            chosen = self._restore_options(manifest.sources[source].kind, options)
            item = restore.in_place(source, manifest, live, chosen, repository)
            return _restore_divided.take(item, repository, self._clock, hearing)
