"""Pings of a dead man's switch by the protocol of healthchecks.io: at the start and at the end of a run, with the log's end.

The protocol: `POST URL/start`, `POST URL/0` for success, `POST URL/N` for exit code N, `POST URL/log` for what changes nothing;
`rid` ties the two ends of one run together; of the body the service keeps 100 kB (https://healthchecks.io/docs/http_api/).
"""

import collections
import uuid
from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr

from recoup.model.events import Event, Level, News
from recoup.model.secrets import Masker
from recoup.sinks import _http
from recoup.sinks._base import Sink, one_line
from recoup.sinks._notifying import NotifyOptions, checked_url, host_of, require_host

BODY_LIMIT = 100_000
"""Bytes of the log's end that are sent; the service keeps no more."""


class Options(NotifyOptions):
    """Settings of a check."""

    kind: Literal["healthchecks"] = Field("healthchecks", description="Pings of a dead man's switch.")
    url: Annotated[SecretStr, AfterValidator(checked_url)] = Field(
        description="The check's ping URL, as the service shows it; all of it is a secret."
    )
    runs: tuple[Literal["backup", "prune", "verify", "drill", "copy", "status"], ...] = Field(
        ("backup",), min_length=1, description="Runs of these verbs are pinged."
    )
    sources: tuple[str, ...] = Field(
        (), description="Only runs that were asked for all of these sources, so that each schedule can have a check."
    )
    log: bool = Field(True, description="Whether the end of the run's log is sent along, without secrets.")

    def require_allowed(self, *, allow_remote: bool) -> None:
        """Looks whether the URL's host may be contacted."""
        require_host(host_of(self.url.get_secret_value()), "`url`", allow_remote=allow_remote)

    def wants(self, event: Event) -> bool:
        """Everything: what happens in a run is its log."""
        return event.level >= Level.INFO or event.name.startswith("run_")

    def sends(self, event: Event) -> bool:
        """What pings; all else is only the log that goes along."""
        ends = event.name in ("run_started", "run_finished") and self.pings(event)
        return ends or event.name == "notice_test"

    def pings(self, event: Event) -> bool:
        """Whether the run that an event of a run's begin or end is about is one of this check's."""
        asked = event.fields.get("sources", ())
        return event.fields.get("verb") in self.runs and set(self.sources) <= set(asked)


class _Check:
    def __init__(self, options: Options, masker: Masker) -> None:
        self._options, self._masker = options, masker
        self._log: collections.deque[bytes] = collections.deque()
        self._size = 0

    def __call__(self, news: News, /) -> None:
        if not isinstance(news, Event) or not self._options.wants(news):
            return
        self._note(news)
        if news.name == "notice_test":
            self._ping("log", "")
        elif news.name == "run_started" and self._options.pings(news):
            self._ping("start", str(news.fields["run"]))
        elif news.name == "run_finished" and self._options.pings(news):
            self._ping(str(min(255, max(0, int(news.fields["exit_code"])))), str(news.fields["run"]))

    def close(self) -> None:
        """Nothing is open."""

    def _note(self, event: Event) -> None:
        """Keeps the log's end."""
        text = f"[{event.time:%Y-%m-%d %H:%M:%S}Z] {event.level.name}: {one_line(self._masker(event.message))}\n"
        line = text.encode("utf-8", "backslashreplace")[-BODY_LIMIT:]
        self._log.append(line)
        self._size += len(line)
        while self._size > BODY_LIMIT:
            self._size -= len(self._log.popleft())

    def _ping(self, what: str, run: str) -> None:
        content = b"".join(self._log) if self._options.log and what != "start" else b""
        _http.post(address(self._options.url.get_secret_value(), what, run), content, {"User-Agent": "recoup"})


def address(url: str, what: str, run: str) -> str:
    """The URL of a ping.

    Args:
        url: the check's.
        what: `start`, `log` or an exit code.
        run: a run's id (32 hexadecimal digits), which becomes a UUID; empty for none.
    """
    parts = urlsplit(url)
    rid = f"rid={uuid.UUID(run)}" if run else ""
    query = "&".join(filter(None, (parts.query, rid)))
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{what}", query, ""))


def connect(options: Options, masker: Masker) -> Sink:
    """A sink that pings `options.url`."""
    return _Check(options, masker)
