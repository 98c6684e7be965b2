"""What the sinks that `notify` can name have in common: their settings, which events they want, how a failure is said.

Such a plug file defines `Options`, a `NotifyOptions`, and ends with `connect(options, masker)`. A thread of its own calls the
sink (`_courier`), so it may wait; where the other side did not take an event it raises `NotSentError`.
"""

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from recoup.errors import RefusedError
from recoup.model.durations import Duration
from recoup.model.event_names import is_some
from recoup.model.events import Event, Level
from recoup.system.host import is_this_machine

LEVELS = {"info": Level.INFO, "warning": Level.WARNING, "error": Level.ERROR}

NOTICES = ("problem_began", "problem_lasts", "problem_ended")
"""The events that tell of a condition: once when it begins, now and then while it lasts, once when it is over."""

ESSENTIAL = (*NOTICES, "run_started", "run_finished", "notice_test")
"""What is sent also to a sink that did not take the event before."""

LONGEST_WAIT = 5.0
"""Seconds to wait for a connection, and for each answer."""

_SHORTEST_TOKEN = 8  # characters of a part of a URL that is taken for a secret of its own
_LONG = 20  # characters from which it is one without a digit, too


class NotSentError(OSError):
    """The other side did not take an event. The text has no secret and says what to look at."""


def _some_event(pattern: str) -> str:
    if not is_some(pattern):
        raise ValueError("it is neither an event nor a pattern of some; docs/reference/events.md lists them")
    return pattern


class NotifyOptions(BaseModel):
    """Settings of one entry of `notify`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    kind: str = Field(description="What is told.")
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] | None = Field(
        None, description="What messages, `status` and `recoup notify test` call it; its kind by default."
    )

    def wants(self, event: Event) -> bool:
        """Whether an event is sent there."""
        return event.name == "notice_test"

    def sends(self, event: Event) -> bool:
        """Whether something goes out with an event that it wants; others it only keeps for later."""
        return self.wants(event)

    def beside(self, base: Path) -> Self:  # noqa: ARG002 - for those that have paths
        """The same settings with relative paths made absolute.

        Args:
            base: folder of the configuration file.
        """
        return self

    def require_allowed(self, *, allow_remote: bool) -> None:
        """Looks whether the place may be contacted.

        Raises:
            RefusedError: it is not this machine, or may not be, and `allow_remote` is off.
        """

    def require_usable(self) -> None:
        """Looks, without sending anything, for what would keep every notice from arriving.

        Raises:
            RecoupError: there is something. The text has no secret.
        """

    def secrets(self) -> Iterator[str]:
        """What must never be shown: the URL, and the parts of it that open something by themselves."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                yield from _of_url(value.get_secret_value())


class ToldOptions(NotifyOptions):
    """Settings of one that is told of conditions and events.

    Attributes:
        together: whether many conditions at once are one notice, since a person reads it.
    """

    together: ClassVar[bool] = False

    level: Literal["info", "warning", "error"] | None = Field(
        None,
        description="What is less grave is left out. `warning` by default; where `events` says which events, `info`.",
    )
    events: tuple[Annotated[str, AfterValidator(_some_event)], ...] = Field(
        ("problem_*",),
        min_length=1,
        description="The events that are told, by name or pattern, as `docs/reference/events.md` lists them. By default what is "
        "wrong: once when it begins, again after each `remind`, and once when it is over.",
    )
    remind: Duration = Field(
        "24h", validate_default=True, description="After how long a condition that lasts is told again."
    )

    def wants(self, event: Event) -> bool:
        """Whether an event is sent there. What is over is as grave as it was while it lasted."""
        if event.name == "notice_test":
            return True
        named = any(fnmatch.fnmatchcase(event.name, pattern) for pattern in self.events)
        return named and gravity(event) >= LEVELS[self.lowest]

    @property
    def lowest(self) -> Literal["info", "warning", "error"]:
        """The least level that is told."""
        return self.level or ("info" if "events" in self.model_fields_set else "warning")


def gravity(event: Event) -> Level:
    """How grave an event is; that of the end of a condition is the condition's."""
    return LEVELS.get(str(event.fields.get("gravity", "")), event.level)


def require_host(host: str, what: str, *, allow_remote: bool) -> None:
    """Looks whether a host may be contacted.

    Args:
        host: name or address.
        what: which setting names it.
        allow_remote: whether other machines may be contacted.

    Raises:
        RefusedError: it may not.
    """
    if not allow_remote and not is_this_machine(host):
        raise RefusedError(
            f"{what} names another machine, and allow_remote is false",
            "Set `allow_remote: true` if it may be contacted, or take this entry of `notify` away.",
        )


def host_of(url: str) -> str:
    """The host that a URL names; empty where none can be told."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def checked_url(url: SecretStr) -> SecretStr:
    """An http(s) URL.

    Raises:
        ValueError: it is none; the text does not repeat it.
    """
    text = url.get_secret_value()
    if not re.match(r"https?://[^\s/?#]", text, re.IGNORECASE) or not host_of(text) or not text.isprintable():
        raise ValueError("it is no URL that begins with http:// or https:// and names a host; look at its spelling")
    return url


def _of_url(text: str) -> Iterator[str]:
    """A secret, and, if it is a URL, its parts that look like tokens."""
    yield text
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    if not parts.scheme:
        return
    pieces = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
    if parts.scheme not in ("http", "https", "mailto", "mailtos", "json", "jsons"):
        user, _, host = parts.netloc.rpartition("@")
        pieces += [*user.split(":"), host]  # in many of Apprise's URLs tokens stand there
    for piece in pieces:
        if len(piece) >= _LONG or (len(piece) >= _SHORTEST_TOKEN and any(map(str.isdigit, piece))):
            yield from (piece, unquote(piece))
    _, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    if colon and password:
        yield from (password, unquote(password))
