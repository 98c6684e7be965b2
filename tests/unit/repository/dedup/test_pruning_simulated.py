"""Backups and prunes of several hosts without any lock: in every order that chance makes, each set that is listed restores.

Hosts have clocks that differ, listings are late, writers take days, prunes are killed, sets go to the trash and come back, and
in the middle of a prune others go on.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from recoup.errors import NoSuchSetError, RefusedError, StorageError
from recoup.model.manifest import StoredPart
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.repository._base import SetWriter
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage._base import Object
from recoup.storage.memory import MemoryStorage, MemoryWriter
from recoup.testing.late_listing import LateListing
from recoup.testing.repository_contract import Given, manifest_of, record_of, store, stream_bytes
from unit.repository.dedup.small_sets import DAY, Standing, noise

LATE = DAY / 8  # a listing; with the differences of clocks below this makes a quarter of the grace time
OFF = DAY / 32  # a clock
BLOBS = {f"b{i}": noise(i, 300) for i in range(5)}
BASE = noise(77, 20_000)
BLOBS |= {f"v{i}": BASE[: 4000 * i] + b"changed" + BASE[4000 * i :] for i in range(3)}  # stored against each other


class Killed(BaseException):
    """What no code of ours catches."""


class Steps:
    """Counts the steps of a prune: between two of them anything may happen, and at one it may be killed."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None
        self.left = 0
        self.dead = False

    def step(self, *, change: bool = True) -> None:
        if self.dead:
            raise Killed
        if change and self.left:
            self.left -= 1
            self.dead = self.left == 0
            if self.dead:
                raise Killed
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None and threading.current_thread() is threading.main_thread():
            left, self.left = self.left, 0  # what others do is not a step of the prune
            happens()
            self.left, self.meanwhile = left, happens


class Stepping(MemoryStorage):
    """A storage that counts."""

    steps: Steps

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self.steps.step()
        super().put(key, data, if_absent=if_absent)

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:
        self.steps.step()
        return super().writer(key, hidden=hidden)

    def list(self, prefix: str = "") -> Iterator[Object]:
        self.steps.step(change=False)
        return super().list(prefix)

    def delete(self, key: str) -> None:
        self.steps.step()
        super().delete(key)

    def move(self, source: str, target: str) -> None:
        self.steps.step()
        super().move(source, target)


class Late(Stepping, LateListing):
    """One whose listings are late."""


@dataclass
class Shifted:
    """A host's clock."""

    true: Standing
    off: timedelta

    def now(self) -> datetime:
        return self.true.now() + self.off

    def monotonic(self) -> float:
        return self.true.monotonic()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


