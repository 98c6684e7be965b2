"""All chosen collections of a server as parts of a set: frozen together, each checked, opened and described before it counts."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from recoup.errors import InterruptedRunError, SourceError
from recoup.model.events import Event, Level
from recoup.model.facts import Bracket, Facts, Probe, Value
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import shown
from recoup.model.part import Part
from recoup.sources._base import Noted, Recall, Site
from recoup.sources.qdrant import _choosing
from recoup.sources.qdrant._collected import Collected, collect
from recoup.sources.qdrant._counting import Counts, Seen
from recoup.sources.qdrant._faults import MissingError, ServerError
from recoup.sources.qdrant._increments import NOT_LISTED, recalled
from recoup.sources.qdrant._inventory import Collection, Inventory, choose
from recoup.sources.qdrant._items import Only, items
from recoup.sources.qdrant._job import Job
from recoup.sources.qdrant._leftovers import Ours
from recoup.sources.qdrant._openings import Openings
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._quiesce import paused
from recoup.sources.qdrant._record import CollectionRecord, Method
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
        return interval((one.record for one in self._collected), self._began)

    @property
    def method(self) -> str:
        """How, and what that guarantees."""
        return told(one.record for one in self._collected)

    @property
    def engine(self) -> str:
        """The server and its version."""
        return f"qdrant {self._inventory.version}"

    def parts(self) -> Iterator[Part]:
        """For each collection its record, then what holds its points.

        Raises:
            SourceError: no collection could be taken.
        """
        for collected in self.collected():
            yield from collected.parts(self._folder)
        self._compare_names()
        if self._chosen and not self._collected:
            raise nothing_taken(self._noted.findings)

    def collected(self) -> Iterator[Collected]:
        """The collections of which something was taken, or could not even be tried. What nobody took of one is then dropped."""
        for one in self._chosen:
            version = self._inventory.version
            collected = collect(one.collection, one.jobs, one.ended(), version, self._site, self._openings)
            self._keep(one, collected)
            if collected.record.shards or not one.jobs:
                yield collected
            collected.drop()
        self._around.passing.finish()

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
            self._noted.findings += came_and_went(self._inventory.names, self._inventory.again())

    def note(self, what: str, item: str, message: str, *, harmless: bool = False) -> None:
        """Adds a finding."""
        self._noted.add(what, item, message, harmless=harmless)

    def facts(self) -> Facts:
        """Of each collection and shard: exact count, digest of ids, sampled payloads, vectors, settings; and probes."""
        return Facts(self._values, tuple(self._probes), self._site.seed if self._values else None)

    def findings(self) -> Iterable[Finding]:
        """What is missing or doubtful."""
        return tuple(self._noted.findings)

    def brackets(self) -> tuple[Bracket, ...]:
        """The exact counts of the live collections around the freeze, of those that were taken whole and opened."""
        found = (self._counts.bracket(one.record.name) for one in self._collected if one.counted)
        return tuple(bracket for bracket in found if bracket is not None)

    def seen(self, collection: str) -> Seen | None:
        """What was counted in the live collection; None when it could not be counted."""
        return self._counts.seen(collection)


def told(records: Iterable[CollectionRecord]) -> str:
    """How collections were captured, and what that guarantees, from their records."""
    records = list(records)
    used = Counter(record.method for record in records)
    words = [f"{method} ({_MEANING[method]}): {count} collections" for method, count in used.items()]
    shards = [shard for record in records for shard in record.shards]
    merged = sum(shard.increment is not None and shard.increment.merges > 0 for shard in shards)
    words += [f"{merged} of {len(shards)} shards merged from an earlier set and what changed since"] if merged else []
    return "; ".join(words) or "nothing to take"


def interval(records: Iterable[CollectionRecord], began: datetime) -> Frozen:
    """From the first freeze's beginning to the last one's end; `began` where nothing was taken."""
    taken = [shard for record in records for shard in record.shards]
    if not taken:
        return Frozen(began, began)
    return Frozen(min(shard.first for shard in taken), max(shard.last for shard in taken))


def nothing_taken(findings: Iterable[Finding]) -> SourceError:
    """Says that no collection could be taken, and why not the first one."""
    first = next(finding for finding in findings if not finding.harmless)
    return SourceError(f"no collection could be taken: {first.item}: {first.message}", "See the server's log.")


def came_and_went(before: Iterable[str], now: Iterable[str]) -> list[Finding]:
    """Names collections that came or went meanwhile."""
    came = dict.fromkeys(sorted({*now} - {*before}), "appeared while the backup ran: it is not in it")
    went = dict.fromkeys(sorted({*before} - {*now}), "was deleted while the backup ran")
    return [
        Finding("changed", f"collection {shown(name)}", message, harmless=True)
        for name, message in (*came.items(), *went.items())
    ]


def _raise_when_stopped(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if isinstance(job.error, InterruptedRunError):
            raise job.error


@contextlib.contextmanager
def captured(
    options: Options,
    site: Site,
    inventory: Inventory,
    *,
    shared: bool = False,
    names: Sequence[str] | None = None,
    only: Only | None = None,
    recall: Recall | None = None,
) -> Iterator[ServerCapture]:
    """Freezes the chosen collections.

    Args:
        options: the settings.
        site: staging, clock, news.
        inventory: of the server, with connections of our own: they are broken on leaving.
        shared: whether other sources are part of the same cut.
        names: the collections themselves, instead of the settings' patterns.
        only: what to take of them, and how; all of them, as the settings say, by default.
        recall: looks for what an earlier set has; without it all is taken in full, and nothing is noted for a later one.

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
        increments = None
        if options.incremental and recall is not None:
            increments = recalled(site, inventory.version, options.full_every, recall)
        around = Surroundings(options, site, folder, ours, Passing(site), increments)
        counts = Counts(inventory.server)
        if names is None:
            names = choose(
                inventory.names, options.collections, allow_empty=options.allow_empty, aliases=inventory.aliases
            )
        chosen, gone = _choose(names, inventory, around, counts, only, shared=shared)
        for one in chosen:
            if increments and one.methods[0] != "stream":
                increments.tell_full(f"collection {shown(one.collection.name)}", NOT_LISTED)
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
    names: Sequence[str],
    inventory: Inventory,
    around: Surroundings,
    counts: Counts,
    only: Only | None,
    *,
    shared: bool,
) -> tuple[list[_Chosen], list[Finding]]:
    collections, gone = still_there(names, inventory)
    if gone and not collections and only is None:
        raise SourceError(f"{gone[0].item} {gone[0].message}", "Run the backup again.")
    decided = (
        [only.methods] * len(collections) if only else decide(around.options, inventory, collections, shared=shared)
    )
    chosen = []
    for collection, methods in zip(collections, decided, strict=True):
        wanted, lost = items(inventory, collection, methods[0], only.shard if only else None)
        chosen.append(_Chosen(collection, methods, [Job(item, methods, around, counts) for item in wanted], lost))
    return chosen, gone


def still_there(names: Sequence[str], inventory: Inventory) -> tuple[list[Collection], list[Finding]]:
    """The collections of these names, and a finding for each that is gone."""
    collections, gone = [], []
    for name in names:
        try:
            collections.append(inventory.collection(name))
        except MissingError:
            gone.append(Finding("unreadable", f"collection {shown(name)}", "was deleted before it could be taken"))
    return collections, gone


def decide(
    options: Options, inventory: Inventory, collections: Sequence[Collection], *, shared: bool
) -> list[tuple[Method, ...]]:
    """The methods for each collection; asks for rights as seldom as possible. Raises as `_choosing.methods` does."""
    shards = sum(len(collection.shards) for collection in collections)
    may = _choosing.Rights(write=False, list=False, everywhere=False)
    decided = []
    for collection in collections:
        if options.method != "scroll" and not may.everywhere:
            may = _choosing.rights(inventory, collection)
        decided.append(_choosing.methods(options, inventory, collection, may, shards=shards, shared=shared))
    return decided


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
