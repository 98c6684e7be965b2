"""Sending in a thread of its own: who does not answer delays nobody."""

import threading
from datetime import UTC, datetime

from recoup.model.events import Event, News
from recoup.sinks import _courier
from recoup.sinks._courier import Courier
from recoup.sinks._notifying import NotSentError

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def event(name: str = "backup_created") -> Event:
    return Event(name, NOON, "news")


class Scripted:
    """The other side of a courier: what it took, and what it refuses."""

    def __init__(self, *refused: str) -> None:
        self.refused, self.taken, self.tried = set(refused), list[str](), list[str]()
        self.open, self.closed = threading.Event(), False
        self.open.set()

    def __call__(self, news: News, /) -> None:
        assert isinstance(news, Event)
        self.open.wait(30)
        self.tried.append(news.name)
        if news.name in self.refused:
            raise NotSentError("it answers 500")
        if news.name == "odd":
            raise ZeroDivisionError
        self.taken.append(news.name)

    def close(self) -> None:
        self.closed = True


def sent(sink: Scripted, *names: str) -> Courier:
    courier = Courier(sink)
    for name in names:
        courier(event(name))
    courier.close()
    courier.wait(30)
    return courier


def test_events_arrive_in_their_order_and_the_sink_is_closed() -> None:
    sink = Scripted()
    courier = sent(sink, "a", "b", "c")
    assert sink.taken == ["a", "b", "c"]
    assert [one.name for one in courier.arrived] == ["a", "b", "c"]
    assert courier.failure == ""
    assert sink.closed


def test_after_a_failure_only_what_matters_is_tried() -> None:
    sink = Scripted("run_started", "b")
    courier = sent(sink, "run_started", "a", "problem_began", "b", "c", "run_finished")
    assert sink.tried == ["run_started", "problem_began", "b", "run_finished"]
    assert courier.failure == "it answers 500"
    assert [one.name for one in courier.arrived] == ["problem_began", "run_finished"]


def test_what_is_only_kept_is_kept_after_a_failure_too_and_nobody_took_it() -> None:
    sink = Scripted("run_started")
    courier = Courier(sink, lambda event: event.name.startswith("run_"))
    for name in ("run_started", "a", "b", "run_finished"):
        courier(event(name))
    courier.close()
    courier.wait(30)
    assert sink.taken == ["a", "b", "run_finished"]
    assert [one.name for one in courier.arrived] == ["run_finished"]


def test_whatever_a_sink_raises_is_a_reason_and_ends_nothing() -> None:
    sink = Scripted()
    courier = sent(sink, "odd", "problem_began")
    assert courier.failure == "ZeroDivisionError"
    assert sink.taken == ["problem_began"]


def test_who_hangs_is_left_behind_and_said() -> None:
    sink = Scripted()
    sink.open.clear()
    courier = Courier(sink)
    courier(event("problem_began"))
    courier.close()
    courier.wait(0.05)
    assert "did not take the notices in time" in courier.failure
    assert courier.arrived == ()
    sink.open.set()


def test_a_queue_that_is_full_takes_what_matters_only_and_says_so() -> None:
    sink = Scripted()
    sink.open.clear()
    courier = Courier(sink)
    for _ in range(_courier.WAITING + 20):
        courier(event("a"))
    courier(event("problem_began"))
    courier.close()
    sink.open.set()
    courier.wait(30)
    assert "some were left out" in courier.failure
    assert sink.taken[-1] == "problem_began"
    assert len(sink.taken) <= _courier.WAITING + 2
