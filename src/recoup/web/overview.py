"""The page that answers: is my stack safe?"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from recoup.errors import ExitCode, NoRepositoryError, RecoupError, UsageError
from recoup.model.figures import size
from recoup.model.reports import Problem, RepositoryStatus, StatusRow, VerbRun
from recoup.model.structs import Struct
from recoup.scheduler.outlook import silence
from recoup.web._endings import of_code
from recoup.web._glances import Glance, glance_for
from recoup.web._pages import page, path_to, site_of
from recoup.web._security import Operator
from recoup.web._verdict import Level, Verdict, proven, verdict
from recoup.web.set_page import LONGEST_TEXT

if TYPE_CHECKING:
    from recoup.web._site import Site

router = APIRouter(tags=["overview"])


_FAR_AWAY = 3650.0  # days: disks do not last longer
_MANY = 10  # times more than usual: a per cent sign says little then
_HOURS = 72  # up to which ages are told in hours: limits are


class SourceCard(Struct):
    """What is known of a source in one repository.

    Attributes:
        row: of the status.
        level: how good it is.
        word: the same in a word.
        proven: when a drill last proved a set of that repository with a good copy of it; None when never.
        elsewhere: the same of all repositories.
    """

    row: StatusRow
    level: Level
    word: str
    proven: datetime | None
    elsewhere: datetime | None


@router.get("/", name="overview")
def overview(request: Request) -> HTMLResponse:
    """How safe the stack is now."""
    site = site_of(request)
    try:
        glance = glance_for(request)
    except RecoupError as error:  # nothing is configured that could be looked at
        return page(request, "overview_none.html", error=error)
    look, now = glance.look, site.now()
    return page(
        request,
        "overview.html",
        glance=glance,
        verdict=_verdict(site, glance, now),
        report=look.report,
        cards=_cards(glance),
        missing=[state.repository for state in look.states if isinstance(state.failure, NoRepositoryError)],
        space={status.repository: _space(status) for status in look.report.repositories},
        schedule=sorted(look.known.jobs, key=lambda job: (job.next_due is None, job.next_due or now)),
        silence=silence(look.known.alive, now) if look.known.jobs else "",
        runs=[(run, *_ended(run)) for run in look.report.runs],
        repositories=[state.repository for state in look.states],
        longest=LONGEST_TEXT,
        command=site.jobs.typed(["backup"]),
        change=_change,
        length=_length,
    )


@router.post("/backup", name="backup")
def backup(
    request: Request,
    viewer: Operator,
    sources: Annotated[list[str] | None, Form()] = None,
    to: Annotated[list[str] | None, Form()] = None,
    note: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Begins a backup, and leads to its job.

    Raises:
        UsageError: there is no such source or repository, or the note is too long.
        LockedError: another job runs.
    """
    site = site_of(request)
    with site.reading() as stack:
        arguments = backup_arguments(sources or (), to or (), note, stack.source_names, stack.chosen_repositories)
    job = site.jobs.start(arguments, by=viewer.name)
    return RedirectResponse(path_to(request, "job", id=job.id), 303)


@router.post("/repositories", name="create_repositories")
def create_repositories(request: Request, viewer: Operator) -> RedirectResponse:
    """Begins to create the configured repositories that are missing, and leads to the job."""
    job = site_of(request).jobs.start(["init"], by=viewer.name)
    return RedirectResponse(path_to(request, "job", id=job.id), 303)


def backup_arguments(
    sources: Sequence[str], to: Sequence[str], note: str, all_sources: Sequence[str], repositories: Sequence[str]
) -> list[str]:
    """The arguments of a backup as somebody chose it.

    Args:
        sources: those chosen; none or all of them is no choice.
        to: the repositories chosen; the same.
        note: for the set.
        all_sources: those that there are.
        repositories: the same.

    Raises:
        UsageError: there is no such source or repository, or the note is too long.
    """
    if len(note) > LONGEST_TEXT:
        raise UsageError(f"the note has {len(note):,} characters", f"At most {LONGEST_TEXT:,} are taken.")
    chosen = _chosen("source", "--source", sources, all_sources), _chosen("repository", "--to", to, repositories)
    text = " ".join(note.split())
    return ["backup", *(option for option in chosen if option), *([f"--note={text}"] if text else [])]


def _chosen(what: str, option: str, names: Sequence[str], known: Sequence[str]) -> str:
    """The option that says which; empty when it is all of them."""
    for name in names:
        if name not in known:
            raise UsageError(f"there is no {what} of that name", f"There are: {', '.join(known) or 'none'}.")
    wanted = [name for name in known if name in names]
    return "" if len(wanted) in (0, len(known)) else f"{option}={','.join(wanted)}"


def _verdict(site: "Site", glance: Glance, now: datetime) -> Verdict:
    broken = ("the configuration has an error now, and backups fail until it is right",) if site.config_error else ()
    return verdict(glance.look, glance.sources, now, site.jobs.newest, broken)


def _cards(glance: Glance) -> list[SourceCard]:
    report = glance.look.report
    names = {row.source for row in report.rows}
    anywhere = proven(glance.sets, names)
    here = {state.repository: proven(state.own, names) for state in glance.look.states}
    return [
        SourceCard(
            row,
            *_grade(row, report.problems),
            here.get(row.repository, {}).get(row.source),
            anywhere.get(row.source),
        )
        for row in report.rows
    ]


def _grade(row: StatusRow, problems: Sequence[Problem]) -> tuple[Level, str]:
    """How good a source's copies in a repository are, and the word for it."""
    own = {p.level for p in problems if p.repository == row.repository and p.source == row.source}
    if "critical" in own or (row.problem and not own):
        return "bad", "not safe"
    if own:
        return "warning", "look at it"
    return ("good", "recent") if row.set else ("neutral", "no copy")


def _space(status: RepositoryStatus) -> str:
    """How long a repository's space lasts."""
    if status.growth_bytes is None:
        return "not known yet: it takes sets of some days"
    if status.growth_bytes <= 0:
        return "it does not grow at present"
    days = status.days_until_full
    grows = f"it grows by {size(status.growth_bytes)} a day"
    if days is None:
        return f"{grows}; how much room is left is not known"
    return f"{grows}, which lasts for years" if days > _FAR_AWAY else f"full in {days:,.0f} days: {grows}"


def _change(row: StatusRow) -> str:
    """By how much a source differs from its usual size; empty where that means nothing."""
    if row.change is None:
        return ""
    if row.change >= _MANY:
        return f"{row.change + 1:,.0f} times the usual"
    per_cent = round(row.change * 100)
    return "as usual" if per_cent == 0 else f"{per_cent:+} %"


def _length(seconds: float) -> str:
    """A length of time, one unit: hours up to three days."""
    hours = seconds / 3600
    if hours >= _HOURS:
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} h" if hours >= 2 else f"{max(0, seconds) / 60:.0f} min"


def _ended(run: VerbRun) -> tuple[str, str]:
    """How a run ended: a level of a badge, and words."""
    if run.exit_code == ExitCode.OK and run.sentence:
        return "neutral", "done in part"
    found = of_code(run.exit_code)
    return found.level, found.word
