"""Bandwidth limits."""

import asyncio


class Limit:
    """Lets bytes pass at a rate: who has taken too many waits until they are paid for.

    Used from one event loop alone.

    Args:
        rate: bytes per second; None lets everything pass.
    """

    def __init__(self, rate: int | None) -> None:
        self.rate = rate
        self._paid_until = 0.0

    async def take(self, count: int) -> None:
        """Waits until `count` bytes fit into the rate, in the order of those who ask."""
        if self.rate is None:
            return
        now = asyncio.get_running_loop().time()
        begin = max(now, self._paid_until)
        self._paid_until = begin + count / self.rate
        await asyncio.sleep(self._paid_until - now)
