"""Notices by Apprise: to a real mail server, by a template, with a reason when it fails."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.header import decode_header, make_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from notice_receivers import MailServer, free_port, http_receiver, mail_server
from recoup.errors import RefusedError
from recoup.model.events import Event, Level
from recoup.model.secrets import Masker
from recoup.sinks._notifying import NotSentError
from recoup.sinks.apprise import FIELDS, Options, Template, connect, rendered

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of Apprise's services

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FIELDS_OF = {"stack": "shop", "host": "box", "hint": "look at the disk", "source": "db", "gravity": "error"}
BEGAN = Event("problem_began", NOON, "db was not backed up", Level.ERROR, fields=FIELDS_OF)


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with mail_server() as known:
        yield known


def mailto(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?from=recoup@example.org&to=someone@example.org&mode=insecure"


def options(url: str, **more: object) -> Options:
    return Options.model_validate({"kind": "apprise", "url": url, **more})


@pytest.mark.requirement("SR-12", "CI-9")
def test_a_mail_says_what_is_wrong_with_which_stack_and_what_to_do(server: MailServer) -> None:
    server.mails.clear()
    connect(options(mailto(server.port)), Masker())(BEGAN)
    (mail,) = server.mails
    assert str(make_header(decode_header(mail["Subject"]))) == "[shop] db was not backed up"
    assert mail["To"] == "someone@example.org"
    text = "".join(str(part.get_payload(decode=True)) for part in mail.walk() if not part.is_multipart())
    assert "look at the disk" in text
    assert "2026-11-21 12:00:00 UTC on box" in text


def test_each_notice_is_a_mail_of_its_own(server: MailServer) -> None:
    server.mails.clear()
    sink = connect(options(mailto(server.port)), Masker())
    sink(BEGAN)
    sink(Event("problem_ended", NOON, "over: db was not backed up", fields=FIELDS_OF))
    assert [str(mail["Subject"]) for mail in server.mails] == [
        "[shop] db was not backed up",
        "[shop] over: db was not backed up",
    ]


def test_a_mail_server_that_is_down_is_a_reason() -> None:
    with pytest.raises(NotSentError, match=r"Apprise could not send it: .+"):
        connect(options(mailto(free_port())), Masker())(BEGAN)


def test_a_mail_server_that_refuses_is_a_reason(server: MailServer) -> None:
    server.refuses = True
    try:
        with pytest.raises(NotSentError, match="Apprise could not send it"):
            connect(options(mailto(server.port)), Masker())(BEGAN)
    finally:
        server.refuses = False


def test_a_url_that_apprise_does_not_know_is_a_reason_without_the_url() -> None:
    with pytest.raises(NotSentError, match="none that Apprise knows") as error:
        connect(options("nosuchservice://token-1234567"), Masker())(BEGAN)
    assert "token" not in str(error.value)


def test_another_service_gets_title_body_and_kind() -> None:
    with http_receiver() as receiver:
        connect(options(receiver.url.replace("http:", "json:")), Masker())(BEGAN)
        document = json.loads(receiver.requests[0].body)
    assert (document["title"], document["type"]) == ("[shop] db was not backed up", "failure")


def test_a_template_says_how_a_notice_reads() -> None:
    template = Template(title="{what} at {host}: {source}", body="{level} {event} {{as it is}} {repository}|{set}")
    assert rendered(template, BEGAN, Masker()) == ("problem at box: db", "error problem_began {as it is} |")


@pytest.mark.parametrize("text", ["{nothing}", "{stack.__class__}", "{stack!r}", "{stack:>9999999}", "{0}", "{", "{}"])
def test_a_field_that_there_is_not_is_refused_when_the_configuration_is_read(text: str) -> None:
    with pytest.raises(ValidationError, match=r"no field|brace"):
        Template(title=text)


@given(text=st.text(max_size=400), fields=st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=50)))
@settings(max_examples=60)
def test_hostile_names_make_no_further_lines_of_a_title(text: str, fields: dict[str, str]) -> None:
    event = Event("problem_began", NOON, text, Level.ERROR, fields={**fields, "stack": text})
    title, _body = rendered(Template(), event, Masker())
    assert title.isprintable()
    assert len(title) <= 200


def test_a_hostile_name_cannot_add_a_header_to_a_mail(server: MailServer) -> None:
    server.mails.clear()
    event = Event("problem_began", NOON, "db\r\nBcc: all@example.org\r\n\r\n{stack} <b>", Level.ERROR, fields=FIELDS_OF)
    connect(options(mailto(server.port)), Masker())(event)
    (mail,) = server.mails
    assert mail["Bcc"] is None
    assert "Bcc: all@example.org {stack} <b>" in str(make_header(decode_header(mail["Subject"])))


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("mailto://user:pass@localhost:2525?to=a@example.org", True),
        ("mailto://user:pass@example.org?smtp=127.0.0.1", True),
        ("mailto://user:pass@localhost?smtp=mail.example.org", False),
        ("mailtos://user:pass@example.org", False),
        ("json://127.0.0.1:8080/x", True),
        ("slack://localhost/B/C", False),
        ("tgram://token/chat", False),
    ],
)
def test_only_what_surely_stays_on_this_machine_is_allowed_offline(url: str, allowed: bool) -> None:
    chosen = options(url)
    if allowed:
        chosen.require_allowed(allow_remote=False)
    else:
        with pytest.raises(RefusedError, match="another machine"):
            chosen.require_allowed(allow_remote=False)


def test_tokens_that_stand_where_a_host_stands_are_secrets() -> None:
    found = set(options("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general").secrets())
    assert {"T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ"} <= found
