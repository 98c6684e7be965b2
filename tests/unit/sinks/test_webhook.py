"""Events as signed JSON to a URL of one's own."""

import hashlib
import hmac
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from notice_receivers import HttpReceiver, free_port, http_receiver
from recoup.errors import RefusedError
from recoup.model.events import Event, Level, Progress
from recoup.model.secrets import Masker
from recoup.sinks import _http
from recoup.sinks._notifying import NotSentError
from recoup.sinks.webhook import Options, connect
from tls_terminating import Terminator, certificate

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BEGAN = Event("problem_began", NOON, "db was not backed up", Level.ERROR, fields={"key": "k", "gravity": "error"})


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "_PAUSE", 0.0)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as known:
        yield known


def options(url: str, **more: object) -> Options:
    return Options.model_validate({"kind": "webhook", "url": f"{url}/hook", **more})


def send(chosen: Options, *news: Event | Progress, masker: Masker | None = None) -> None:
    sink = connect(chosen, masker or Masker())
    for one in news:
        sink(one)
    sink.close()


def test_an_event_is_one_json_object(receiver: HttpReceiver) -> None:
    send(options(receiver.url), BEGAN)
    (request,) = receiver.requests
    document = json.loads(request.body)
    delivery = document.pop("delivery")
    assert request.headers["Recoup-Delivery"] == delivery
    assert request.headers["Content-Type"] == "application/json"
    assert document == {
        "version": 1,
        "event": "problem_began",
        "time": "2026-11-21T12:00:00+00:00",
        "level": "error",
        "message": "db was not backed up",
        "set": "",
        "fields": {"key": "k", "gravity": "error"},
    }


def test_the_signature_says_who_sent_it_and_when(receiver: HttpReceiver) -> None:
    send(options(receiver.url, secret="shared"), BEGAN)
    (request,) = receiver.requests
    moment, found = (pair.partition("=")[2] for pair in request.headers["Recoup-Signature"].split(","))
    wanted = hmac.new(b"shared", moment.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(found, wanted)
    sent = datetime.fromtimestamp(int(moment), UTC)
    assert abs(datetime.now(UTC) - sent) < timedelta(minutes=5)


def test_without_a_secret_nothing_is_signed(receiver: HttpReceiver) -> None:
    send(options(receiver.url), BEGAN)
    assert "Recoup-Signature" not in receiver.requests[0].headers


def test_a_bearer_token_is_sent_along(receiver: HttpReceiver) -> None:
    send(options(receiver.url, bearer="token-of-mine"), BEGAN)
    assert receiver.requests[0].headers["Authorization"] == "Bearer token-of-mine"


def test_by_default_conditions_are_sent_and_no_other_news(receiver: HttpReceiver) -> None:
    created = Event("backup_created", NOON, "stored")
    send(options(receiver.url), created, Progress("backup", 1, 2), BEGAN)
    assert [json.loads(one.body)["event"] for one in receiver.requests] == ["problem_began"]


def test_events_that_are_named_are_sent_whatever_their_level(receiver: HttpReceiver) -> None:
    chosen = options(receiver.url, events=["backup_*", "source_failed"])
    send(chosen, Event("backup_created", NOON, "stored"), BEGAN, Event("source_failed", NOON, "no", Level.ERROR))
    assert [json.loads(one.body)["event"] for one in receiver.requests] == ["backup_created", "source_failed"]


@pytest.mark.parametrize(("gravity", "sent"), [("error", 1), ("warning", 0)])
def test_the_end_of_a_condition_is_as_grave_as_the_condition_was(
    receiver: HttpReceiver, gravity: str, sent: int
) -> None:
    ended = Event("problem_ended", NOON, "over: it", Level.INFO, fields={"gravity": gravity})
    send(options(receiver.url, level="error"), ended)
    assert len(receiver.requests) == sent


@pytest.mark.parametrize("first", [500, 503, 429, "reset"])
def test_what_may_pass_is_tried_a_second_time_as_the_same_delivery(receiver: HttpReceiver, first: int | str) -> None:
    receiver.answers = [first]
    send(options(receiver.url), BEGAN)
    assert len(receiver.requests) == 2
    assert len({one.headers["Recoup-Delivery"] for one in receiver.requests}) == 1


@pytest.mark.parametrize(
    ("answers", "said", "tries"),
    [
        ([500, 500], "it answers 500", 2),
        ([403], "it answers 403", 1),
        (["reset", "reset"], "no connection", 2),
        ([301], "leads elsewhere", 1),
    ],
)
def test_what_was_not_taken_is_an_error_that_says_why(
    receiver: HttpReceiver, answers: list[int | str], said: str, tries: int
) -> None:
    receiver.answers = answers
    with pytest.raises(NotSentError, match=said) as error:
        send(options(receiver.url), BEGAN)
    assert len(receiver.requests) == tries
    assert "/hook" not in str(error.value)


def test_a_redirection_is_not_followed_with_the_secrets_of_the_first_address(receiver: HttpReceiver) -> None:
    receiver.answers = [308]
    with pytest.raises(NotSentError):
        send(options(receiver.url, bearer="token"), BEGAN)
    assert [one.path for one in receiver.requests] == ["/hook"]


def test_who_does_not_answer_is_given_up(receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "LONGEST_WAIT", 0.1)
    receiver.answers = ["hang", "hang"]
    with pytest.raises(NotSentError, match="no answer within"):
        send(options(receiver.url), BEGAN)


def test_nobody_listening_is_an_error_without_the_address() -> None:
    with pytest.raises(NotSentError, match="no connection") as error:
        send(options(f"http://127.0.0.1:{free_port()}/token-1234567"), BEGAN)
    assert "token" not in str(error.value)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    send(options(receiver.url), BEGAN)
    assert len(receiver.requests) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_only_a_server_whose_authority_is_trusted_gets_a_notice(
    receiver: HttpReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path)
    server = Terminator(authority, tmp_path / "key.pem", ("127.0.0.1", int(receiver.url.rpartition(":")[2])))
    chosen = options(f"https://127.0.0.1:{server.port}")
    try:
        with pytest.raises(NotSentError, match="certificate verify failed"):
            send(chosen, BEGAN)
        assert receiver.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        send(chosen, BEGAN)
        assert len(receiver.requests) == 1
    finally:
        server.close()


@pytest.mark.parametrize("url", ["ftp://host/x", "https:///x", "host/x", "http://ho\nst/", "http://[::1"])
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValidationError, match="no URL that begins with http") as error:
        Options.model_validate({"kind": "webhook", "url": url})
    assert url not in str(error.value)


@pytest.mark.requirement("DM-11")
def test_all_parts_of_the_url_that_open_something_are_secrets() -> None:
    url = "https://user:passw0rd@hooks.example.org/services/T01234567/alongtokenwithoutdigits?key=abcdefgh1"
    chosen = Options(url=SecretStr(url), secret=SecretStr("shared-key"))
    mask = Masker(chosen.secrets())
    for part in (url, "passw0rd", "T01234567", "alongtokenwithoutdigits", "abcdefgh1", "shared-key"):
        assert part not in mask(f"it says {part} there")
    assert mask("hooks.example.org has services") == "hooks.example.org has services"


def test_another_machine_is_refused_where_only_this_one_is_allowed() -> None:
    chosen = options("https://hooks.example.org")
    chosen.require_allowed(allow_remote=True)
    with pytest.raises(RefusedError, match="another machine"):
        chosen.require_allowed(allow_remote=False)
    options("http://127.0.0.1:9").require_allowed(allow_remote=False)
