"""Pings of a dead man's switch: start, end with the exit code, the log's end."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from notice_receivers import HttpReceiver, http_receiver
from recoup.model.events import Event, Level, Progress
from recoup.model.secrets import Masker
from recoup.sinks.healthchecks import BODY_LIMIT, Options, address, connect

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RUN = "0123456789abcdef0123456789abcdef"
RID = f"rid={uuid.UUID(RUN)}"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as known:
        yield known


def started(verb: str = "backup", sources: tuple[str, ...] = ("db", "vectors")) -> Event:
    return Event("run_started", NOON, f"{verb} begins", fields={"verb": verb, "sources": list(sources), "run": RUN})


def finished(code: int = 0, verb: str = "backup", sources: tuple[str, ...] = ("db", "vectors")) -> Event:
    fields = {"verb": verb, "sources": list(sources), "run": RUN, "exit_code": code}
    return Event("run_finished", NOON, f"{verb} ended", fields=fields)


def send(url: str, *news: Event | Progress, **more: object) -> None:
    sink = connect(Options.model_validate({"kind": "healthchecks", "url": url, **more}), Masker(["hunter2secret"]))
    for one in news:
        sink(one)
    sink.close()


@pytest.mark.requirement("CI-8", "SR-12")
@pytest.mark.parametrize("code", [0, 1, 3, 130])
def test_a_run_is_a_ping_at_its_start_and_one_with_its_exit_code(receiver: HttpReceiver, code: int) -> None:
    send(f"{receiver.url}/check", started(), finished(code))
    assert [one.path for one in receiver.requests] == [f"/check/start?{RID}", f"/check/{code}?{RID}"]


def test_the_end_of_the_log_is_sent_along_without_secrets(receiver: HttpReceiver) -> None:
    failed = Event("source_failed", NOON, "db: hunter2secret\nrefused", Level.ERROR)
    send(f"{receiver.url}/check", started(), Progress("backup", 1), failed, finished(1))
    first, last = receiver.requests
    assert first.body == b""
    assert last.body.decode().splitlines() == [
        "[2026-11-21 12:00:00Z] INFO: backup begins",
        "[2026-11-21 12:00:00Z] ERROR: db: *** refused",
        "[2026-11-21 12:00:00Z] INFO: backup ended",
    ]


def test_of_a_long_log_the_last_lines_are_sent(receiver: HttpReceiver) -> None:
    lines = (Event("item_skipped", NOON, f"{number:06d} " + "x" * 1000) for number in range(300))
    send(f"{receiver.url}/check", *lines, finished(3))
    body = receiver.requests[0].body
    assert BODY_LIMIT - 2000 < len(body) <= BODY_LIMIT
    assert body.endswith(b"backup ended\n")
    assert b" 000299 " in body
    assert b" 000001 " not in body


def test_one_line_that_is_longer_than_what_is_kept_is_cut(receiver: HttpReceiver) -> None:
    send(f"{receiver.url}/check", Event("item_skipped", NOON, "x" * (BODY_LIMIT + 7)), finished())
    assert len(receiver.requests[0].body) <= BODY_LIMIT


def test_the_log_stays_here_when_that_is_wanted(receiver: HttpReceiver) -> None:
    send(f"{receiver.url}/check", started(), finished(1), log=False)
    assert [one.body for one in receiver.requests] == [b"", b""]


@pytest.mark.parametrize(
    ("settings", "verb", "sources", "pings"),
    [
        ({}, "verify", ("db",), 0),
        ({"runs": ["verify", "drill"]}, "verify", (), 2),
        ({"sources": ["db"]}, "backup", ("db", "vectors"), 2),
        ({"sources": ["db"]}, "backup", ("vectors",), 0),
    ],
)
def test_a_check_is_of_some_verbs_and_sources(
    receiver: HttpReceiver, settings: dict[str, object], verb: str, sources: tuple[str, ...], pings: int
) -> None:
    send(f"{receiver.url}/check", started(verb, sources), finished(0, verb, sources), **settings)
    assert len(receiver.requests) == pings


def test_a_test_changes_nothing_at_the_check(receiver: HttpReceiver) -> None:
    send(f"{receiver.url}/check", Event("notice_test", NOON, "this is a test"))
    assert [one.path for one in receiver.requests] == ["/check/log"]


def test_what_the_url_has_behind_its_path_stays_there() -> None:
    assert address("https://host/key/slug/?create=1#x", "start", RUN) == f"https://host/key/slug/start?create=1&{RID}"
    assert address("https://host/key", "log", "") == "https://host/key/log"
