"""The loop as a service in simulated time: how it ends, reloads and keeps its watchdog quiet."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta

import pytest

from recoup.errors import ConfigError
from recoup.model.events import Event, News
from recoup.scheduler._jobs import Job
from recoup.scheduler._starting import Starter
from recoup.scheduler.daemon import Daemon
from recoup.scheduler.loop import BEAT
from recoup.system.holding import Lock
from recoup.system.service_manager import ServiceManager
from unit.scheduler.simulating import START, Simulation

HOUR = timedelta(hours=1)
BACKUP = Job("backup", ("backup",), "", UTC, 24 * HOUR)
PRUNE = Job("prune", ("prune",), "0 1 * * *", UTC)


@dataclass
class Signals:
    """Signals that come at their times, seconds from the start; the wait lets time pass."""

    simulation: Simulation
    coming: list[tuple[float, int]]
    waits: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> frozenset[int]:
        clock = self.simulation.clock
        self.waits.append(seconds)
        ends = [work.left.total_seconds() for work in self.simulation.works[-1:] if work.poll() is None]
        until = min([seconds, *ends, *(at - clock.monotonic() for at, _ in self.coming[:1])])
        clock.sleep(max(0.0, until))
        came = {number for at, number in self.coming if at <= clock.monotonic()}
        self.coming = [(at, number) for at, number in self.coming if at > clock.monotonic()]
        return frozenset(came)


class Service:
    """A daemon over a simulated loop."""

    def __init__(self, tmp_path: Lock, *jobs: Job, takes: timedelta = HOUR, grace: float = 30.0) -> None:
        self.simulation = Simulation(jobs, takes=lambda _job: takes)
        self.loaded: Sequence[Job] | ConfigError = jobs
        self.manager = ServiceManager({})
        starter = Starter((), tmp_path)
        told = self.simulation._told
        self.daemon = Daemon(
            self.simulation.loop, starter, self.manager, self._reload, self.simulation.clock, told, grace
        )

    def _reload(self) -> Sequence[Job]:
        if isinstance(self.loaded, ConfigError):
            raise self.loaded
        return self.loaded

    def serve(self, *coming: tuple[float, int], until_done: bool = False) -> Signals:
        """Runs until it has ended."""
        signals = Signals(self.simulation, list(coming))
        self.told_to_end = self.daemon.serve(signals, until_done=until_done)  # type: ignore[arg-type] # it only waits
        return signals

    @property
    def names(self) -> list[str]:
        """Names of the events."""
        return [event.name for event in self.simulation.events]

    @property
    def seconds(self) -> float:
        """When it ended, from the start."""
        return self.simulation.clock.monotonic()


@pytest.fixture
def lock(tmp_path_factory: pytest.TempPathFactory) -> Lock:
    """The lock of its jobs."""
    return Lock(tmp_path_factory.mktemp("lock") / "job.lock")


def test_a_job_that_does_not_end_in_time_is_killed_when_the_grace_is_over(lock: Lock) -> None:
    service = Service(lock, BACKUP, grace=45)
    service.serve((600, signal.SIGTERM))
    assert service.seconds == 645
    assert service.simulation.works[0].asked
    assert service.simulation.works[0].code == -9
    assert service.names[-3:] == ["schedule_stopping", "job_interrupted", "schedule_ended"]


def test_a_job_is_killed_at_once_when_the_daemon_is_told_a_second_time(lock: Lock) -> None:
    service = Service(lock, BACKUP, grace=3600)
    service.serve((600, signal.SIGINT), (610, signal.SIGINT))
    assert service.seconds == 610
    assert service.simulation.works[0].code == -9


def test_a_job_that_ends_within_the_grace_is_not_killed(lock: Lock) -> None:
    service = Service(lock, BACKUP, takes=timedelta(seconds=620))
    service.serve((600, signal.SIGTERM))
    assert service.seconds == 620
    assert service.simulation.works[0].code == 0
    assert "job_finished" in service.names
    assert service.told_to_end


def test_a_wrong_configuration_leaves_the_old_schedule_and_a_right_one_replaces_it(lock: Lock) -> None:
    service = Service(lock, BACKUP, takes=timedelta(minutes=1))
    service.loaded = ConfigError("recoup.yaml:9: `bad` is not a known key", "Did you mean `keep`?")
    service.serve((300, signal.SIGHUP), (24 * 3600 + 600, signal.SIGTERM))
    refused = next(event for event in service.simulation.events if event.name == "schedule_refused")
    assert refused.message.endswith("`bad` is not a known key. Did you mean `keep`?")
    assert [work.job.name for work in service.simulation.works] == ["backup", "backup"]

    service = Service(lock, BACKUP, takes=timedelta(minutes=1))
    service.loaded = (PRUNE,)
    service.serve((300, signal.SIGHUP), (24 * 3600 + 600, signal.SIGTERM))
    assert [(work.job.name, work.began) for work in service.simulation.works] == [
        ("backup", START),
        ("prune", START + HOUR),
    ]


def test_a_tick_ends_when_nothing_waits_any_more_and_takes_what_becomes_due_meanwhile(lock: Lock) -> None:
    service = Service(lock, BACKUP, PRUNE, takes=timedelta(minutes=61))
    service.serve(until_done=True)
    assert [work.job.name for work in service.simulation.works] == ["backup", "prune"]
    assert service.simulation.loop.exit_code == 0
    assert not service.told_to_end
    assert not {"schedule_started", "schedule_ended"} & set(service.names)


@pytest.mark.parametrize(("watchdog", "longest"), [(None, BEAT), (20.0, 10.0), (600.0, BEAT)])
def test_it_never_waits_longer_than_its_watchdog_lets_it(lock: Lock, watchdog: float | None, longest: float) -> None:
    service = Service(lock, BACKUP, grace=600)
    service.manager.watchdog = watchdog
    signals = service.serve((1800, signal.SIGTERM))
    assert max(signals.waits) == longest


def test_events_are_events(lock: Lock) -> None:
    service = Service(lock, PRUNE)
    service.serve((10, signal.SIGTERM))
    everything: list[News] = list(service.simulation.events)
    assert all(isinstance(news, Event) and news.time.tzinfo is UTC for news in everything)
    assert service.names == ["schedule_started", "schedule_ended"]
