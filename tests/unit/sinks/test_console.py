"""News for a person."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.model.events import Event, Level, News, Progress
from recoup.model.secrets import Masker
from recoup.sinks.console import Options, amount, connect, duration

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Watch:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(message: str, level: Level = Level.INFO) -> Event:
    return Event("e", NOON, message, level)


def lines(*news: News, level: Level = Level.INFO, progress: bool = True, seconds: float = 0.0) -> list[str]:
    """What is written when `seconds` pass after each piece of news."""
    stream, watch = io.StringIO(), Watch()
    sink = connect(Options(stream, level, progress, zone=UTC, clock=watch), Masker(["hunter2secret"]))
    for piece in news:
        sink(piece)
        watch.sleep(seconds)
    sink.close()
    return stream.getvalue().splitlines()


@pytest.mark.requirement("CI-10")
def test_what_is_no_terminal_gets_log_lines() -> None:
    assert lines(event("stored"), event("careful", Level.WARNING)) == [
        "[2026-11-21 12:00:00] INFO: stored",
        "[2026-11-21 12:00:00] WARNING: careful",
    ]


def test_quieter_events_are_left_out() -> None:
    assert lines(event("stored"), event("broken", Level.ERROR), level=Level.ERROR) == [
        "[2026-11-21 12:00:00] ERROR: broken"
    ]


def test_long_work_shows_rate_and_time_left_now_and_then() -> None:
    mib = 1024 * 1024
    news = [Progress("backup cache", done * mib, 100 * mib) for done in (0, 10, 20, 30, 40)]
    told = lines(*news, Progress("backup cache", 100 * mib, 100 * mib, finished=True), seconds=6.0)
    assert told == [
        "[2026-11-21 12:00:12] INFO: backup cache: 20.0 MiB of 100 MiB, 20 %, 1.7 MiB/s, 48 s left",
        "[2026-11-21 12:00:24] INFO: backup cache: 40.0 MiB of 100 MiB, 40 %, 1.7 MiB/s, 36 s left",
        "[2026-11-21 12:00:30] INFO: backup cache: 100 MiB in 30 s, 3.3 MiB/s",
    ]


def test_work_of_unknown_length_shows_what_is_done() -> None:
    told = lines(Progress("copy", 0), Progress("copy", 2048), seconds=10.0)
    assert told == ["[2026-11-21 12:00:10] INFO: copy: 2.0 KiB, 205 B/s"]


def test_quiet_shows_no_progress() -> None:
    assert lines(Progress("copy", 1, 1, finished=True), progress=False) == []


def test_a_terminal_gets_bars_that_vanish_and_messages_that_stay() -> None:
    stream = Terminal()
    sink = connect(Options(stream, clock=Watch()), Masker(["hunter2secret"]))
    sink(Progress("backup cache", 10, 100))
    sink(event("[bold]hunter2secret[/bold]", Level.WARNING))
    sink(Progress("backup cache", 100, 100, finished=True))
    sink.close()
    text = stream.getvalue()
    assert "backup cache" in text
    assert "[bold]***[/bold]" in text
    assert "hunter2secret" not in text
    assert text.rstrip().endswith("\x1b[2K\x1b[?25h")


def test_a_terminal_says_the_level_in_words_too() -> None:
    stream = Terminal()
    sink = connect(Options(stream, clock=Watch(), color=False), Masker())
    sink(event("lost", Level.ERROR))
    sink.close()
    assert stream.getvalue() == "Error: lost\n"


def test_closing_twice_is_harmless() -> None:
    sink = connect(Options(Terminal(), clock=Watch()), Masker())
    sink(Progress("backup cache", 1, 2))
    sink.close()
    sink.close()


@pytest.mark.requirement("DM-11")
def test_a_secret_is_masked() -> None:
    assert lines(event("with hunter2secret"))[0].endswith("INFO: with ***")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (99 * 1024, "99.0 KiB"),
        (150 * 1024, "150 KiB"),
        (3 * 1024**4, "3.0 TiB"),
    ],
)
def test_amounts_are_said_in_iec_units(count: int, text: str) -> None:
    assert amount(count) == text


@given(st.integers(min_value=0, max_value=2**60))
def test_an_amount_is_never_longer_than_eight_characters(count: int) -> None:
    assert len(amount(count)) <= 8


def test_durations_read_like_a_stopwatch() -> None:
    assert [duration(s) for s in (0, 0.84, 59.6, 61, 3661)] == ["0.0 s", "0.8 s", "1:00", "1:01", "1:01:01"]
