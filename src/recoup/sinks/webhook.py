"""Events as JSON to a URL of one's own, signed, so that the receiver knows from whom and when they are.

The body is one JSON object (see `body`). With `secret`, the header `Recoup-Signature` is `t=TIME,v1=HEX`: TIME is when it was
sent in seconds since 1970, HEX is HMAC-SHA256 (RFC 2104) of `TIME.BODY` with the secret. A receiver computes the same, and
refuses what is older than some minutes, so that nobody can send a recorded request again. A request that is tried twice has the
same `Recoup-Delivery` both times.
"""

import hashlib
import hmac
import json
import secrets
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from recoup.model.events import Event, News
from recoup.model.secrets import Masker
from recoup.sinks import _http
from recoup.sinks._base import Sink
from recoup.sinks._notifying import ToldOptions, checked_url, host_of, require_host
from recoup.system.clock import Clock, SystemClock


class Options(ToldOptions):
    """Settings of a webhook."""

    kind: Literal["webhook"] = Field("webhook", description="JSON by POST.")
    url: Annotated[SecretStr, AfterValidator(checked_url)] = Field(
        description="Where events are sent; all of it is a secret."
    )
    secret: SecretStr | None = Field(
        None, description="Key of the signature, shared with the receiver; without it nothing is signed."
    )
    bearer: SecretStr | None = Field(None, description="Token for the header `Authorization: Bearer ...`.")

    def require_allowed(self, *, allow_remote: bool) -> None:
        """Looks whether the URL's host may be contacted."""
        require_host(host_of(self.url.get_secret_value()), "`url`", allow_remote=allow_remote)


def body(event: Event, masker: Masker, delivery: str) -> bytes:
    """The JSON of an event: `version` (1), `delivery`, `event`, `time` (ISO 8601, UTC), `level`, `message`, `set`, `fields`."""
    document: dict[str, Any] = {
        "version": 1,
        "delivery": delivery,
        "event": event.name,
        "time": event.time.isoformat(),
        "level": event.level.name.lower(),
        "message": masker(event.message),
        "set": masker(event.set),
        "fields": masker.value(event.fields),
    }
    return json.dumps(document).encode()


def signature(secret: str, moment: int, content: bytes) -> str:
    """The value of `Recoup-Signature`.

    Args:
        secret: the shared key.
        moment: seconds since 1970.
        content: the request's body.
    """
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + content, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class _Webhook:
    def __init__(self, options: Options, masker: Masker, clock: Clock) -> None:
        self._options, self._masker, self._clock = options, masker, clock

    def __call__(self, news: News, /) -> None:
        if isinstance(news, Event) and self._options.wants(news):
            delivery = secrets.token_hex(16)
            content = body(news, self._masker, delivery)
            _http.post(self._options.url.get_secret_value(), content, self._headers(news, delivery, content))

    def close(self) -> None:
        """Nothing is open."""

    def _headers(self, event: Event, delivery: str, content: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "recoup",
            "Recoup-Event": event.name,
            "Recoup-Delivery": delivery,
        }
        if self._options.secret is not None:
            moment = int(self._clock.now().timestamp())
            headers["Recoup-Signature"] = signature(self._options.secret.get_secret_value(), moment, content)
        if self._options.bearer is not None:
            headers["Authorization"] = f"Bearer {self._options.bearer.get_secret_value()}"
        return headers


def connect(options: Options, masker: Masker, clock: Clock | None = None) -> Sink:
    """A sink that posts to `options.url`."""
    return _Webhook(options, masker, clock or SystemClock())
