"""Sending events in a thread of its own, so that who does not answer delays nobody, and a backup least."""

import queue
import threading
from collections.abc import Callable

from recoup.model.events import Event
from recoup.sinks._base import Sink
from recoup.sinks._notifying import ESSENTIAL, NotSentError

WAITING = 500
"""Events that may wait to be sent; what comes while so many wait is left out, and said."""


class Courier:
    """Hands events to a sink, one after another. What was left out after a failure is not sent later.

    Args:
        sink: may wait; raises `NotSentError`.
        sends: whether something goes out with an event. With all others nobody has to be waited for, so they are never left out.
    """

    def __init__(self, sink: Sink, sends: Callable[[Event], bool] = lambda _: True) -> None:
        self._sink, self._sends = sink, sends
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._guard = threading.Lock()
        self._arrived: list[Event] = []
        self._failure = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Takes an event; returns at once."""
        if self._events.qsize() >= WAITING and self._may_be_left_out(event):
            self._fail(f"more than {WAITING} events were waiting, and some were left out")
            return
        self._events.put(event)

    def close(self) -> None:
        """Says that nothing more comes."""
        self._events.put(None)

    def wait(self, seconds: float) -> None:
        """Waits until all is sent, at most so long; what is not sent by then counts as failed."""
        if not self._done.wait(max(0.0, seconds)):
            self._fail("it did not take the notices in time")

    @property
    def arrived(self) -> tuple[Event, ...]:
        """The events that were taken by the other side."""
        with self._guard:
            return tuple(filter(self._sends, self._arrived))

    @property
    def failure(self) -> str:
        """Why something did not arrive, by the last failure; empty when all arrived. It has no secret."""
        with self._guard:
            return self._failure

    def _fail(self, reason: str) -> None:
        with self._guard:
            self._failure = reason

    def _run(self) -> None:
        lost = False
        while (event := self._events.get()) is not None:
            if lost and self._may_be_left_out(event):
                continue
            sent = self._sent(event)
            lost = not sent if self._sends(event) else lost
        self._sink.close()
        self._done.set()

    def _may_be_left_out(self, event: Event) -> bool:
        return event.name not in ESSENTIAL and self._sends(event)

    def _sent(self, event: Event) -> bool:
        try:
            self._sink(event)
        except NotSentError as error:
            self._fail(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a sink that fails never fails a backup
            self._fail(f"{getattr(error, 'strerror', None) or type(error).__name__}")
            return False
        with self._guard:
            self._arrived.append(event)
        return True
