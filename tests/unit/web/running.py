"""Jobs whose command is a script, and waiting for what becomes of them."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from recoup.system.clock import SystemClock
from recoup.system.journal import state_folder
from recoup.web.jobs import Job, Jobs

CLOCK = SystemClock()
OPTIONS = ("-c", "/srv/it's mine.yaml")


class Later:
    """The machine's clock, put forward."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return CLOCK.now() + self.ahead

    def monotonic(self) -> float:
        return CLOCK.monotonic()

    def sleep(self, seconds: float) -> None:
        CLOCK.sleep(seconds)


def scripted(script: str, stack: str = "shop") -> Jobs:
    """Jobs whose command is a script of the shell; its arguments are what a verb would get."""
    return Jobs(stack, OPTIONS, CLOCK, ("/bin/sh", "-c", script, "recoup"))


def until(true: Callable[[], object]) -> None:
    """Waits; the time is only there to end a test that fails."""
    for _ in range(3000):
        if true():
            return
        CLOCK.sleep(0.01)
    raise AssertionError("it did not become true")


def through(jobs: Jobs, job: Job) -> Job:
    """A job when it runs no more."""
    until(lambda: (found := jobs.job(job.id)) is not None and found.state != "running")
    found = jobs.job(job.id)
    assert found is not None
    return found


def messages(jobs: Jobs, job: Job) -> list[str]:
    return [record["message"] for record in jobs.news(job.id).records]


def folder_of(job: Job) -> Path:
    return state_folder() / "stacks" / "shop.jobs" / job.id


def supervisor(job: Job) -> int:
    """The id of the supervising process, and of the group."""
    until((folder_of(job) / "process.json").exists)
    group: int = json.loads((folder_of(job) / "process.json").read_bytes())["group"]
    return group


def child_of(process: int) -> int:
    """The process that it has started."""
    children = Path(f"/proc/{process}/task/{process}/children")
    until(lambda: children.read_text().split())
    return int(children.read_text())
