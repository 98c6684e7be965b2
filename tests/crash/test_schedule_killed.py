"""A schedule whose process dies at any moment: the next one neither loses a run nor begins two at a time.

Time is simulated; the memory is the real one, in its file. The process dies before or after any of the things by which it changes
the world: writing down, and starting a job.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from recoup.model.events import ignore
from recoup.scheduler._jobs import Job, Row
from recoup.scheduler.loop import Loop
from recoup.scheduler.state import StackMemory
from unit.scheduler.simulating import Hands, Work

START = datetime(2026, 11, 21, tzinfo=UTC)
END = START + timedelta(hours=14)
JOBS = (
    Job("backup", ("backup",), "", UTC, timedelta(hours=6)),
    Job("prune", ("prune",), "0 6 * * *", ZoneInfo("UTC")),
)


class Death(BaseException):
    """The process is gone."""


class World:
    """What stays when a process dies: the clock, the file, the jobs that run."""

    def __init__(self, dies_at: int) -> None:
        self.clock, self.works, self.left = Hands(START), list[Work](), dies_at

    def deed(self) -> None:
        """Something that changes the world comes; the process dies when its time has come."""
        self.left -= 1
        if self.left == 0:
            raise Death

    def start(self, job: Job) -> Work:
        self.deed()
        assert not self.lives(), "two jobs at a time"
        self.works.append(Work(job, self.clock, timedelta(minutes=30)))
        self.deed()
        return self.works[-1]

    def lives(self) -> bool:
        return any(work.poll() is None for work in self.works)

    def began(self, name: str) -> list[float]:
        """At which hours a job began."""
        return [(work.began - START) / timedelta(hours=1) for work in self.works if work.job.name == name]


class Mortal:
    """The real memory of a process that dies."""

    def __init__(self, world: World) -> None:
        self._world, self._memory = world, StackMemory("shop")

    def read(self) -> dict[str, Row]:
        return self._memory.read()

    def write(self, rows: Iterable[Row], gone: Iterable[str], alive: datetime) -> None:
        self._world.deed()
        self._memory.write(rows, gone, alive)
        self._world.deed()


def lived(world: World) -> bool:
    """One process; whether it lived to the end."""
    try:
        loop = Loop(JOBS, Mortal(world), world.start, world, world.clock, ignore)
        loop.begin()
        while world.clock.moment < END:
            pause = min(loop.step(), 3600.0)
            ends = [work.left.total_seconds() for work in world.works if work.poll() is None]
            world.clock.sleep(max(1.0, min([pause, *ends])))
    except Death:
        world.clock.sleep(60)
        return False
    return True


@pytest.mark.requirement("CO-2")
def test_a_schedule_that_dies_at_any_moment_loses_no_run_and_begins_no_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "never"))
    whole = World(dies_at=0)
    assert lived(whole)
    assert whole.began("backup") == [0, 6, 12]
    assert whole.began("prune") == [6.5]
    deeds = -whole.left
    assert deeds > 40
    for n in range(1, deeds + 1):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / str(n)))
        world = World(dies_at=n)
        while not lived(world):
            pass
        for name, dues in {"backup": (0, 6, 12), "prune": (6,)}.items():
            times = world.began(name)
            assert all(any(due <= time < due + 2 for time in times) for due in dues), (n, name, times)
            assert len(times) <= len(dues) + 1, (n, name, times)
        rows = StackMemory("shop").read()
        assert not any(row.running or row.pending for row in rows.values()), n