@dataclass
class Open:
    """A set that is being written."""

    context: AbstractContextManager[SetWriter]
    writer: SetWriter
    left: list[str]
    parts: list[StoredPart] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class Life:
    """What happens, by chance."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Standing()
        self.steps = Steps()
        late = lambda key: LATE * self.chance.random() if not key.startswith("keys/") else timedelta()  # noqa: E731
        self.world = Late(self.clock, late) if seed % 2 else Stepping()
        self.world.steps = self.steps
        (folder / "key").write_bytes(b"k" * 32)
        self.options = DedupOptions(key_file=folder / "key", max_unused=self.chance.choice([0.0, 30.0]), delta="on")
        self.host().create()
        self.keys: Keys | None = self.host().keys
        self.open: list[Open] = []
        self.held: dict[SetName, list[str]] = {}
        self.trashed: dict[SetName, list[str]] = {}
        self.counts: dict[str, int] = {}

    def host(self) -> DedupRepository:
        off = OFF * self.chance.choice([-1, 0, 1])
        made = DedupRepository("r", self.world, self.options, Shifted(self.clock, off), None)
        if getattr(self, "keys", None):
            made.__dict__["keys"] = self.keys
        return made

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- what may happen ----------------------------------------------------------------------------------------------

    def begins(self) -> None:
        if len(self.open) < 3:
            host = self.host()
            context = host.begin(host._clock.now())
            wanted = self.chance.sample(sorted(BLOBS), self.chance.randint(1, 4))
            self.open.append(Open(context, context.__enter__(), wanted))

    def stores(self) -> None:
        for one in self.open:
            self.store_of(one)

    def store_of(self, one: Open) -> None:
        if one.left:
            name = one.left.pop()
            one.parts.append(store(one.writer, "db", StreamPart(name, Given(BLOBS[name]), len(BLOBS[name]))))
            one.names.append(name)
            if self.chance.random() < 0.3:
                one.writer.run.flush()  # type: ignore[attr-defined] # as after some minutes

    def commits(self) -> None:
        if not self.open:
            return
        one = self.open.pop(self.chance.randrange(len(self.open)))
        while one.left:
            self.store_of(one)
        try:
            one.writer.commit(manifest_of(one.writer.name, {"db": record_of(*one.parts)}))
            one.context.__exit__(None, None, None)
            self.held[one.writer.name] = one.names
            self.count("sets")
        except StorageError as error:
            assert "back up again" in error.hint.lower()
            one.context.__exit__(StorageError, error, None)
            self.count("given up")

    def dies(self) -> None:
        if self.open and self.chance.random() < 0.3:
            one = self.open.pop()
            error = KeyboardInterrupt()
            with contextlib.suppress(KeyboardInterrupt):
                one.context.__exit__(KeyboardInterrupt, error, None)

    def comes_back(self) -> None:
        for name in list(self.trashed)[:1]:
            with contextlib.suppress(NoSuchSetError, FileExistsError):
                self.host().undelete(name)
                self.held[name] = self.trashed.pop(name)
                self.count("came back")

    def prunes(self) -> None:
        days = self.chance.choice([0.0, 0.0, 2.0])
        going = [name for name in self.visible() if self.chance.random() < 0.5]
        for name in going:
            self.trashed[name] = self.held.pop(name)
        self.steps.left = self.chance.randint(1, 25) if self.chance.random() < 0.3 else 0
        if self.chance.random() < 0.5:
            self.steps.meanwhile = self.meanwhile
        try:
            freed = self.host().delete(going, keep_days=days)
            self.counts["freed"] = self.counts.get("freed", 0) + freed.freed_bytes
            self.count("prunes")
        except Killed:
            self.count("killed")
        except RefusedError as error:
            assert "no chunk is removed" in error.message
            self.count("refused")
        finally:
            self.steps.left, self.steps.dead, self.steps.meanwhile = 0, False, None
        self.look_what_went(going)

    def meanwhile(self) -> None:
        self.clock.time += DAY / 500
        happens = self.chance.choice([self.commits, self.begins, self.stores, *[None] * 9])
        if happens is not None:
            happens()

    def visible(self) -> list[SetName]:
        return [name for name in self.host().names() if name in self.held]

    def look_what_went(self, going: list[SetName]) -> None:
        """A killed delete may not have come to all sets."""
        with self.later() as host:
            names, trashed = set(host.names()), set(host.trashed())
        for name in going:
            if name in names:
                self.held[name] = self.trashed.pop(name)
        self.trashed = {name: content for name, content in self.trashed.items() if name in trashed}

    @contextlib.contextmanager
    def later(self) -> Iterator[DedupRepository]:
        """As it looks when every listing is up to date."""
        time, self.clock.time = self.clock.time, self.clock.time + LATE
        yield self.host()
        self.clock.time = time

    # --- what has to be true ------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Every set restores byte for byte."""
        with self.later() as host:
            assert set(host.names()) == set(self.held)
            for name, wanted in self.held.items():
                parts = {part.name: part for part in host.manifest(name).sources["db"].parts}
                assert list(parts) == wanted
                for blob in wanted:
                    assert stream_bytes(host.fetch(name, "db", parts[blob])) == BLOBS[blob], (name, blob)

    def end(self) -> None:
        """Everybody is done; some days later nothing is there that no set uses."""
        while self.open:
            self.commits()
        self.options = DedupOptions(key_file=self.options.key_file, max_unused=0.0)
        for _ in range(5):
            self.clock.time += 2 * DAY
            self.host().delete([])
        self.trashed.clear()
        self.check()
        view = self.host().sharing()
        assert view.needs().kept.all()
        assert set(view.found) == set(view.stock.packs)


def lived(folder: Path, seed: int, events: int) -> dict[str, int]:
    life = Life(folder, seed)
    usual = [life.begins, life.begins, life.stores, life.stores, life.commits, life.dies, life.comes_back]
    usual += [life.prunes] * 3
    for n in range(10 * events):
        if n >= events and life.counts.get("sets", 0) > 5 and life.counts.get("freed"):
            break
        life.clock.time += DAY * life.chance.choice([0.0, 0.01, 0.2, 0.5, 1.1])
        happens = life.chance.choice(usual)
        happens()
        if happens == life.prunes:
            life.check()
    life.end()
    return life.counts


@pytest.mark.parametrize("seed", range(3))
def test_whatever_hosts_do_at_the_same_time_every_set_restores(tmp_path: Path, seed: int) -> None:
    counts = lived(tmp_path, seed, 60)
    assert counts["sets"] > 5
    assert counts["freed"] > 0


@pytest.mark.slow
def test_in_thousands_of_orders_every_set_restores(tmp_path: Path) -> None:
    total: dict[str, int] = {}
    for seed in (101, 103):
        for what, count in lived(tmp_path, seed, 90).items():
            total[what] = total.get(what, 0) + count
    assert all(total.get(what, 0) > 0 for what in ("sets", "given up", "came back", "prunes", "killed"))
