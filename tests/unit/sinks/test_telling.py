"""One run told to several receivers: who is told of what, and what is remembered of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from recoup.errors import ConfigError
from recoup.model.events import Event, Level, News
from recoup.model.outcomes import Outcome
from recoup.model.reports import Problem
from recoup.model.secrets import Masker
from recoup.sinks import _measures, apprise, healthchecks, webhook
from recoup.sinks._base import Sink
from recoup.sinks._notices import failing, known_to
from recoup.sinks._notifying import NotSentError, ToldOptions
from recoup.sinks._telling import Receiver, Subject, Telling

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Noon:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Inbox:
    """What somebody got, unless it is closed."""

    def __init__(self) -> None:
        self.events, self.closed = list[Event](), False

    def __call__(self, news: News, /) -> None:
        assert isinstance(news, Event)
        if self.closed:
            raise NotSentError("the inbox is closed")
        self.events.append(news)

    def close(self) -> None:
        pass

    def taken(self) -> list[str]:
        found = [f"{one.name}: {one.message}" for one in self.events if one.name.startswith("problem")]
        self.events.clear()
        return found


def problem(name: str, level: str = "critical") -> Problem:
    return Problem(
        f"run:backup:source:{name}", "critical" if level == "critical" else "warning", "", name, f"{name} failed"
    )


def bad(*problems: Problem) -> Outcome:
    return Outcome(3, problems, verb="backup")


def good(*names: str) -> Outcome:
    return Outcome(0, good=frozenset(f"run:backup:source:{name}" for name in names), verb="backup")


def run(outcome: Outcome, clock: Noon, *receivers: Receiver, news: tuple[Event, ...] = ()) -> dict[str, str]:
    telling = Telling(Subject("shop", "box", "backup", ("db",)), receivers, Masker(["hunter2secret"]), clock)
    telling.begin()
    for one in news:
        telling(one)
    return telling.end(outcome)


def receiver(inbox: Sink, chosen: ToldOptions, name: str = "mine") -> Receiver:
    return Receiver(name, chosen, lambda: inbox)


def hooked(**more: Any) -> ToldOptions:
    return webhook.Options.model_validate({"kind": "webhook", "url": "http://localhost/", **more})


def mailed(**more: Any) -> ToldOptions:
    return apprise.Options.model_validate({"kind": "apprise", "url": "mailto://localhost", **more})


def test_each_receiver_has_a_memory_and_a_patience_of_its_own() -> None:
    clock, often, rarely = Noon(), Inbox(), Inbox()
    both = (receiver(often, hooked(remind="1h"), "often"), receiver(rarely, hooked(), "rarely"))
    run(bad(problem("db")), clock, *both)
    assert often.taken() == rarely.taken() == ["problem_began: db failed"]
    clock.sleep(7200)
    run(bad(problem("db")), clock, *both)
    assert often.taken() == ["problem_lasts: still: db failed"]
    assert rarely.taken() == []
    clock.sleep(86400)
    run(bad(problem("db")), clock, *both)
    assert rarely.taken() == ["problem_lasts: still: db failed"]


def test_what_a_run_told_is_told_again_when_status_still_finds_it() -> None:
    """A drill runs once a week, and a reminder is due each day."""
    clock, inbox = Noon(), Inbox()
    one = receiver(inbox, hooked())
    failed = Problem("run:drill:source:db", "critical", "main", "db", "db does not restore")
    found = Problem("failed-drill:main:db", "critical", "main", "db", "its newest drill failed")
    status = Outcome(3, (found,), verb="status", status=frozenset({"main"}))
    run(Outcome(4, (failed,), verb="drill"), clock, one)
    run(status, clock, one)
    assert inbox.taken() == ["problem_began: db does not restore"]
    clock.sleep(86400)
    run(status, clock, one)
    run(status, clock, one)
    assert inbox.taken() == ["problem_lasts: still: db does not restore"]
    run(Outcome(0, good=frozenset({failed.key}), verb="drill"), clock, one)
    assert inbox.taken() == ["problem_ended: over: db does not restore"]


def test_who_wants_errors_alone_is_reminded_of_one_that_status_only_warns_of() -> None:
    clock, inbox = Noon(), Inbox()
    one = receiver(inbox, hooked(level="error"))
    found = Problem("failed-prune:main:", "warning", "main", "", "the last prune ended with exit code 1")
    run(Outcome(1, (Problem("run:prune:whole:@main", "critical", "", "", "prune failed"),), verb="prune"), clock, one)
    clock.sleep(86400)
    run(Outcome(3, (found,), verb="status", status=frozenset({"main"})), clock, one)
    assert inbox.taken() == ["problem_began: prune failed", "problem_lasts: still: prune failed"]


def test_a_notice_that_was_lost_is_sent_by_the_next_run_and_never_its_end_alone() -> None:
    clock, inbox = Noon(), Inbox()
    inbox.closed = True
    assert run(bad(problem("db")), clock, receiver(inbox, hooked())) == {"mine": "the inbox is closed"}
    assert known_to("shop", "mine") == {}
    run(good("db"), clock, receiver(inbox, hooked()))
    inbox.closed = False
    run(good("db"), clock, receiver(inbox, hooked()))
    assert inbox.taken() == []
    run(bad(problem("db")), clock, receiver(inbox, hooked()))
    assert inbox.taken() == ["problem_began: db failed"]


def test_who_was_unreachable_stays_so_until_something_has_arrived() -> None:
    clock, inbox = Noon(), Inbox()
    one = receiver(inbox, hooked())
    inbox.closed = True
    run(bad(problem("db")), clock, one)
    inbox.closed = False
    run(good("db"), clock, one)
    assert [found.key for found in failing("shop", ["mine"])] == ["notify:mine"]
    run(bad(problem("db")), clock, one)
    assert failing("shop", ["mine"]) == ()


def test_a_run_that_a_check_does_not_ping_says_nothing_of_whether_pings_arrive() -> None:
    clock = Noon()
    inbox = Inbox()
    options = healthchecks.Options.model_validate(
        {"kind": "healthchecks", "url": "http://localhost/", "runs": ["drill"]}
    )
    backup = healthchecks.Options.model_validate({"kind": "healthchecks", "url": "http://localhost/"})
    inbox.closed = True
    run(good("db"), clock, Receiver("check", backup, lambda: inbox))
    inbox.closed = False
    run(good("db"), clock, Receiver("check", options, lambda: inbox))
    assert [one.key for one in failing("shop", ["check"])] == ["notify:check"]
    run(good("db"), clock, Receiver("check", backup, lambda: inbox))
    assert failing("shop", ["check"]) == ()


def test_prometheus_hears_of_who_is_unreachable_and_of_nobody_who_is_no_more() -> None:
    clock, inbox = Noon(), Inbox()
    inbox.closed = True

    def failing_now() -> dict[str, float]:
        found = (one for one in _measures.recalled("shop") if one.name == "recoup_notify_failing")
        return {one.labels["receiver"]: one.value for one in found}

    run(bad(problem("db")), clock, receiver(inbox, hooked(), "old"))
    assert failing_now() == {"old": 1}
    run(good(), clock, receiver(inbox, hooked(), "old"))
    assert failing_now() == {"old": 1}
    run(good(), clock, receiver(inbox, hooked(), "new"))
    assert failing_now() == {"new": 0}


def test_an_end_that_was_lost_is_sent_later() -> None:
    clock, inbox = Noon(), Inbox()
    run(bad(problem("db")), clock, receiver(inbox, hooked()))
    inbox.taken()
    inbox.closed = True
    run(good("db"), clock, receiver(inbox, hooked()))
    inbox.closed = False
    run(good("db"), clock, receiver(inbox, hooked()))
    assert inbox.taken() == ["problem_ended: over: db failed"]


def test_who_wants_errors_alone_hears_of_no_warning_and_of_no_end_while_it_is_one() -> None:
    clock, inbox = Noon(), Inbox()
    one = receiver(inbox, hooked(level="error"))
    run(bad(problem("db", "warning")), clock, one)
    assert inbox.taken() == []
    run(bad(problem("db")), clock, one)
    assert inbox.taken() == ["problem_began: db failed"]
    run(bad(problem("db", "warning")), clock, one)
    assert inbox.taken() == []
    run(good("db"), clock, one)
    assert inbox.taken() == ["problem_ended: over: db failed"]


def test_who_does_not_want_to_hear_of_ends_hears_of_the_next_beginning() -> None:
    clock, inbox = Noon(), Inbox()
    one = receiver(inbox, hooked(events=["problem_began"]))
    run(bad(problem("db")), clock, one)
    run(good("db"), clock, one)
    run(bad(problem("db")), clock, one)
    assert inbox.taken() == ["problem_began: db failed"] * 2


def test_many_conditions_at_once_are_one_mail_and_each_is_remembered() -> None:
    clock, inbox, hook = Noon(), Inbox(), Inbox()
    names = [f"db{number:02d}" for number in range(30)]
    both = (receiver(inbox, mailed(), "mail"), receiver(hook, hooked(), "hook"))
    run(bad(*map(problem, names)), clock, *both)
    (told,) = inbox.taken()
    assert told.startswith("problem_began: 30 conditions: db00 failed; db01 failed")
    assert told.endswith("; and 10 more")
    assert len(hook.taken()) == 30
    assert len(known_to("shop", "mail")) == 30
    run(good(names[0]), clock, *both)
    assert inbox.taken() == ["problem_ended: over: db00 failed"]


def test_an_event_says_whose_it_is_and_which_run_s() -> None:
    clock, inbox = Noon(), Inbox()
    failed = Event("source_failed", NOON, "no", Level.ERROR, fields={"source": "db"})
    run(bad(problem("db")), clock, receiver(inbox, hooked(events=["*"])), news=(failed,))
    assert [one.name for one in inbox.events] == ["run_started", "source_failed", "run_finished", "problem_began"]
    assert {(one.fields["stack"], one.fields["host"]) for one in inbox.events} == {("shop", "box")}
    assert len({one.fields["run"] for one in inbox.events}) == 1
    assert inbox.events[1].fields["source"] == "db"


def test_a_receiver_that_cannot_be_used_is_named_and_the_others_are_told() -> None:
    def broken() -> Sink:
        raise ConfigError("Apprise is not installed, hunter2secret")

    clock, inbox = Noon(), Inbox()
    others = (Receiver("broken", hooked(), broken), receiver(inbox, hooked()))
    assert run(bad(problem("db")), clock, *others) == {"broken": "Apprise is not installed, ***"}
    assert inbox.taken() == ["problem_began: db failed"]


def test_what_a_run_took_is_measured_also_when_nobody_is_told() -> None:
    clock = Noon()
    run(good("db"), clock)
    run(bad(problem("db")), clock)
    found = {one.name: one.value for one in _measures.recalled("shop")}
    assert found["recoup_run_last_exit_code"] == 3
    assert found["recoup_run_last_success_timestamp_seconds"] == NOON.timestamp()
