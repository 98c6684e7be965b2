"""What was seen of the stack a moment ago, for pages that follow each other: listing many sets takes a while."""

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.operations.status import Look
from recoup.retention import Verdict
from recoup.system.statefile import StateError, state_path

if TYPE_CHECKING:
    from recoup.web._site import Site

FRESH = 5.0
"""Seconds for which a look does, if nothing is known to have changed since."""


class Glance(Struct):
    """A look at the stack.

    Attributes:
        at: when it was begun (UTC).
        look: what was found.
        sets: the stack's sets in all repositories, the newest first, and those that nobody can read.
        others: how many sets of other stacks there are beside them.
        verdicts: what the rules say of each, by repository and name.
        sources: names of the configured sources.
    """

    at: datetime
    look: Look
    sets: tuple[SetInfo, ...]
    others: int
    verdicts: Mapping[tuple[str, str], Verdict]
    sources: tuple[str, ...]


class Glances:
    """Looks at a stack, one at a time.

    Args:
        site: the stack.
    """

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._turn = threading.Lock()
        self._changes = 0
        self._last: tuple[Any, float, Glance] | None = None

    def take(self, *, again: bool = False) -> Glance:
        """The stack as it is now, or was some seconds ago when nothing is known to have changed.

        Args:
            again: look in any case.

        Raises:
            RecoupError: nothing can be looked at.
        """
        clock = self._site.clock
        with self._turn:
            mark = self._mark()
            last = None if again else self._last
            if last is not None and last[0] == mark and 0 <= clock.monotonic() - last[1] < FRESH:
                return last[2]
            begun, found = clock.monotonic(), self._look()
            self._last = mark, begun, found
            return found

    def forget(self) -> None:
        """Says that something has changed."""
        self._changes += 1

    def _look(self) -> Glance:
        now = self._site.now()
        with self._site.reading() as stack:
            look = stack.look()
            own = look.own
            every = sum(len(state.infos) for state in look.states)
            return Glance(now, look, own, every - len(own), stack.verdicts(look), stack.source_names)

    def _mark(self) -> tuple[object, ...]:
        """What is another one after a change that can be noticed: a page's own, a job, any run on this machine, another
        configuration."""
        job = self._site.jobs.newest
        return self._changes, job and (job.id, job.state), _memory(self._site.name), self._site.stack


def _memory(stack: str) -> tuple[int, int] | None:
    """Of the file into which each run of a verb is noted."""
    try:
        found = state_path(stack).stat()
    except (OSError, StateError):
        return None
    return found.st_mtime_ns, found.st_size


def glances_of(request: Request) -> Glances:
    """Those of the application."""
    glances: Glances = request.app.state.glances
    return glances


def glance_for(request: Request) -> Glance:
    """The stack as who asks may see it: a browser that is told to load a page again wants another look.

    Raises:
        RecoupError: nothing can be looked at.
    """
    wish = request.headers.get("cache-control", "")
    return glances_of(request).take(again="no-cache" in wish or "max-age=0" in wish)


class Forgetting:
    """Forgets what was seen whenever somebody has changed something.

    Args:
        app: the application.
        glances: what was seen.
    """

    def __init__(self, app: ASGIApp, glances: Glances) -> None:
        self._app, self._glances = app, glances

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        changing = scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS")

        async def answer(message: Message) -> None:
            if changing:  # before the browser can ask for the next page
                self._glances.forget()
            await send(message)

        await self._app(scope, receive, answer)
