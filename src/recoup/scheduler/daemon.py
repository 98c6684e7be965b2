"""The loop as a service: it waits, takes signals, and tells the service manager."""

import os
import signal
from collections.abc import Callable, Sequence

from recoup.errors import RecoupError
from recoup.model.events import Emit, Event, Level
from recoup.scheduler._jobs import Job
from recoup.scheduler._starting import Starter
from recoup.scheduler.loop import BEAT, Loop
from recoup.system.clock import Clock
from recoup.system.service_manager import ServiceManager
from recoup.system.subprocesses import reap
from recoup.system.waking import Waker, has_terminal

_STOP = frozenset((signal.SIGTERM, signal.SIGINT))
_FIRST_PROCESS = 1


def waker() -> Waker:
    """What wakes a schedule: the end of a job, and what people and service managers send."""
    return Waker((*_STOP, signal.SIGHUP, signal.SIGCHLD))


class Daemon:
    """A schedule that runs until it is told to end.

    Args:
        loop: the schedule.
        starter: what begins its jobs.
        service: who is told of its state.
        reload: reads the configuration again and returns its jobs; raises `RecoupError` for a bad one.
        clock: time.
        emit: is told what happens.
        grace: seconds that a job gets to end when the daemon is told to.
    """

    def __init__(
        self,
        loop: Loop,
        starter: Starter,
        service: ServiceManager,
        reload: Callable[[], Sequence[Job]],
        clock: Clock,
        emit: Emit,
        grace: float,
    ) -> None:
        self._loop, self._starter, self._service, self._reload = loop, starter, service, reload
        self._clock, self._emit, self._grace = clock, emit, grace
        self._had_terminal = has_terminal()

    def serve(self, signals: Waker, *, until_done: bool = False) -> bool:
        """Runs the schedule.

        Args:
            signals: what wakes it, entered.
            until_done: end as soon as no job runs or waits.

        Returns:
            Whether it was told to end.

        Raises:
            StateError: what was done cannot be remembered, and the loop is strict.
        """
        self._loop.begin()
        self._service.ready()
        if not until_done:
            self._tell("schedule_started", "the schedule runs; SIGTERM ends it, SIGHUP loads it again")
        told = False
        try:
            while not told:
                pause = self._loop.step()
                self._service.alive(self._loop.outlook)
                if until_done and not self._loop.waiting:
                    return False
                told = self._taken(signals.wait(min(pause, self._longest)))
            return True
        finally:
            self._service.stopping()
            self._end(signals, until_done=until_done)

    @property
    def _longest(self) -> float:
        return BEAT if self._service.watchdog is None else min(BEAT, self._service.watchdog / 2)

    def _taken(self, came: frozenset[int]) -> bool:
        """Does what signals ask for; whether it is to end."""
        if os.getpid() == _FIRST_PROCESS:
            reap(self._starter.pids)
        if came & _STOP or (signal.SIGHUP in came and self._had_terminal and not has_terminal()):
            return True
        if signal.SIGHUP in came:
            self._load_again()
        return False

    def _load_again(self) -> None:
        self._service.reloading()
        try:
            jobs = self._reload()
        except RecoupError as error:
            reason = f"{error.message.rstrip('.')}. {error.hint}".rstrip()
            self._tell(
                "schedule_refused", f"the schedule was not loaded again, and the old one stays: {reason}", Level.ERROR
            )
        else:
            self._loop.reload(jobs)
            self._tell("schedule_loaded", f"the schedule was loaded again; it has {_counted(jobs)}", jobs=len(jobs))
        self._service.ready()

    def _end(self, signals: Waker, *, until_done: bool) -> None:
        """Lets the running job end; kills it when the grace is over, or when it is asked once more."""
        self._loop.stop()
        self._loop.step()
        if self._loop.busy:
            self._tell("schedule_stopping", f"the running job is asked to end, and has {self._grace:g} seconds for it")
        end = self._clock.monotonic() + self._grace
        while self._loop.busy:
            left = end - self._clock.monotonic()
            if left <= 0 or signals.wait(min(left, self._longest)) & _STOP:
                self._loop.kill()
                end = self._clock.monotonic() + 1.0
            self._service.alive(self._loop.outlook)
            self._loop.step()
        if not until_done:
            self._tell("schedule_ended", "the schedule has ended")

    def _tell(self, name: str, message: str, level: Level = Level.INFO, **fields: object) -> None:
        self._emit(Event(name, self._clock.now(), message, level, fields=fields))


def _counted(jobs: Sequence[Job]) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
