"""What a run shows of the conditions that a person is told of: what is wrong by it, and what is certainly right again. Pure.

A run speaks only of what it looked at: a backup of one source says nothing of another, and a part of the bytes that is sound does
not end the damage that was found in the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from recoup.errors import ExitCode
from recoup.model.reports import (
    BackupReport,
    CopyReport,
    DrillReport,
    Problem,
    RecoveryReport,
    StatusReport,
    VerifyReport,
)
from recoup.model.structs import Struct

_RUN = "run"
_SAID = {ExitCode.INTERRUPTED, ExitCode.SKIPPED}
"""Codes of runs that somebody stopped, or that were not to be: they are neither good nor bad."""


class Outcome(Struct):
    """How a run ended.

    Attributes:
        exit_code: what it returned.
        problems: what is wrong by it.
        error: what stopped it; empty where nothing did.
        good: keys of conditions that do not exist, by what it looked at.
        scope: what it dealt with, names of sources, and of repositories with an `@`: with it, it is over that a run for all or
            some of these was stopped.
        verb: its name.
        status: repositories whose whole state it saw (of one that cannot be read, nothing is known); None for a run that
            looked at no state.
    """

    exit_code: int
    problems: tuple[Problem, ...] = ()
    error: str = ""
    good: frozenset[str] = frozenset()
    scope: frozenset[str] = frozenset()
    verb: str = ""
    status: frozenset[str] | None = None

    def settles(self, problem: Problem) -> bool:
        """Whether a condition of which this run reports nothing is over."""
        if problem.key in self.good:
            return True
        if problem.key.startswith(whole := f"{_RUN}:{self.verb}:whole:"):
            return not self.error and set(filter(None, problem.key.removeprefix(whole).split(","))) <= self.scope
        if self.status is None or problem.key.startswith(f"{_RUN}:"):
            return False
        return {*filter(None, problem.repository.split(", "))} <= self.status


def key(verb: str, what: Literal["source", "repository", "whole"], name: str) -> str:
    """The key of a condition that a run shows.

    Args:
        verb: of the run.
        what: what it is about.
        name: the source's or repository's; for a whole run its scope with commas between the names.
    """
    return f"{_RUN}:{verb}:{what}:{name}"


def scope_of(sources: Iterable[str] = (), repositories: Iterable[str] = ()) -> frozenset[str]:
    """What a run deals with."""
    return frozenset({*sources, *(f"@{name}" for name in repositories)})


def stopped(verb: str, scope: frozenset[str], code: int, sentence: str, hint: str = "") -> Outcome:
    """That of a run that an error ended.

    Args:
        verb: of the run.
        scope: what it was to deal with.
        code: its exit code.
        sentence: the error, without secrets.
        hint: what to do.
    """
    problems = () if code in _SAID else (_whole(verb, scope, f"{verb} failed: {sentence}", hint),)
    return Outcome(code, problems, sentence, scope=scope, verb=verb)


def of_backup(report: BackupReport, asked: Sequence[str]) -> Outcome:
    """That of a backup.

    Args:
        report: its result.
        asked: names of the sources that it was asked for.
    """
    problems = [*_sources_of(report), *_repositories_of(report)]
    scope = scope_of(asked, (copy.repository for copy in report.repositories))
    return _ended("backup", int(report.exit_code), problems, _looked_at(asked, report), scope)


def _looked_at(asked: Iterable[str], report: BackupReport) -> frozenset[str]:
    """What is good where nothing is reported of it; of a run that stored nothing, nothing is."""
    if report.manifest is None:
        return frozenset()
    sources = {key("backup", "source", name) for name in asked if name in report.manifest.sources}
    return frozenset(sources | {key("backup", "repository", copy.repository) for copy in report.repositories})


def _sources_of(report: BackupReport) -> Iterable[Problem]:
    found = dict(report.errors)
    records = report.manifest.sources if report.manifest else {}
    for name, record in records.items():
        if not record.good:
            found.setdefault(name, record.error or "see its findings: `recoup show latest`")
    for name, why in found.items():
        outcome = records[name].outcome if name in records else "failed"
        level: Literal["warning", "critical"] = "critical" if outcome == "failed" else "warning"
        sentence = (
            f"the backup of {name} is {outcome}: {why}" if level == "warning" else f"{name} was not backed up: {why}"
        )
        yield Problem(
            key("backup", "source", name), level, "", name, sentence, "`recoup doctor` says what is in the way."
        )


def _repositories_of(report: BackupReport) -> Iterable[Problem]:
    for copy in report.repositories:
        name = key("backup", "repository", copy.repository)
        if copy.error:
            yield Problem(
                name, "critical", copy.repository, "", f"nothing was stored in {copy.repository}: {copy.error}"
            )
        elif copy.left_out:
            left = "; ".join(f"{source}: {why}" for source, why in copy.left_out.items())
            yield Problem(name, "warning", copy.repository, "", f"{copy.repository} lacks sources: {left}")
        elif copy.set and report.manifest and copy.outcome not in ("complete", report.manifest.outcome):
            sentence = f"the set in {copy.repository} is {copy.outcome}, by its own history there"
            hint = f"`recoup -r {copy.repository} show {copy.set}` says more."
            yield Problem(name, "warning", copy.repository, "", sentence, hint)
        elif copy.prune_error:
            sentence = f"{copy.repository} was not pruned: {copy.prune_error}"
            yield Problem(name, "warning", copy.repository, "", sentence)


def of_verify(
    reports: Sequence[VerifyReport], repositories: Sequence[str], *, all_sets: bool, all_bytes: bool
) -> Outcome:
    """That of a verification. Only one of all bytes of all sets shows that there is no damage.

    Args:
        reports: one for each set.
        repositories: names of those that were looked at.
        all_sets: whether all sets were verified.
        all_bytes: whether every byte of them was read.
    """
    problems = []
    for name in sorted({report.repository for report in reports if report.damage}):
        damaged = [report.set or "?" for report in reports if report.damage and report.repository == name]
        shown = ", ".join(damaged[:3]) + (", ..." if damaged[3:] else "")
        sentence = f"verify found damage in {len(damaged)} sets of {name}: {shown}"
        hint = "`recoup verify` lists it; `recoup repair` mends it by another repository's copy."
        problems.append(Problem(key("verify", "repository", name), "critical", name, "", sentence, hint))
    good = frozenset(key("verify", "repository", name) for name in repositories if all_sets and all_bytes)
    code = max((int(report.exit_code) for report in reports), default=0)
    scope = scope_of(repositories=repositories if all_sets else ())
    return _ended("verify", code, problems, good, scope)


def of_drill(reports: Sequence[DrillReport], code: int, asked: Sequence[str], *, newest: bool) -> Outcome:
    """That of a drill. That an old set restores says nothing of the newest.

    Args:
        reports: of each set that was drilled.
        code: the exit code of all.
        asked: names of the sources that it was asked for.
        newest: whether the newest good copies were drilled.
    """
    found: dict[str, Problem] = {}
    drilled = [(one, report) for last in reports for report in (*last.earlier, last) for one in report.sources]
    for one, report in drilled:
        if not one.passed:
            why = one.error or "what came back differs from what was backed up"
            sentence = f"{one.source} of {report.set} does not restore from {report.repository}: {why}"
            name = key("drill", "source", one.source)
            found[name] = Problem(name, "critical", report.repository, one.source, sentence)
    good = frozenset(key("drill", "source", one.source) for one, _ in drilled if newest)
    return _ended("drill", code, list(found.values()), good, scope_of(asked if newest else ()))


def of_recovery(report: RecoveryReport, asked: Sequence[str]) -> Outcome:
    """That of a disaster-recovery drill.

    Args:
        report: its result.
        asked: names of all sources.
    """
    outcome = of_drill(report.drills, int(report.exit_code), asked, newest=True)
    lost = tuple(
        Problem(key("drill", "source", name), "critical", "", name, f"nothing could bring back {name}: {why}")
        for name, why in report.lost.items()
    )
    specific = tuple(one for one in outcome.problems if ":whole:" not in one.key)
    kept = specific or (() if lost else outcome.problems)
    return Outcome(
        outcome.exit_code, (*kept, *lost), "", outcome.good - {one.key for one in lost}, outcome.scope, "drill"
    )


def of_copy(report: CopyReport, *, everything: bool) -> Outcome:
    """That of a copy to another repository.

    Args:
        report: its result.
        everything: whether all sets were to be copied.
    """
    name = key("copy", "repository", report.target)
    failed = [one for one in report.sets if one.error]
    problems = []
    if failed:
        sentence = f"{len(failed)} sets are not in {report.target}; {failed[0].set}: {failed[0].error}"
        problems.append(Problem(name, "critical", report.target, "", sentence))
    good = frozenset({name} if everything else ())
    return _ended(
        "copy", int(report.exit_code), problems, good, scope_of(repositories=[report.target] if everything else ())
    )


def of_prune(code: int, repositories: Sequence[str], *, everything: bool) -> Outcome:
    """That of a prune that ended by itself.

    Args:
        code: its exit code.
        repositories: names of those that were pruned.
        everything: whether all sets were judged.
    """
    return _ended("prune", code, [], frozenset(), scope_of(repositories=repositories if everything else ()))


def of_status(report: StatusReport, code: int) -> Outcome:
    """That of `status`: all that is wrong now.

    Args:
        report: its result.
        code: what it returns.
    """
    looked = frozenset(one.repository for one in report.repositories if not one.failure)
    problems = tuple(replace(one, sentence=one.text) for one in report.problems)
    return Outcome(code, problems, scope=scope_of(repositories=looked), verb="status", status=looked)


def echoed(problem: Problem, told: Iterable[str]) -> frozenset[str]:
    """The conditions told by a run that `status` only says once more by one that it finds: they last.

    Args:
        problem: what it finds.
        told: keys of the conditions that are known.
    """
    kind, _, rest = problem.key.partition(":")
    if kind == "doubtful":
        return frozenset({key("backup", "source", problem.source)} & {*told})
    if not kind.startswith("failed-"):
        return frozenset()
    places, _, sources = rest.rpartition(":")
    meant = {"source": {*filter(None, sources.split(","))}, "repository": {*filter(None, places.split(", "))}}
    run = f"{_RUN}:{kind.removeprefix('failed-')}:"

    def is_same(known: str) -> bool:
        what, _, name = known.removeprefix(run).partition(":")
        return known.startswith(run) and (not meant.get(what) or name in meant[what])

    return frozenset(filter(is_same, told))


def _ended(verb: str, code: int, problems: Sequence[Problem], good: frozenset[str], scope: frozenset[str]) -> Outcome:
    """A run that ended by itself. What is wrong is never without a sentence."""
    if code and not problems and code not in _SAID:
        problems = [_whole(verb, scope, f"{verb} ended with exit code {code}: not all was done", "")]
    wrong = {problem.key for problem in problems}
    return Outcome(code, tuple(problems), "", good - wrong, scope, verb)


def _whole(verb: str, scope: frozenset[str], sentence: str, hint: str) -> Problem:
    return Problem(key(verb, "whole", ",".join(sorted(scope))), "critical", "", "", sentence, hint)
