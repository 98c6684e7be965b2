"""Remembering on this machine what became of a verb's run, so that `status` can tell of a failure that left no set."""

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from recoup.errors import ExitCode, RecoupError
from recoup.model.events import Event, Level
from recoup.model.structs import Struct
from recoup.system.clock import Clock

if TYPE_CHECKING:
    from recoup.model.reports import BackupReport

A_PART = "a part of the bytes was read"
"""The sentence of a verify that went well and does not end the damage that another one found."""

_LONGEST = 600  # characters of a sentence


class Remembering(Protocol):
    """Whose runs are remembered."""

    @property
    def remembered_as(self) -> str:
        """Name of its stack; empty where nothing is remembered, since there is no configuration."""
        ...

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of its sources."""
        ...

    @property
    def chosen_repositories(self) -> tuple[str, ...]:
        """Names of the repositories that its verbs work on."""
        ...

    @property
    def masker(self) -> Callable[[str], str]:
        """Takes secrets out."""
        ...

    @property
    def _clock(self) -> Clock: ...

    @property
    def _listener(self) -> Callable[[Event], None]: ...


S = TypeVar("S", bound=Remembering)
P = ParamSpec("P")
R = TypeVar("R")


def remembers(verb: str) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Makes a method one whose runs are remembered. Memory that cannot be written is one warning, and never fails the run.

    A run that looks at a part only (one set of a verify, the filtered sets of a prune) is remembered when it fails, and not
    when it goes well: it says nothing about the rest. A verify of a part of all sets' bytes is remembered as such.

    Args:
        verb: its name.
    """

    def decorate(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @functools.wraps(function)
        def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            started = self._clock.now()
            try:
                result = function(self, *args, **kwargs)
            except BaseException as error:
                _note(self, verb, started, _scope(self, args, kwargs), *_of_error(error))
                raise
            code, sentence = _of_result(result)
            if code or not _partial(verb, args, kwargs):
                _note(self, verb, started, _scope(self, args, kwargs), code, sentence)
            return result

        return run

    return decorate


def _note(
    stack: Remembering,
    verb: str,
    started: datetime,
    scope: "_Scope",
    code: int,
    sentence: str = "",
) -> None:
    if not stack.remembered_as:
        return
    from recoup.model.reports import VerbRun
    from recoup.system import runs
    from recoup.system.statefile import StateError

    text = stack.masker(sentence)[:_LONGEST]
    now = stack._clock.now()  # noqa: SLF001 - it is handed to us for this
    try:
        runs.remember(
            stack.remembered_as, VerbRun(verb, scope.sources, ", ".join(scope.repositories), started, now, code, text)
        )
    except StateError as error:
        message = f"this run is not remembered, so `status` cannot tell of it: {error.message}"
        stack._listener(Event("run_not_remembered", now, message, Level.WARNING))  # noqa: SLF001


class _Scope(Struct):
    """What a run was to work on: sources (none for all) and repositories."""

    sources: tuple[str, ...]
    repositories: tuple[str, ...]


def _scope(stack: Remembering, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Scope:
    plan = kwargs.get("plan") or (args[0] if args else None)
    return _Scope(_sources(stack, plan, kwargs), _repositories(stack, plan, kwargs))


def _sources(stack: Remembering, plan: object, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    planned = getattr(plan, "sources", ()) if getattr(plan, "asked", False) else ()
    rows = [row.source for row in getattr(plan, "rows", ()) if hasattr(row, "source")]
    named = sorted(kwargs.get("sources") or planned or rows)
    return () if set(named) >= set(stack.source_names) else tuple(named)


def _repositories(stack: Remembering, plan: object, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a backup or a copy goes; else those that are chosen."""
    targets = [target.repository for target in getattr(plan, "targets", ())]
    to = getattr(plan, "target", None) or kwargs.get("to") or targets
    named = [to] if isinstance(to, str) else list(to)
    return stack.chosen_repositories if named in ([], ["all"]) else tuple(named)


def _partial(verb: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    first = kwargs.get("plan") or kwargs.get("text") or (args[0] if args else None)
    return (verb == "verify" and isinstance(first, str)) or bool(getattr(first, "filters", None))


def _of_error(error: BaseException) -> tuple[int, str]:
    if isinstance(error, RecoupError):
        return int(error.exit_code), error.message
    if isinstance(error, KeyboardInterrupt):
        return int(ExitCode.INTERRUPTED), "interrupted"
    return int(ExitCode.FAILED), str(error) or type(error).__name__


def _of_result(result: Any) -> tuple[int, str]:
    """The exit code that a result stands for, and why it is not 0, or what it does not say."""
    several = result if isinstance(result, list) else [result]
    code = max((int(getattr(one, "exit_code", 0)) for one in several), default=0)
    if not code:
        return 0, A_PART if any(
            getattr(one, "share", 1.0) < 1.0 or getattr(one, "unseen", "") for one in several
        ) else ""
    if hasattr(result, "errors"):
        return code, "; ".join(_of_backup(result))
    damaged = [one.set for one in several if getattr(one, "damage", ())]
    if damaged:
        return code, f"{len(damaged)} of {len(several)} sets are damaged: {', '.join(damaged)}"
    drilled = [one for report in several for one in getattr(report, "sources", ()) if not getattr(one, "passed", True)]
    if drilled:
        return code, f"{', '.join(one.source for one in drilled)} did not restore as it was"
    return code, "it did not do all that was asked"


def _of_backup(report: "BackupReport") -> list[str]:
    """What no set tells: of sources that lack in a stored one, its manifest says it, and a person may have accepted that."""
    found = [] if report.manifest else [f"{name}: {why}" for name, why in report.errors.items()]
    found += [f"nothing is stored in {copy.repository}: {copy.error}" for copy in report.failed]
    unpruned = [copy for copy in report.repositories if copy.prune_error]
    return found + [f"{copy.repository} was not pruned: {copy.prune_error}" for copy in unpruned]
