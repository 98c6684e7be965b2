"""A child that has nothing to do is kept for the next call, for a while: starting one takes longer than most calls."""

import asyncio

from recoup.system.async_children import AsyncChild

PATIENCE = 60.0
"""Seconds that one is kept."""


class Idle:
    """The child that is kept, if any."""

    def __init__(self) -> None:
        self._child: AsyncChild | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self) -> AsyncChild | None:
        """The child, which is the caller's from now on; None when there is none that lives."""
        child = self._taken()
        if child is None:
            return None
        lives = False
        try:
            lives = await child.answers()
        finally:
            if not lives:
                await child.end()
        return child if lives else None

    def _taken(self) -> AsyncChild | None:
        child, self._child = self._child, None
        if self._timer is not None:
            self._timer.cancel()
        return child

    async def keep(self, child: AsyncChild) -> None:
        """Takes a child back that has answered; ends it where there is one already."""
        if self._closed or self._child is not None:
            await child.end()
            return
        self._child = child
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._drop)

    def _drop(self) -> None:
        if (child := self._taken()) is not None:
            task = asyncio.create_task(child.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Keeps none any more; returns when all are gone."""
        self._closed = True
        self._drop()
        await asyncio.gather(*self._ending)
