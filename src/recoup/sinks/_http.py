"""One request to a receiver of notices: short, tried twice, without following it elsewhere."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from recoup.sinks._notifying import LONGEST_WAIT, NotSentError, host_of
from recoup.system.clock import SystemClock
from recoup.system.host import is_this_machine

if TYPE_CHECKING:
    import httpx

_PAUSE = 1.0  # seconds before the second try
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which a second try makes sense (RFC 9110; 425 is RFC 8470)."""


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Posts `body`; what is answered is not read.

    Args:
        url: where to, http or https.
        body: the bytes.
        headers: besides httpx's own.

    Raises:
        NotSentError: no answer came in time, or one that says no. The text names neither URL nor body.
    """
    if not (again := _tried(url, body, headers)):
        return
    SystemClock().sleep(_PAUSE)
    if again := _tried(url, body, headers):
        raise NotSentError(again)


def _tried(url: str, body: bytes, headers: Mapping[str, str]) -> str:
    """One try; why it failed, when another one makes sense.

    Raises:
        NotSentError: another one makes none.
    """
    import httpx

    try:
        status = _answered(url, body, headers)
    except httpx.TimeoutException:
        return f"no answer within {LONGEST_WAIT:g} s"
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise NotSentError("its URL cannot be used") from None
    except httpx.HTTPError as error:
        return f"no connection: {_cause(error)}"
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        raise NotSentError(f"it answers {status}, which leads elsewhere, and is not followed; write the last URL")
    if status in _PASSING:
        return f"it answers {status}"
    raise NotSentError(f"it answers {status}")


def _answered(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    import httpx

    here = is_this_machine(host_of(url))  # a proxy of the environment is for hosts out there
    direct = {"http://": None, "https://": None} if here else None
    secure = (
        url[:6].lower() == "https:"
    )  # without TLS there is no certificate, and reading all authorities takes its time
    with httpx.Client(timeout=LONGEST_WAIT, follow_redirects=False, mounts=direct, verify=secure) as client:
        request: httpx.Request = client.build_request("POST", url, content=body, headers=dict(headers))
        answer = client.send(request, stream=True)
        answer.close()
        return answer.status_code


def _cause(error: "httpx.HTTPError") -> str:
    """What the system says of it; httpx's own text has no URL in it for these."""
    return str(error).partition("\n")[0][:200] or type(error).__name__
