"""All chosen collections of a server as parts of a set: frozen together, each checked, opened and described before it counts."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from recoup.errors import InterruptedRunError, SourceError
from recoup.model.events import Event, Level
from recoup.model.facts import Bracket, Facts, Probe, Value
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import shown
from recoup.model.part import Part
from recoup.sources._base import Noted, Site
from recoup.sources.qdrant import _choosing
from recoup.sources.qdrant._collected import Collected, collect
from recoup.sources.qdrant._counting import Counts
from recoup.sources.qdrant._faults import MissingError, ServerError
from recoup.sources.qdrant._inventory import Collection, Inventory, choose
from recoup.sources.qdrant._items import items
from recoup.sources.qdrant._job import Job
from recoup.sources.qdrant._leftovers import Ours
from recoup.sources.qdrant._openings import Openings
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._quiesce import paused
from recoup.sources.qdrant._record import Method
from recoup.sources.qdrant._taking import Passing, Surroundings
from recoup.sources.qdrant._watching import watched
from recoup.system.subprocesses import end_all
from recoup.system.tempdirs import remove_tree

_MEANING: Mapping[Method, str] = {
    "stream": "shards streamed in parallel, each of one moment",
    "stored": "shard snapshots made in parallel, each of one moment",
    "collection": "one snapshot of each collection and node, its shards one after the other",
    "scroll": "points read one by one, not of one moment",
}
"""What a method guarantees, for the manifest."""


@dataclass
class _Chosen:
    """A collection with what has to be taken of it."""

    collection: Collection
    methods: tuple[Method, ...]
    jobs: list[Job]
    lost: list[Finding]
    fetched: list["Future[None]"] = field(default_factory=list)

    def ended(self) -> Iterator[Job]:
        """The jobs as they end.

        Raises:
            InterruptedRunError: they were stopped.
        """
        jobs = dict(zip(self.fetched, self.jobs, strict=True))
        for future in as_completed(jobs):
            future.result()
            _raise_when_stopped([jobs[future]])
            yield jobs[future]


class ServerCapture:
    """Collections that stand still."""

    def __init__(
        self,
        inventory: Inventory,
        chosen: Sequence[_Chosen],
        counts: Counts,
        around: Surroundings,
        openings: Openings,
    ) -> None:
        self._inventory, self._chosen, self._counts, self._openings = inventory, chosen, counts, openings
        self._around, self._site, self._folder = around, around.site, around.folder
        self._noted = Noted()
        self._values: dict[str, dict[str, Value]] = {}
        self._probes: list[Probe] = []
        self._collected: list[Collected] = []
        self._began = around.site.clock.now()

    @property
    def frozen(self) -> Frozen:
        """From the first freeze's beginning to the last one's end."""
        taken = [shard for one in self._collected for shard in one.record.shards]
        if not taken:
            return Frozen(self._began, self._began)
        return Frozen(min(shard.first for shard in taken), max(shard.last for shard in taken))

    @property
    def method(self) -> str:
        """How, and what that guarantees."""
        used: dict[Method, int] = {}
        for one in self._collected:
            used[one.record.method] = used.get(one.record.method, 0) + 1
        told = [f"{method} ({_MEANING[method]}): {count} collections" for method, count in used.items()]
        return "; ".join(told) or "nothing to take"

    @property
    def engine(self) -> str:
        """The server and its version."""
        return f"qdrant {self._inventory.version}"

    def parts(self) -> Iterator[Part]:
        """For each collection its record, then what holds its points.

        Raises:
            SourceError: no collection could be taken.
        """
        for one in self._chosen:
            version = self._inventory.version
            collected = collect(one.collection, one.jobs, one.ended(), version, self._site, self._openings)
            self._keep(one, collected)
            if collected.record.shards or not one.jobs:
                yield from collected.parts(self._folder)
            collected.drop()
        self._around.passing.finish()
        self._compare_names()
        if self._chosen and not self._collected:
            first = next(finding for finding in self._noted.findings if not finding.harmless)
            raise SourceError(f"no collection could be taken: {first.item}: {first.message}", "See the server's log.")

    def _keep(self, one: _Chosen, collected: Collected) -> None:
        self._noted.findings += [*one.lost, *collected.findings]
        if not collected.record.shards and one.jobs:
            return
        self._collected.append(collected)
        self._values |= collected.values
        self._probes += collected.record.probes

    def _compare_names(self) -> None:
        """Names collections that came or went meanwhile."""
        with contextlib.suppress(ServerError):
            now = set(self._inventory.again())
            before = set(self._inventory.names)
            for name in sorted(now - before):
                self._note(name, "appeared while the backup ran: it is not in it")
            for name in sorted(before - now):
                self._note(name, "was deleted while the backup ran")

    def _note(self, collection: str, message: str) -> None:
        self._noted.add("changed", f"collection {shown(collection)}", message, harmless=True)

    def note(self, what: str, item: str, message: str, *, harmless: bool = False) -> None:
        """Adds a finding."""
        self._noted.add(what, item, message, harmless=harmless)

    def facts(self) -> Facts:
        """Of each collection and shard: exact count, digest of ids, sampled payloads, vectors, settings; and probes."""
        return Facts(self._values, tuple(self._probes), self._site.seed if self._probes else None)

    def findings(self) -> Iterable[Finding]:
        """What is missing or doubtful."""
        return tuple(self._noted.findings)

    def brackets(self) -> tuple[Bracket, ...]:
        """The exact counts of the live collections around the freeze, of those that were taken whole and opened."""
        found = (self._counts.bracket(one.record.name) for one in self._collected if one.counted)
        return tuple(bracket for bracket in found if bracket is not None)


def _raise_when_stopped(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if isinstance(job.error, InterruptedRunError):
            raise job.error


@contextlib.contextmanager
def captured(
    options: Options, site: Site, inventory: Inventory, *, shared: bool = False, names: Sequence[str] | None = None
) -> Iterator[ServerCapture]:
    """Freezes the chosen collections.

    Args:
        options: the settings.
        site: staging, clock, news.
        inventory: of the server, with connections of our own: they are broken on leaving.
        shared: whether other sources are part of the same cut.
        names: the collections themselves, instead of the settings' patterns.

    Raises:
        EmptySourceError: a pattern matches nothing.
        SourceError: the key lacks a right, writing could not be stopped, or nobody answers.
    """
    folder = Path(tempfile.mkdtemp(prefix="qdrant-", dir=site.staging))
    ours, hurry = Ours(), False
    servers = {node.server.url: node.server for node in inventory.nodes}
    pool: ThreadPoolExecutor | None = None
    resources = contextlib.ExitStack()
    try:
        openings = resources.enter_context(Openings(folder, site.seed))
        around = Surroundings(options, site, folder, ours, Passing(site))
        counts = Counts(inventory.server)
        if names is None:
            names = choose(
                inventory.names, options.collections, allow_empty=options.allow_empty, aliases=inventory.aliases
            )
        chosen, gone = _choose(names, inventory, around, counts, shared=shared)
        jobs = [job for one in chosen for job in one.jobs]
        pool = ThreadPoolExecutor(_choosing.workers(options, len(jobs)), "qdrant")
        capture = ServerCapture(inventory, chosen, counts, around, openings)
        for finding in gone:
            capture.note(finding.what, finding.item, finding.message)
        _freeze(options, site, inventory, chosen, pool, counts, capture)
        yield capture
    except BaseException as error:
        hurry = isinstance(error, KeyboardInterrupt | InterruptedRunError)
        raise
    finally:
        for server in servers.values():
            server.kill()
        if hurry:
            end_all()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        resources.close()
        _tell(site, ours.delete_all(servers, hurry=hurry))
        for server in servers.values():
            server.close()
        remove_tree(folder)


def _choose(
    names: Sequence[str], inventory: Inventory, around: Surroundings, counts: Counts, *, shared: bool
) -> tuple[list[_Chosen], list[Finding]]:
    options, collections, gone = around.options, [], []
    for name in names:
        try:
            collections.append(inventory.collection(name))
        except MissingError:
            gone.append(Finding("unreadable", f"collection {shown(name)}", "was deleted before it could be taken"))
    if gone and not collections:
        raise SourceError(f"{gone[0].item} {gone[0].message}", "Run the backup again.")
    shards = sum(len(collection.shards) for collection in collections)
    may = _choosing.Rights(write=False, list=False, everywhere=False)
    chosen = []
    for collection in collections:
        if options.method != "scroll" and not may.everywhere:
            may = _choosing.rights(inventory, collection)
        methods = _choosing.methods(options, inventory, collection, may, shards=shards, shared=shared)
        found, lost = items(inventory, collection, methods[0])
        chosen.append(_Chosen(collection, methods, [Job(item, methods, around, counts) for item in found], lost))
    return chosen, gone


def _freeze(
    options: Options,
    site: Site,
    inventory: Inventory,
    chosen: Sequence[_Chosen],
    pool: ThreadPoolExecutor,
    counts: Counts,
    capture: ServerCapture,
) -> None:
    jobs = [job for one in chosen for job in one.jobs]
    list(pool.map(Job.look, jobs))
    names = [one.collection.name for one in chosen]
    with counts.polled(names), paused(options.quiesce, site.base) as pause, watched(inventory.nodes, jobs, site):
        for one in chosen:
            one.fetched = [pool.submit(_first_step(one, job)) for job in one.jobs]
        for job in jobs:
            job.frozen.wait()
        _raise_when_stopped(jobs)
    for one in chosen:
        if one.methods[0] in ("stored", "collection"):
            one.fetched = [pool.submit(job.fetch) for job in one.jobs]
    if pause.failure:
        capture.note("unreadable", "quiesce", f"writing could not be resumed: {pause.failure}")
    if pause.late:
        capture.note("suspicious", "quiesce", "writing went on before everything stood still: the limit was reached")


def _first_step(one: _Chosen, job: Job) -> Callable[[], None]:
    """What is read as soon as it stands still (a stream cannot wait), or what can be fetched later."""
    return job.freeze if one.methods[0] in ("stored", "collection") else job.freeze_and_fetch


def _tell(site: Site, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        site.emit(Event("snapshot_left", site.clock.now(), f"{site.name}: {sentence}", Level.WARNING))
