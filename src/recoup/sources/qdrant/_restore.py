"""Restore to a running server: beside what is there, checked, and then switched to. Nobody who asks meanwhile sees an error.

Every collection of the set is made, filled and checked under a name of its own before any name changes hands. So until the
switch everything old is as it was, and an error or a kill leaves only what the journal knows how to remove.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from recoup.errors import DamagedError
from recoup.model.events import Event, Level, Progress
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.sources._base import Capture, Placement, Site
from recoup.sources.qdrant import _restore_intents
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._checking import check, counted, points_of, wait_until_whole
from recoup.sources.qdrant._cleanup import take_back
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import restoring
from recoup.sources.qdrant._gathering import read_record
from recoup.sources.qdrant._inventory import Inventory, look
from recoup.sources.qdrant._preflight import Standing, Undertaking, chosen, undertaking
from recoup.sources.qdrant._record import RECORD, CollectionRecord
from recoup.sources.qdrant._restore_intents import Intents, Making, Writing
from recoup.sources.qdrant._restore_keeping import copy_away
from recoup.sources.qdrant._restore_kept import Switched, keep
from recoup.sources.qdrant._restore_making import (
    creation,
    finishing,
    fresh_mark,
    index_payload,
    is_mark,
    make,
    same_numbers,
)
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant._restore_points import write_points
from recoup.sources.qdrant._restore_resuming import begun, digest, discard, take_over
from recoup.sources.qdrant._restore_spool import stream
from recoup.sources.qdrant._restore_upload import upload_shards
from recoup.sources.qdrant._switching import Ready, aliases_of, move_aliases, replace
from recoup.system.clock import Clock
from recoup.system.tempdirs import temporary_folder

Copying = Callable[[str, Path], AbstractContextManager[Capture]]
"""Captures one collection of the server, staged in a folder: how `replace` takes the copy of what it deletes."""


def restore_collections(
    parts: Iterable[Part], options: RestoreOptions, servers: Sequence[Server], site: Site, copying: Copying
) -> Placement:
    """Restores collections to a running server.

    Args:
        parts: of a set's source: for each collection its record, then what holds its points.
        options: which, under which names, and how.
        servers: the server's nodes; the first one is asked for what concerns all.
        site: staging, clock, and where news go.
        copying: captures a collection of the server.

    Raises:
        DamagedError: the stored bytes are wrong; nothing is switched.
        RefusedError: the snapshots do not go into this server.
        RestoreError: it failed; what answered before still does.
    """
    with restoring():
        inventory = look(servers, allow_remote=site.allow_remote)
        with temporary_folder("restore", site.staging) as folder:
            run = Run(options, inventory, site, folder, copying)
            try:
                run.warn_of_lost_nodes()
                for record, rest in by_collection(parts):
                    run.prepare(record, rest)
                return run.switch()
            except BaseException as error:
                run.give_up(error)
                raise


def by_collection(parts: Iterable[Part]) -> Iterator[tuple[CollectionRecord, Iterator[StreamPart]]]:
    """Each collection's record with its other parts, which have to be read before the next collection is asked for.

    Raises:
        DamagedError: a part stands where none can be.
    """
    source = iter(parts)
    following = next(source, None)
    while following is not None:
        folder, _, name = following.name.partition("/")
        if name != RECORD:
            raise DamagedError(f"{shown(following.name)} in the set does not follow its collection's {RECORD}")
        record = read_record(stream(following))
        following = None

        def rest(prefix: str = f"{folder}/") -> Iterator[StreamPart]:
            nonlocal following
            for part in source:
                if not part.name.startswith(prefix):
                    following = part
                    return
                yield stream(part)

        remaining = rest()
        yield record, remaining
        for _ in remaining:  # what nobody wanted
            pass


class Run:
    """One restore.

    Args:
        options: as asked.
        inventory: of the server.
        site: clock and news.
        folder: for files on their way; empty.
        copying: captures a collection of the server.
    """

    def __init__(
        self, options: RestoreOptions, inventory: Inventory, site: Site, folder: Path, copying: Copying
    ) -> None:
        self._options, self._inventory, self._site = options, inventory, site
        self._folder, self._copying = folder, copying
        self._begun = begun(inventory.server, site.clock.now().timestamp())
        self._standing = standing(inventory, without=self._begun)
        self._intents: Intents = _restore_intents.begin()
        self._records: list[CollectionRecord] = []
        self._ready: list[Ready] = []
        self._done: list[str] = []

    @property
    def _clock(self) -> Clock:
        return self._site.clock

    @property
    def _server(self) -> Server:
        return self._inventory.server

    def _tell(self, name: str, message: str, level: Level = Level.INFO, **fields: object) -> None:
        self._site.emit(Event(name, self._clock.now(), message, level, fields=fields))

    def warn_of_lost_nodes(self) -> None:
        """Says which nodes cannot be reached, so that nothing is checked there."""
        for peer, reason in self._inventory.lost.items():
            message = f"copies on peer {peer} are neither waited for nor checked: {reason}"
            self._tell("node_unreachable", message, Level.WARNING, peer=str(peer))

    # --- each collection, beside what is there ------------------------------------------------------------------------

    def prepare(self, record: CollectionRecord, parts: Iterator[StreamPart]) -> None:
        """Makes, fills and checks one collection, if it was asked for."""
        self._records.append(record)
        if self._options.collections and record.name not in self._options.collections:
            return
        plan = undertaking(record, self._options, self._standing, self._clock.now())
        if plan.is_new and (half := self._half_written(plan)):
            self._go_on(plan, half, parts)
        elif plan.is_new:
            self._make(plan, parts)
        else:
            write_points(plan, parts, self._server, self._folder, self._site, self._options.rate)
            self._ready.append(Ready(plan))

    def _half_written(self, plan: Undertaking) -> Writing | None:
        """What a killed run of the same restore left, to go on with; what is in the way of another one is removed."""
        for half in [half for half in self._begun.values() if half.name == plan.name]:
            del self._begun[half.into]
            if plan.points and half.record == digest(plan.record):
                return half
            discard(self._server, half)
        return None

    def _go_on(self, plan: Undertaking, half: Writing, parts: Iterator[StreamPart]) -> None:
        plan, mark = dataclasses.replace(plan, into=half.into), fresh_mark()
        making = Making(self._server.url, plan.into, mark, creation(plan.record.config))
        take_over(self._server, half, making, self._intents)
        self._tell("restore_resumed", f"{half.done:,} points are in {shown(plan.into)} already", collection=plan.into)
        self._write(plan, mark, parts, skip=half.done)
        self._require_whole(plan)
        self._ready.append(Ready(plan, mark))

    def _write(self, plan: Undertaking, mark: str, parts: Iterator[StreamPart], skip: int = 0) -> None:
        writing = Writing(self._server.url, plan.into, mark, plan.name, digest(plan.record), skip)
        write_points(
            plan,
            parts,
            self._server,
            self._folder,
            self._site,
            self._options.rate,
            skip=skip,
            noted=lambda count: self._intents.add(dataclasses.replace(writing, done=count)),
        )

    def _make(self, plan: Undertaking, parts: Iterator[StreamPart]) -> None:
        mark = fresh_mark()
        self._intents.add(Making(self._server.url, plan.into, mark, creation(plan.record.config)))
        self._standing = self._standing.with_collection(plan.into, plan.record.config)
        made = make(plan, self._inventory, mark, self._clock, self._options.timeout)
        if not plan.points and not same_numbers(made, plan.record):
            message = f"{shown(plan.into)} did not get the shard numbers of the set, so its points go in one by one"
            self._tell("points_one_by_one", message, Level.WARNING, collection=plan.into)
            plan = dataclasses.replace(plan, points=True)
        if plan.points:
            self._write(plan, mark, parts)
        else:
            upload_shards(plan, parts, made, self._inventory, self._folder, self._site)
        self._require_whole(plan)
        self._ready.append(Ready(plan, mark))

    def _require_whole(self, plan: Undertaking) -> None:
        clock, emit, shards = self._clock, self._site.emit, len(plan.record.shards)
        wait_until_whole(self._inventory, plan.into, shards, clock, emit, self._options.timeout)
        index_payload(self._server, plan.into, plan.record.payload_schema)
        wait_until_whole(self._inventory, plan.into, shards, clock, emit, self._options.timeout)
        check(self._inventory, plan.into, plan.record, clock, emit, by_shard=not plan.points)
        if last := finishing(plan.record.config):
            self._server.patch(at("collections", plan.into), last, wait=None)

    # --- the switch ---------------------------------------------------------------------------------------------------

    def switch(self) -> Placement:
        """Lets all names lead to what was restored.

        Raises:
            DamagedError: there is nothing to switch to.
            RestoreError: it failed; what was not switched answers as before, and the message names what was.
        """
        chosen(
            self._records, self._options
        )  # a name that the set does not have is an error before anything is switched
        if not self._ready:
            raise DamagedError("the set holds no collection of this source", "See what it holds: `recoup show SET`.")
        replaced = [one for one in self._ready if one.plan.way == "replace"]
        copies = {one.plan.name: self._copy(one.plan) for one in replaced}
        aliases = aliases_of(self._server)
        notes = {one.plan.into: self._note(one.plan, aliases, copies) for one in self._ready if one.plan.old}
        try:
            move_aliases(self._server, self._ready)
            self._switched(one for one in self._ready if one not in replaced)
            for one in replaced:
                replace(self._server, one, self._intents, self._clock)
                self._switched([one])
        except BaseException:
            for into, path in notes.items():
                if into not in self._done and path is not None:
                    path.unlink(missing_ok=True)
            raise
        self._drop_old()
        self._intents.forget()
        return Placement(self._target(), self._kept(copies), self._counted())

    def _copy(self, plan: Undertaking) -> Path:
        def copying() -> AbstractContextManager[Capture]:
            return self._copying(plan.name, self._folder)

        return copy_away(plan.name, self._server.url, copying, self._options.keep, self._intents, self._site)

    def _note(self, plan: Undertaking, aliases: dict[str, str], copies: dict[str, Path]) -> Path | None:
        """Writes down how to go back, before it is needed."""
        if plan.way not in ("alias", "replace") or plan.old is None:
            return None
        before = {alias: aliases.get(alias, "") for alias in plan.aliases}
        copy = str(copies[plan.name]) if plan.name in copies else ""
        return keep(Switched(self._server.url, self._clock.now(), plan.name, plan.into, plan.old, before, copy))

    def _switched(self, ready: Iterable[Ready]) -> None:
        for one in ready:
            plan = one.plan
            self._done.append(plan.into)
            what = "written into" if plan.way == "merge" else "restored as"
            count = points_of(plan.record)
            message = f"{count:,} points of {shown(plan.record.name)} were {what} {shown(plan.into)}"
            if plan.aliases:
                leads = "leads" if len(plan.aliases) == 1 else "lead"
                message += f"; {', '.join(map(shown, plan.aliases))} {leads} to it"
            self._tell(
                "collection_restored", message, collection=plan.record.name, into=plan.into, way=plan.way, points=count
            )
            for alias, name in plan.left.items():
                message = f"the alias {shown(alias)} was left as it is: it is taken by {shown(name)}"
                self._tell("alias_left", message, Level.WARNING, alias=alias, collection=name)

    def _drop_old(self) -> None:
        if not self._options.drop_old:
            return
        for one in self._ready:
            if one.plan.way == "alias" and one.plan.old:
                self._server.delete(at("collections", one.plan.old))

    def _target(self) -> str:
        return f"{self._server.url} ({', '.join(shown(one.plan.into) for one in self._ready)})"

    def _counted(self) -> dict[str, int]:
        """What `check` counted on every node: only what was made anew is the set's own, and may be recorded without counts."""
        checked = [one.plan for one in self._ready if one.plan.is_new and counted(one.plan.record)]
        return {f"points of {_known_as(plan)}": points_of(plan.record) for plan in checked}

    def _kept(self, copies: dict[str, Path]) -> str:
        """Where what was there before is now."""
        left = [] if self._options.drop_old else [one.plan.old for one in self._ready if one.plan.way == "alias"]
        places = [f"collection {shown(old)}" for old in left if old] + [str(path) for path in copies.values()]
        return ", ".join(places)

    # --- after an error -----------------------------------------------------------------------------------------------

    def give_up(self, error: BaseException) -> None:
        """Removes what was made and not switched to; says what could not be removed, and what was switched before."""
        for sentence in take_back(self._intents, self._server, self._clock):
            self._tell("cleanup_needed", sentence, Level.WARNING)
        if self._done and isinstance(error, Exception):
            names = ", ".join(map(shown, self._done))
            self._tell("restored_in_part", f"these are restored and in use: {names}", Level.WARNING)
        self._site.emit(Progress("restore to the server", 0, None, finished=True))


