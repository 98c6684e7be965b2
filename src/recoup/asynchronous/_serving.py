"""The child's side: does one verb after another, tells news on the way, and takes back what it began when it has to end."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.asynchronous._wire import told
from recoup.errors import InterruptedRunError
from recoup.model.events import News, Progress
from recoup.model.wire import encoded
from recoup.sinks._pacing import Pace
from recoup.system import child
from recoup.system.clock import SystemClock

if TYPE_CHECKING:
    from recoup.app import Stack

_SELDOM = 0.1
"""Seconds between two messages on the progress of one work."""

_STDIN = 0


def serve() -> Generator[Any, Any, None]:
    """Answers questions: `opening` (arguments of `open_stack`), `verb` (of `recoup.asynchronous._verbs`), `arguments`; to None
    the answer is None.

    Elements of an answer that is a sequence are told one by one before it.

    Raises:
        InterruptedRunError: it was asked to end; nothing half done counts as a set.
    """
    from recoup.asynchronous._verbs import VERBS
    from recoup.system.subprocesses import end_all

    _end_when_told()
    question = yield None
    while True:
        if question is None:
            question = yield None
            continue
        found = VERBS[question["verb"]]
        try:
            answer = found.act(_opened(question["opening"]), **question["arguments"])
            if found.several:
                for element in answer:
                    child.tell({"element": encoded(found.kind, element)})
        except KeyboardInterrupt:
            end_all()
            raise InterruptedRunError("the run was ended", "Nothing half done counts as a set.") from None
        question = yield None if found.several else encoded(found.kind, answer)


def _opened(opening: Mapping[str, Any]) -> "Stack":
    """The stack, opened anew for every call: its configuration may have changed."""
    from recoup.app import open_stack

    cwd = None if opening["cwd"] is None else Path(opening["cwd"])
    environ = os.environ if opening["environ"] is None else opening["environ"]
    return open_stack(opening["config"], opening["overrides"], opening["repository"], _teller(), environ, cwd)


def _teller() -> Callable[[News], None]:
    """Tells every event, and progress now and then. A parent that is gone ends us; that is not the emitter's matter."""
    pace = Pace(_SELDOM, SystemClock())

    def tell(news: News) -> None:
        if isinstance(news, Progress) and not pace.lets(news):
            return
        with contextlib.suppress(OSError):
            child.tell(told(news))

    return tell


def _end_when_told() -> None:
    """From now on SIGTERM, and the end of stdin, interrupt the work once: what is taken back is not interrupted again."""

    def interrupt(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    def watch() -> None:
        poll = select.poll()
        poll.register(_STDIN, 0)  # nothing but its end: questions are read elsewhere
        poll.poll()
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, interrupt)
    threading.Thread(target=watch, name="watch the application", daemon=True).start()
