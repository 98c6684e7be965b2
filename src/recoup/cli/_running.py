"""Telling whom `notify` names of the runs of verbs."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from recoup.cli._faults import as_told
from recoup.cli._session import Session
from recoup.errors import RecoupError

if TYPE_CHECKING:
    from recoup.model.outcomes import Outcome
    from recoup.model.reports import StatusReport
    from recoup.sinks._measures import Measure


class Run:
    """A run that is told of: `ended` says how it ended; an error says it by itself."""

    outcome: "Outcome | None" = None
    state: "Sequence[Measure]" = ()
    whole: bool = False

    def ended(self, outcome: "Outcome", state: "Sequence[Measure]" = (), *, whole: bool = False) -> None:
        """Notes how it ended.

        Args:
            outcome: how.
            state: what it found of sources and repositories, for Prometheus.
            whole: whether that is all that there is to say of them.
        """
        self.outcome, self.state, self.whole = outcome, state, whole


@contextlib.contextmanager
def running(
    now: Session, verb: str, sources: Sequence[str] | None = None, repositories: Sequence[str] | None = None
) -> Iterator[Run]:
    """A run of a verb, its planning included, told to whom `notify` names. A dry run is told to nobody.

    Args:
        now: the session.
        verb: the verb.
        sources: names of the sources that it is asked for; None for all.
        repositories: names of the repositories that it is to write to; None for those chosen.
    """
    run = Run()
    if now.dry_run:
        yield run
        return
    stack = now.stack
    with _harmless(now):
        stack.begin_telling(verb, sources)
    try:
        yield run
    except BaseException as error:
        run.ended(_stopped(now, verb, _scope(now, verb, sources, repositories), error), run.state)
        raise
    finally:
        if run.outcome is not None:
            with _harmless(now), _impatient(now), now.news():
                now.stack.end_telling(run.outcome, run.state, whole=run.whole)


@contextlib.contextmanager
def _harmless(now: Session) -> Iterator[None]:
    """Whatever goes wrong with notices, the run itself goes on, and its exit code stays."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a backup must not fail because nobody can be told of it
        now.say(f"Warning: notices were not sent: {as_told(error).message}")


@contextlib.contextmanager
def _impatient(now: Session) -> Iterator[None]:
    """Who interrupts when the run has ended ends the wait for receivers, and takes nothing back."""
    try:
        yield
    except KeyboardInterrupt:
        now.say("Warning: the run had ended; notices of it were cut short.")


def looked(now: Session, *, notify: bool) -> "StatusReport":
    """What `status` finds.

    Args:
        now: the session.
        notify: also tells whom `notify` names.
    """
    if not notify:
        return now.stack.status()
    from recoup.model import outcomes
    from recoup.sinks import _measuring
    from recoup.system.clock import SystemClock

    with running(now, "status") as run:
        try:
            report = now.stack.status()
        except RecoupError:
            run.state = list(_measuring.of_nothing(now.stack.chosen_repositories, SystemClock().now()))
            raise
        everywhere = {one.repository for one in report.repositories} >= {*now.stack.settings.repositories}
        state = list(_measuring.of_status(report, SystemClock().now()))
        run.ended(outcomes.of_status(report, int(report.exit_code)), state, whole=everywhere)
    return report


def _scope(
    now: Session, verb: str, sources: Sequence[str] | None, repositories: Sequence[str] | None
) -> frozenset[str]:
    """What a run deals with: of sources only where it is asked for some, of repositories where it is not the nearest's turn."""
    from recoup.model.outcomes import scope_of

    names = now.stack.source_names if sources is None else sources
    places = now.stack.chosen_repositories if repositories in (None, ["all"]) else repositories
    return scope_of(names if verb in ("backup", "drill") else (), places if verb != "drill" and places else ())


def _stopped(now: Session, verb: str, scope: frozenset[str], error: BaseException) -> "Outcome":
    from recoup.model.outcomes import stopped

    if isinstance(error, typer.Exit):
        return stopped(verb, scope, error.exit_code, "somebody said no")
    told = as_told(error)
    return stopped(verb, scope, int(told.exit_code), now.masker(told.message), now.masker(told.hint))
