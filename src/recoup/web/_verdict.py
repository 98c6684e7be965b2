"""Is my stack safe? A pure function: one sentence, and how good it is. What was not looked at is never good."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

from recoup.errors import ExitCode, NoRepositoryError
from recoup.model.figures import age, counted
from recoup.model.names import shown
from recoup.model.reports import Problem, SetInfo
from recoup.model.structs import Struct
from recoup.operations.selection import holds
from recoup.operations.status import Look
from recoup.web.jobs import Job

Level = Literal["good", "warning", "bad", "neutral"]

PROOF = timedelta(days=31)
"""How old the newest proof of a source may be where neither the schedule nor `watch` says it."""


class Verdict(Struct):
    """The answer.

    Attributes:
        level: `good` only where every source has a copy that is new enough and was proven; `neutral` before the first backup.
        sentence: the answer in words.
        more: what else belongs to it, a sentence each.
    """

    level: Level
    sentence: str
    more: tuple[str, ...] = ()


def verdict(
    look: Look, sources: Sequence[str], now: datetime, job: Job | None = None, further: Sequence[str] = ()
) -> Verdict:
    """How safe a stack is.

    Args:
        look: what was found.
        sources: names of the configured sources; without any, those that the sets have.
        now: the present moment.
        job: the newest one that somebody began on a page.
        further: doubts that others have found, each a sentence without its point.
    """
    names = list(sources) or list(dict.fromkeys(row.source for row in look.report.rows if row.set))
    found = _unseen(look) or _unmade(look, names, now) or _grave(look.report.problems)
    if found is not None:
        return found
    doubts = [*further, *_doubts(look, names, now), *_broken_off(look, job, now)]
    return _doubtful(doubts) if doubts else _safe(look, names, now)


def _unseen(look: Look) -> Verdict | None:
    """Where no repository can be read."""
    failures = [state.failure for state in look.states if state.failure is not None]
    if len(failures) < len(look.states):
        return None
    if not all(isinstance(failure, NoRepositoryError) for failure in failures):
        return Verdict("bad", "Nobody can tell whether it is safe: no repository can be read.")
    if _went_well(look) is None:
        return Verdict("neutral", "There is no backup yet: no repository has been created.")
    return Verdict(
        "bad",
        "Nobody can tell whether it is safe: no repository is where it was.",
        ("Backups went well before. Perhaps a disk is not mounted.",),
    )


def _unmade(look: Look, names: Sequence[str], now: datetime) -> Verdict | None:
    """Where there is no good copy of anything."""
    if any(row.set for row in look.report.rows):
        return None
    if not names:
        return Verdict("neutral", "Nothing is backed up: no source is configured.")
    if look.own:
        return Verdict("bad", "Not safe: there are sets, and none of them holds a good copy of a source.")
    if any(state.failure for state in look.states):
        return Verdict("bad", "Not safe: there is no set in the repositories that can be read.")
    last = _went_well(look)
    if last is None:
        return Verdict("neutral", "There is no backup yet.")
    ago = age((now - last).total_seconds())
    return Verdict("bad", f"Not safe: there is no set any more, although a backup went well {ago}.")


def _went_well(look: Look) -> datetime | None:
    """When a backup last left a set here, as far as this machine remembers."""
    kept = (ExitCode.OK, ExitCode.INCOMPLETE)
    return next((run.finished for run in look.known.runs if run.verb == "backup" and run.exit_code in kept), None)


def _grave(problems: Iterable[Problem]) -> Verdict | None:
    critical = [problem for problem in problems if problem.level == "critical"]
    if not critical:
        return None
    more = (f"{counted(len(critical) - 1, 'more grave problem')}.",) if critical[1:] else ()
    return Verdict("bad", f"Not safe: {shown(critical[0].text).removesuffix('.')}.", more)


def _doubtful(doubts: Sequence[str]) -> Verdict:
    if not doubts[1:]:
        return Verdict("warning", f"Backed up, with a doubt: {doubts[0]}.")
    return Verdict("warning", f"Backed up, with {len(doubts)} doubts. The first one: {doubts[0]}.")


def _doubts(look: Look, names: Sequence[str], now: datetime) -> Iterator[str]:
    """What stands against calling it safe, though a copy is there."""
    yield from (shown(problem.text).removesuffix(".") for problem in look.report.problems)
    held = [name for name in names if any(row.set for row in look.report.rows if row.source == name)]
    proofs = proven(look.own, held)
    never = [name for name in held if name not in proofs]
    if never:
        yield f"no drill has ever proven {'any source' if never == held else ', '.join(never)}"
    limit = look.limits.ages.get("drill", PROOF)
    old = {name: moment for name, moment in proofs.items() if now - moment > limit}
    if old:
        ago = age((now - min(old.values())).total_seconds())
        yield f"the newest proof of {', '.join(old)} was {ago}"


def _broken_off(look: Look, job: Job | None, now: datetime) -> Iterator[str]:
    """A backup that was killed before anybody could note what became of it, if none was made since."""
    if job is None or job.state != "lost" or job.arguments[0] != "backup":
        return
    if not any(run.verb == "backup" and run.finished > job.started for run in look.known.runs):
        yield f"the backup that was begun {age((now - job.started).total_seconds())} was killed before it had ended"


def proven(infos: Iterable[SetInfo], sources: Iterable[str]) -> dict[str, datetime]:
    """When a drill last proved a set that holds a good copy of each source, by its name; one that was never proven is left out.

    Args:
        infos: the sets.
        sources: names.
    """
    found: dict[str, datetime] = {}
    proofs = [(info, info.standing.proven) for info in infos if info.standing.proven is not None]
    for source in sources:
        moments = [moment for info, moment in proofs if holds(info, source)]
        if moments:
            found[source] = max(moments)
    return found


def _safe(look: Look, names: Sequence[str], now: datetime) -> Verdict:
    held = [name for name in names if any(row.set for row in look.report.rows if row.source == name)]
    oldest = min(proven(look.own, held).values())
    ago = age((now - oldest).total_seconds())
    absent = [name for name in names if name not in held]
    more = [f"Not there at the newest backup, and optional: {', '.join(absent)}."] if absent else []
    untried = _untried(look)
    if untried:  # a copy is no proof of the other ones
        more.append(f"No drill has ever proven a set in {', '.join(map(shown, untried))}.")
    whole = "its source has" if len(held) == 1 else f"all {len(held)} sources have"
    proof = f", and a drill proved it {ago}" if _newest_proven(look, held) else f"; a drill proved an older one {ago}"
    return Verdict("good", f"Safe: {whole} a recent good copy{proof}.", tuple(more))


def _untried(look: Look) -> list[str]:
    """The repositories that have sets, none of which was ever proven."""
    return [
        state.repository
        for state in look.states
        if state.own and all(info.standing.proven is None for info in state.own)
    ]


def _newest_proven(look: Look, names: Sequence[str]) -> bool:
    """Whether the newest good copy of each source was proven, in one of the repositories, and not only some before it."""
    seen = {(info.repository, info.name) for info in look.own if info.standing.proven is not None}
    proven_now = {row.source for row in look.report.rows if (row.repository, row.set) in seen}
    return proven_now >= {*names}
