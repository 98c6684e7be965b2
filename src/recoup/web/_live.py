"""A job's page as it changes, as server-sent events whose data are pieces of the page.

`state`, `works` and `log` replace what the page has of them, `lines` come behind the log, and `ended` replaces all the rest.
Whoever connects again with the id of the last event gets the lines since; whoever does not, gets the log anew: nothing is shown
twice.
"""

import re
from dataclasses import replace
from typing import Any

from fastapi import Request

from recoup.web._following import JobNews
from recoup.web._job_view import shown_of
from recoup.web._pages import fragment, site_of
from recoup.web._told import Line, told
from recoup.web.jobs import Job

_AGAIN = "retry: 2000\n\n"  # milliseconds after which a browser that lost the connection asks again
_LINE_END = re.compile(r"\r\n|\r|\n")  # the three that end a field


def event(name: str, data: str, end: int) -> str:
    """A server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Args:
        name: of the event.
        data: any text.
        end: offset in bytes of the job's news from which to read on; it is the event's id.
    """
    lines = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
    return f"event: {name}\nid: {end}\n{lines}\n"


class Live:
    """One browser that looks at a job.

    Args:
        request: that browser's.
        job: it.
        seen: offset up to which the browser has shown the log; None for one that connects anew.
    """

    def __init__(self, request: Request, job: Job, seen: int | None) -> None:
        self._request, self._job = request, job
        self._jobs = site_of(request).jobs
        self._told, self._state = told(self._jobs, job.id), ""
        self._missed = self._since(seen)

    @property
    def end(self) -> int:
        """Offset in bytes from which to read on."""
        return self._told.end

    def opening(self) -> str:
        """The events with which it begins."""
        missed = self._missed
        log = self._event("log", "_job_log.html", told=self._told) if missed is None else self._lines(missed)
        return _AGAIN + log + self._changes()

    def events(self, read: JobNews) -> str:
        """The events of a piece of news."""
        if read.state != "running" and not read.records:
            return self._ended()
        before = self._told
        self._told = before.and_then(read.records, read.end)
        more = self._told.count - before.count
        return self._lines(self._told.lines[-more:] if more else ()) + self._changes()

    def _since(self, seen: int | None) -> tuple[Line, ...] | None:
        """The lines that the browser has not shown yet; None where it has to begin anew."""
        if seen is None or seen > self._told.end:
            return None
        since = told(self._jobs, self._job.id, seen)
        if since.older:
            return None
        self._told = replace(self._told, end=since.end)
        return since.lines

    def _lines(self, lines: tuple[Line, ...]) -> str:
        return self._event("lines", "_job_lines.html", lines=lines) if lines else ""

    def _changes(self) -> str:
        """How far it is, and the state where it is another one: that is read aloud."""
        values = shown_of(self._request, self._job, self._told)
        before, self._state = self._state, fragment(self._request, "_job_state.html", **values)
        state = "" if self._state == before else event("state", self._state, self.end)
        return self._event("works", "_job_works.html", **values) + state

    def _ended(self) -> str:
        job = self._jobs.job(self._job.id) or self._job
        values = shown_of(self._request, job, told(self._jobs, job.id))
        return self._event("state", "_job_state.html", **values) + self._event("ended", "_job_ended.html", **values)

    def _event(self, name: str, template: str, **values: Any) -> str:
        return event(name, fragment(self._request, template, **values), self.end)
