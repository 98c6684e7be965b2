"""Telling of one run: that it begins, what happens in it, how it ended, and which conditions it changed."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from recoup.errors import RecoupError
from recoup.model.events import Event, Level, News
from recoup.model.outcomes import Outcome, echoed
from recoup.model.reports import Problem
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.sinks import _measures, _notices
from recoup.sinks._base import Sink
from recoup.sinks._courier import Courier
from recoup.sinks._measures import Measure
from recoup.sinks._notices import Notice
from recoup.sinks._notifying import LEVELS, NotifyOptions, ToldOptions, gravity
from recoup.system.clock import Clock
from recoup.system.statefile import StateError

AT_THE_END = 10.0
"""Seconds that the end of a run waits for what is still on its way to all receivers together."""

WHEN_STOPPED = 1.5
"""The same for a run that somebody interrupted."""

FEW = 3
"""Conditions that begin, last or end together, and are still told one by one where a person reads them."""

_SHOWN = 20  # conditions that a notice of many names

_GRAVITY = {"warning": "warning", "critical": "error"}


class Receiver(Struct):
    """One entry of `notify`.

    Attributes:
        name: what messages call it.
        options: its settings.
        connect: makes the sink; raises `RecoupError` where it cannot be used.
    """

    name: str
    options: NotifyOptions
    connect: Callable[[], Sink]


class Subject(Struct):
    """What is told of.

    Attributes:
        stack: name of the stack.
        host: name of this machine.
        verb: the verb that runs.
        sources: names of the sources that it was asked for; all of the stack's where it was not asked for some.
        all: whether it was asked for all of them.
    """

    stack: str
    host: str
    verb: str
    sources: tuple[str, ...] = ()
    all: bool = True


_Sent = tuple[Event, list[Notice]]
"""An event, and what it tells of."""


class Telling:
    """One run, told to the receivers. Nothing that fails here fails the run.

    Args:
        subject: what is told of.
        receivers: whom to tell.
        masker: takes secrets out.
        clock: time.
    """

    def __init__(self, subject: Subject, receivers: Sequence[Receiver], masker: Masker, clock: Clock) -> None:
        self._subject, self._receivers = subject, receivers
        self._masker, self._clock = masker, clock
        self._run = secrets.token_hex(16)
        self._couriers: dict[str, Courier] = {}
        self._failures: dict[str, str] = {}
        self._begun = clock.now()

    def begin(self) -> None:
        """Says that the run begins."""
        for receiver in self._receivers:
            try:
                self._couriers[receiver.name] = Courier(receiver.connect(), receiver.options.sends)
            except (RecoupError, OSError) as error:
                self._failures[receiver.name] = self._masker(str(error))
        self(Event("run_started", self._begun, f"{self._subject.verb} begins", fields=self._asked))

    def __call__(self, news: News, /) -> None:
        """Takes news of the run; returns at once."""
        if isinstance(news, Event):
            for receiver in self._receivers:
                self._send(receiver, news)

    def end(
        self, outcome: Outcome, state: Sequence[Measure] = (), *, whole: bool = False, limit: float = AT_THE_END
    ) -> dict[str, str]:
        """Says how it ended, and waits until that is sent.

        Args:
            outcome: how it ended.
            state: what it found of sources and repositories, for Prometheus.
            whole: whether that is all that there is to say of them, so that what else is remembered has no meaning any more.
            limit: seconds to wait at most, for all receivers together.

        Returns:
            Receiver to the reason why something did not arrive there. Where nothing can be remembered, that is under an
            empty name.
        """
        now = self._clock.now()
        stack = self._subject.stack
        self._remembering(lambda: _measures.remember(stack, "run", self._of_run(outcome, now)))
        self._remembering(lambda: _measures.remember(stack, "state", state, instead=whole))
        self(self._finished(outcome, now))
        planned = {receiver.name: self._notices(receiver, outcome, now) for receiver in self._receivers}
        self._wait(limit)
        arrived = {name: self._arrived(name, notices) for name, notices in planned.items() if name in self._couriers}
        failed = {name: text for name, text in self._failures.items() if name}
        if self._receivers:
            reached = [name for name, one in self._couriers.items() if one.arrived and name not in failed]
            self._remembering(lambda: _notices.note(stack, arrived, now))
            names = [one.name for one in self._receivers]
            self._remembering(lambda: noted_reached(stack, names, reached, failed, now))
        return dict(self._failures)

    @property
    def _asked(self) -> dict[str, object]:
        return {"verb": self._subject.verb, "sources": list(self._subject.sources)}

    def _send(self, receiver: Receiver, event: Event) -> None:
        courier = self._couriers.get(receiver.name)
        if courier is not None and receiver.options.wants(event):
            whence = {"stack": self._subject.stack, "host": self._subject.host, "run": self._run}
            courier(replace(event, fields={**event.fields, **whence}))

    def _finished(self, outcome: Outcome, now: datetime) -> Event:
        seconds = round((now - self._begun).total_seconds(), 3)
        how = f"failed: {outcome.error}" if outcome.error else f"ended with exit code {outcome.exit_code}"
        fields = {**self._asked, "exit_code": outcome.exit_code, "seconds": seconds}
        level = Level.ERROR if outcome.error else Level.WARNING if outcome.exit_code else Level.INFO
        return Event("run_finished", now, self._masker(f"{self._subject.verb} {how}"), level, fields=fields)

    def _notices(self, receiver: Receiver, outcome: Outcome, now: datetime) -> list[_Sent]:
        """Hands a receiver what it is to be told of conditions, and returns that."""
        options = receiver.options
        if not isinstance(options, ToldOptions) or receiver.name not in self._couriers:
            return []
        told: Mapping[str, _notices.Told] = {}
        try:
            told = _notices.known_to(self._subject.stack, receiver.name)
        except StateError as error:
            self._failures[""] = error.message
        lowest = LEVELS[options.lowest]
        known = _without_echoes(outcome.problems, told)
        grave = [one for one in known if LEVELS[_GRAVITY[one.level]] >= lowest]
        all_wrong = {one.key for one in outcome.problems}

        def settled(problem: Problem) -> bool:
            return problem.key not in all_wrong and outcome.settles(problem)

        notices = _notices.due(told, grave, settled, now, options.remind)
        sent = [one for what in ("began", "lasts", "ended") for one in self._events(notices, what, options, now)]
        for event, _ in sent:
            self._send(receiver, event)
        return sent

    def _events(self, notices: Sequence[Notice], what: str, options: ToldOptions, now: datetime) -> Iterator[_Sent]:
        same = [one for one in notices if one.what == what]
        if options.together and len(same) > FEW:
            yield self._digest([self._event(one, now) for one in same]), same
        else:
            yield from ((self._event(one, now), [one]) for one in same)

    def _digest(self, events: Sequence[Event]) -> Event:
        """Many of one kind as one; as grave as the gravest."""
        first = max(events, key=gravity)
        more = f"; and {len(events) - _SHOWN} more" if len(events) > _SHOWN else ""
        message = f"{len(events)} conditions: {'; '.join(one.message for one in events[:_SHOWN])}{more}"
        keys = ",".join(str(one.fields["key"]) for one in events)
        fields = {**first.fields, "key": keys, "source": "", "repository": "", "hint": "`recoup status` says more."}
        return replace(first, message=message, fields=fields)

    def _event(self, notice: Notice, now: datetime) -> Event:
        problem, sentence = notice.problem, self._masker(notice.problem.sentence)
        fields = {
            "key": problem.key,
            "gravity": _GRAVITY[problem.level],
            "repository": problem.repository,
            "source": problem.source,
            "hint": self._masker(problem.hint),
            "since": notice.since.isoformat(),
        }
        level = LEVELS[_GRAVITY[problem.level]]
        if notice.what == "began":
            return Event("problem_began", now, sentence, level, fields=fields)
        if notice.what == "lasts":
            return Event("problem_lasts", now, f"still: {sentence}", level, fields=fields)
        return Event("problem_ended", now, f"over: {sentence}", Level.INFO, fields={**fields, "hint": ""})

    def _wait(self, limit: float) -> None:
        last = self._clock.monotonic() + limit
        for courier in self._couriers.values():
            courier.close()
        for name, courier in self._couriers.items():
            courier.wait(last - self._clock.monotonic())
            if courier.failure:
                self._failures[name] = self._masker(courier.failure)

    def _arrived(self, name: str, sent: Sequence[_Sent]) -> list[Notice]:
        """Which notices the receiver has now; those that it does not want to hear of count as heard."""
        (receiver,) = (one for one in self._receivers if one.name == name)
        there = {(event.name, event.fields.get("key")) for event in self._couriers[name].arrived}
        return [
            notice
            for event, notices in sent
            if (event.name, event.fields["key"]) in there or not receiver.options.wants(event)
            for notice in notices
        ]

    def _remembering(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StateError as error:
            self._failures[""] = error.message

    def _of_run(self, outcome: Outcome, now: datetime) -> Iterator[Measure]:
        labels = {"verb": self._subject.verb, "sources": "" if self._subject.all else ",".join(self._subject.sources)}
        yield Measure("recoup_run_last_attempt_timestamp_seconds", self._begun.timestamp(), labels)
        yield Measure("recoup_run_last_exit_code", outcome.exit_code, labels)
        yield Measure("recoup_run_last_duration_seconds", (now - self._begun).total_seconds(), labels)
        if not outcome.exit_code:
            yield Measure("recoup_run_last_success_timestamp_seconds", now.timestamp(), labels)


def _without_echoes(problems: Sequence[Problem], told: Mapping[str, _notices.Told]) -> list[Problem]:
    """The problems; in the place of those that a run has told, what it told, so that they are not told twice and yet again
    after a while."""
    found: dict[str, Problem] = {}
    for problem in problems:
        again = () if problem.key in told else sorted(echoed(problem, told))
        found |= {key: told[key].problem for key in again} if again else {problem.key: problem}
    return list(found.values())


def noted_reached(
    stack: str, names: Sequence[str], reached: Sequence[str], failed: Mapping[str, str], now: datetime
) -> None:
    """Remembers who could be reached and who could not, for `status` and Prometheus.

    Args:
        stack: name of the stack.
        names: of all receivers; of others, that are no more, no number stays.
        reached: receivers that took all that was sent to them.
        failed: receiver to the reason, without secrets.
        now: the present moment.

    Raises:
        StateError: it cannot be written.
    """
    _notices.note_reached(stack, reached, failed, now)
    wrong = {problem.key for problem in _notices.failing(stack, names)}
    states = [Measure("recoup_notify_failing", f"notify:{name}" in wrong, {"receiver": name}) for name in names]
    _measures.remember(stack, "notify", states, instead=True)


def tested(receiver: Receiver, stack: str, host: str, masker: Masker, clock: Clock, limit: float = AT_THE_END) -> str:
    """Sends a test notice; returns why it did not arrive, or an empty text.

    Args:
        receiver: whom to tell.
        stack: name of the stack.
        host: name of this machine.
        masker: takes secrets out.
        clock: time.
        limit: seconds to wait at most.
    """
    try:
        courier = Courier(receiver.connect(), receiver.options.sends)
    except (RecoupError, OSError) as error:
        return masker(str(error))
    fields = {"stack": stack, "host": host, "hint": "Nothing is wrong: somebody typed `recoup notify test`."}
    courier(Event("notice_test", clock.now(), "this is a test notice", fields=fields))
    courier.close()
    courier.wait(limit)
    return masker(courier.failure)
