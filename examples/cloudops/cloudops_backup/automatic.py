"""The loop of automatic backups: each collection by its own interval."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .service import AsyncBackups

LOG = logging.getLogger("cloudops.backup")
LONGEST = 60.0  # seconds of one sleep: a machine that was suspended is noticed by the clock on the wall


async def run(backups: "AsyncBackups", now: Callable[[], datetime], *, at_once: bool) -> None:
    """Runs until it is cancelled. Nothing that goes wrong in one cycle ends it.

    Args:
        backups: does the work.
        now: the present moment (UTC).
        at_once: the first cycle is now, instead of after one interval.
    """
    begun = now()
    due = {name: begun if at_once else begun + _interval(backups, name) for name in backups.collections}
    while True:
        await _until(min(due.values()), now)
        ready = [name for name, moment in due.items() if moment <= now()]
        try:
            await backups.run_cycle(ready)
        except Exception:
            LOG.exception("The automatic backup of %s failed", ", ".join(ready))
        for name in ready:
            due[name] = now() + _interval(backups, name)


def _interval(backups: "AsyncBackups", name: str) -> timedelta:
    return timedelta(hours=backups.settings.interval(name))


async def _until(moment: datetime, now: Callable[[], datetime]) -> None:
    while (left := (moment - now()).total_seconds()) > 0:
        await asyncio.sleep(min(left, LONGEST))
