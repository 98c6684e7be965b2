"""Telling of a stack's runs to whom `notify` names."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recoup._opened import OpenedStack
from recoup.errors import ExitCode, UsageError
from recoup.model.events import Event, Level

if TYPE_CHECKING:
    from recoup.model.outcomes import Outcome
    from recoup.sinks._measures import Measure
    from recoup.sinks._telling import Receiver


class StackWithNotices(OpenedStack):
    """A configured stack that tells of its runs."""

    @property
    def receivers(self) -> "tuple[Receiver, ...]":
        """Whom `notify` names."""
        from recoup.sinks._opening import receivers

        allowed = self.settings.allow_remote
        return receivers(self._loaded.notify, self._loaded.base, self.masker, allow_remote=allowed)

    def metrics(self) -> bytes:
        """What this machine remembers of runs, of sources, of repositories and of the schedule, as Prometheus reads it.

        Raises:
            StateError: it cannot be read.
        """
        from recoup.scheduler.state import alive, job_states
        from recoup.sinks import _measures, _measuring

        stack = self.settings.stack
        jobs = job_states(stack, self.jobs, self._clock.now())
        schedule = _measuring.of_schedule(jobs, alive(stack))
        return _measures.exposition(stack, [*_measures.recalled(stack), *schedule])

    def test_notices(self, names: Sequence[str] = ()) -> dict[str, str]:
        """Sends a test notice to whom `notify` names; the reason why it did not arrive, by name, empty where it did.

        Args:
            names: only these; all by default.

        Raises:
            UsageError: nobody, or nobody of this name, is configured.
        """
        from recoup.sinks._telling import noted_reached, tested
        from recoup.system.statefile import StateError

        known = {one.name: one for one in self.receivers}
        if not known:
            raise UsageError("the configuration names nobody to tell", "Add `notify:`; see `recoup config sample`.")
        for name in names:
            if name not in known:
                raise UsageError(f"there is no {name} in `notify`", f"Known: {', '.join(known)}.")
        subject = (self.settings.stack, self._host.name, self.masker, self._clock)
        results = {name: tested(known[name], *subject) for name in names or known}
        failed = {name: reason for name, reason in results.items() if reason}
        with contextlib.suppress(StateError):  # a test says itself what it found
            noted_reached(self.settings.stack, [*known], [*(results.keys() - failed)], failed, self._clock.now())
        return results

    def begin_telling(self, verb: str, sources: Sequence[str] | None = None) -> None:
        """Tells the receivers that a run begins, and from now on what happens in it. `end_telling` ends it.

        Args:
            verb: the verb that runs.
            sources: names of the sources that it is asked for; None for all.
        """
        from recoup.sinks._telling import Subject, Telling

        if not self.remembered_as:
            return  # without a configuration there is nobody to tell, and nothing to remember it under
        names = self.source_names if sources is None else sources
        subject = Subject(self.settings.stack, self._host.name, verb, tuple(names), all=sources is None)
        self._telling = Telling(subject, self.receivers, self.masker, self._clock)
        self._telling.begin()

    def end_telling(self, outcome: "Outcome", state: "Sequence[Measure]" = (), *, whole: bool = False) -> None:
        """Tells the receivers how the run ended, and of conditions that it changed. Whom that does not reach is said.

        Args:
            outcome: how it ended.
            state: what it found of sources and repositories, for Prometheus.
            whole: whether that is all that there is to say of them.
        """
        from recoup.sinks._telling import AT_THE_END, WHEN_STOPPED

        telling, self._telling = self._telling, None
        if telling is None:
            return
        limit = WHEN_STOPPED if outcome.exit_code == ExitCode.INTERRUPTED else AT_THE_END
        failures = telling.end(outcome, state, whole=whole, limit=limit)
        with self._emitting() as emit:
            for name, reason in failures.items():
                emit(self._not_reached(name, reason))

    def _not_reached(self, name: str, reason: str) -> Event:
        now, reason = self._clock.now(), self.masker(reason)
        if not name:
            return Event("notices_not_remembered", now, f"notices may be sent twice: {reason}", Level.WARNING)
        sentence = f"notices did not reach {name}: {reason}"
        return Event("notice_failed", now, sentence, Level.WARNING, fields={"receiver": name, "error": reason})