def _known_as(plan: Undertaking) -> str:
    """The names by which clients ask for it: that of the collection, then its other aliases."""
    others = [shown(alias) for alias in plan.aliases if alias != plan.name]
    return f"{shown(plan.name)} ({', '.join(others)})" if others else shown(plan.name)


class _Configs(Mapping[str, Mapping[str, Any]]):
    """The configuration of each collection, asked for when it is needed: there may be thousands."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._known: dict[str, Mapping[str, Any]] = {}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        if name not in self._known:
            if name not in self._inventory.names:
                raise KeyError(name)
            about = self._inventory.server.get(at("collections", name))
            self._known[name] = about.get("config", {})
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._inventory.names

    def __iter__(self) -> Iterator[str]:
        return iter(self._inventory.names)

    def __len__(self) -> int:
        return len(self._inventory.names)


def standing(inventory: Inventory, without: Collection[str] = ()) -> Standing:
    """What the plan of a restore has to know of a server. A mark is no alias to be moved: else a half-made collection that was
    left by another machine would keep the name that clients ask for.

    Args:
        inventory: of the server.
        without: collections that are as good as not there.
    """
    seen = dataclasses.replace(inventory, names=tuple(name for name in inventory.names if name not in without))
    asked = {alias: name for alias, name in inventory.aliases.items() if not is_mark(alias)}
    aliases = {alias: name for alias, name in asked.items() if name not in without}
    return Standing(inventory.version, _Configs(seen), aliases)


def undertakings(
    records: Iterable[CollectionRecord], options: RestoreOptions, inventory: Inventory, clock: Clock
) -> list[Undertaking]:
    """What a restore would do; changes nothing."""
    present = standing(inventory)
    plans = []
    for record in chosen(records, options):
        plans.append(undertaking(record, options, present, clock.now()))
        present = present.with_collection(plans[-1].into, record.config)
    return plans
