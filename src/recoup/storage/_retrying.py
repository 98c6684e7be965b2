"""When a request is made once more, and when not: one place for all object stores."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from recoup.errors import RecoupError
from recoup.model.structs import Struct

T = TypeVar("T")

_LONGEST_WAIT = 60.0  # seconds


class Retrying(Struct):
    """Makes requests again that failed in a way that may pass: each wait is twice the one before.

    Attributes:
        retries: how often a request is made again.
        wait: seconds before the first time.
    """

    retries: int
    wait: float

    async def __call__(self, once: Callable[[int], Awaitable[T]]) -> T:
        """Does something that is given the number of the attempt, from 1.

        Raises:
            StorageError: it failed for good, or for the last time, which the message says.
        """
        import stamina

        logging.getLogger("stamina").addHandler(
            logging.NullHandler()
        )  # else Python prints its warnings to the terminal
        attempts = stamina.retry_context(
            on=_may_pass,
            attempts=self.retries + 1,
            timeout=None,
            wait_initial=self.wait,
            wait_max=max(_LONGEST_WAIT, self.wait),
            wait_jitter=0,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    return await once(attempt.num)
        except RecoupError as error:
            if error.retryable and self.retries:
                raise type(error)(f"{error.message} (tried {self.retries + 1} times)", error.hint) from None
            raise
        raise AssertionError("attempts end with a result or an error")


def _may_pass(error: Exception) -> bool:
    return isinstance(error, RecoupError) and error.retryable
