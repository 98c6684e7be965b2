"""Notices by Apprise: e-mail, Slack, Teams, Telegram and more than a hundred other services, each by a URL of its own
(https://github.com/caronc/apprise/wiki). It is an extra: `pip install 'recoup[notify]'`.
"""

import logging
import string
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from recoup.errors import ConfigError
from recoup.model.events import Event, Level, News
from recoup.model.secrets import Masker
from recoup.sinks._base import Sink, one_line
from recoup.sinks._notifying import LONGEST_WAIT, NotSentError, ToldOptions, gravity, require_host

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

FIELDS = ("event", "host", "hint", "level", "message", "repository", "set", "since", "source", "stack", "time", "what")
"""What a template may have in braces."""

_HERE = {"mailto", "mailtos", "json", "jsons", "xml", "xmls", "form", "forms"}
"""The kinds of URL in which a host stands where one stands, so that it can be told whether it is this machine."""

_UNKNOWN = "its URL is none that Apprise knows, or something that it needs is missing in it"
_LONGEST_TITLE = 200  # characters
_WORDS = {
    "problem_began": "problem",
    "problem_lasts": "still a problem",
    "problem_ended": "over",
    "notice_test": "test",
}


def _known(template: str) -> str:
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError("a brace in it is not closed; write `{{` and `}}` for braces that shall be seen") from None
    for _, name, form, conversion in pieces:
        if name is not None and (name not in FIELDS or form or conversion):
            raise ValueError(f"it has {{{name}}}, which is no field; fields are {', '.join(FIELDS)}")
    return template


class Template(BaseModel):
    """How a notice reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    title: Annotated[str, AfterValidator(_known)] = Field(
        "[{stack}] {message}", description=f"One line. Fields in braces: {', '.join(FIELDS)}."
    )
    body: Annotated[str, AfterValidator(_known)] = Field(
        "{message}\n{hint}\n\n{time} on {host}", description="The text, with the same fields."
    )


def _is_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not urlsplit(text).scheme or "://" not in text or not text.isprintable():
        raise ValueError("it is no URL as Apprise writes them, such as mailto://USER:PASSWORD@HOST; look at its wiki")
    return url


class Options(ToldOptions):
    """Settings of one that is told by Apprise."""

    together: ClassVar[bool] = True

    kind: Literal["apprise"] = Field("apprise", description="E-mail, Slack, Teams and others, by Apprise.")
    url: Annotated[SecretStr, AfterValidator(_is_url)] = Field(
        description="Whom to tell, as Apprise writes it: `mailtos://USER:PASSWORD@HOST?to=ADDRESS`, `slack://A/B/C/#channel`; "
        "all of it is a secret."
    )
    template: Template = Field(
        default_factory=Template, description="How a notice reads: title and text, with fields in braces."
    )

    def require_allowed(self, *, allow_remote: bool) -> None:
        """Looks whether the URL's host may be contacted; most services are out there by their nature."""
        parts = urlsplit(self.url.get_secret_value())
        host = parts.hostname or ""
        if parts.scheme in ("mailto", "mailtos"):
            host = parse_qs(parts.query).get("smtp", [host])[0]
        require_host(host if parts.scheme.lower() in _HERE else "", "`url`", allow_remote=allow_remote)

    def require_usable(self) -> None:
        """Looks whether Apprise knows the URL."""
        from apprise import Apprise

        if Apprise.instantiate(self.url.get_secret_value(), asset=_asset()) is None:
            raise ConfigError(_UNKNOWN, "Look at its spelling, and at Apprise's wiki.")


def rendered(template: Template, event: Event, masker: Masker) -> tuple[str, str]:
    """Title and body of an event.

    Args:
        template: how it reads.
        event: it.
        masker: takes secrets out.
    """
    own = {
        key: event.fields[key]
        for key in ("host", "hint", "repository", "since", "source", "stack")
        if key in event.fields
    }
    values: dict[str, Any] = dict.fromkeys(FIELDS, "") | own
    values |= {
        "event": event.name,
        "level": gravity(event).name.lower(),
        "message": event.message,
        "set": event.set,
        "time": f"{event.time:%Y-%m-%d %H:%M:%S} UTC",
        "what": _WORDS.get(event.name, event.name.replace("_", " ")),
    }
    safe = {key: one_line(masker(str(value))) for key, value in values.items()}
    title = one_line(template.title.format_map(safe))
    short = title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 3] + "..."
    return short, template.body.format_map(safe)


class _Heard(logging.Handler):
    """What Apprise says in this thread, which is all that it tells of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line."""
        if record.thread == self._thread:
            self.said.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_details: object) -> None:
        logging.getLogger("apprise").removeHandler(self)


class _Apprise:
    def __init__(self, options: Options, masker: Masker) -> None:
        self._options, self._masker = options, masker

    def __call__(self, news: News, /) -> None:
        if not isinstance(news, Event) or not self._options.wants(news):
            return
        title, body = rendered(self._options.template, news, self._masker)
        with _Heard() as heard:
            try:
                sent = self._service().notify(body=body, title=title, notify_type=_type(news), body_format="text")
            except NotSentError:
                raise
            except Exception as error:  # noqa: BLE001 - a service's plug may raise anything
                raise NotSentError(f"Apprise failed: {self._said(type(error).__name__, str(error))}") from None
        if not sent:
            raise NotSentError(f"Apprise could not send it: {self._said(*heard.said) or 'it does not say why'}")

    def close(self) -> None:
        """Nothing is open."""

    def _service(self) -> "NotifyBase":
        """The service, made anew each time: one remembers to whom it has sent."""
        from apprise import Apprise

        service = Apprise.instantiate(self._options.url.get_secret_value(), asset=_asset())
        if service is None:
            raise NotSentError(_UNKNOWN)
        service.socket_connect_timeout = min(service.socket_connect_timeout, LONGEST_WAIT)
        service.socket_read_timeout = min(service.socket_read_timeout, LONGEST_WAIT)
        return service

    def _said(self, *texts: str) -> str:
        return one_line(self._masker("; ".join(texts)))[:300]


def _asset() -> "AppriseAsset":
    from apprise import AppriseAsset

    return AppriseAsset(app_id="Recoup", app_desc="Recoup", app_url="", http_redirects=False, allow_templates=False)


def _type(event: Event) -> str:
    if event.name == "problem_ended":
        return "success"
    return {Level.WARNING: "warning", Level.ERROR: "failure"}.get(event.level, "info")


def connect(options: Options, masker: Masker) -> Sink:
    """A sink that tells by Apprise.

    Raises:
        ConfigError: Apprise is not installed.
    """
    if find_spec("apprise") is None:
        raise ConfigError(
            "`notify` has an entry of kind apprise, and Apprise is not installed", "pip install 'recoup[notify]'"
        )
    return _Apprise(options, masker)
