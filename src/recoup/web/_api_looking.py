"""The REST interface's routes that look at the whole stack: how it is, what is configured, what runs when."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from recoup.config.explain import Line
from recoup.model.reports import StatusReport
from recoup.model.structs import Struct
from recoup.operations.stats import RepositoryStats
from recoup.web._api_answers import PREFIX, Limit, Offset, Problems, answer, says, says_content
from recoup.web._pages import site_of
from recoup.web._past_drills import PastDrill
from recoup.web._security import viewer_of
from recoup.web.drills import history
from recoup.web.settings import Timetable, timetable

router = APIRouter(prefix=PREFIX, tags=["The stack"])


class Session(Struct):
    """Who asks.

    Attributes:
        name: the role; empty where nobody has to sign in.
        may_operate: whether changes are allowed.
        csrf: the token that a change has to carry in `X-CSRF-Token`, beside the cookie of this session; empty with a bearer
            token, which needs none.
    """

    name: str
    may_operate: bool
    csrf: str


class Stats(Struct):
    """What sets hold and what they take.

    Attributes:
        repositories: one for each repository that can be read.
        unread: repositories that cannot, with the reason.
    """

    repositories: tuple[RepositoryStats, ...]
    unread: tuple[str, ...]


class Drills(Struct):
    """Drills of the past.

    Attributes:
        drills: the newest first; what each compared is in the results of its job, as long as that is kept.
        total: how many are known.
        unread: why some may be missing, one sentence each.
    """

    drills: tuple[PastDrill, ...]
    total: int
    unread: tuple[str, ...]


class Check(Struct):
    """A configuration that was read anew and is right.

    Attributes:
        ok: that it is; for a wrong one the answer is a problem.
        sources: names of the sources.
        warnings: what a person should know.
    """

    ok: bool
    sources: tuple[str, ...]
    warnings: tuple[str, ...]


class Origins(Struct):
    """The effective configuration line by line.

    Attributes:
        lines: what is above before what is below.
    """

    lines: tuple[Line, ...]


@router.get(
    "/session",
    name="api_session",
    operation_id="session",
    summary="Who asks, and the token for changes",
    responses=says(Session),
)
def session(request: Request) -> Response:
    """Without a bearer token, a change needs the cookie of this answer and its `csrf` in the header `X-CSRF-Token`."""
    viewer = viewer_of(request)
    return answer(request, Session(viewer.name, viewer.may_operate, request.state.csrf))


@router.get(
    "/status",
    name="api_status",
    operation_id="status",
    summary="How safe the stack is now",
    responses=says(StatusReport),
)
def status(request: Request) -> Response:
    """The same as `recoup status --json`. What is wrong is in `problems`, and in `exit_code`, which is 0 when nothing is: the
    status of the answer says only that somebody looked.
    """
    with site_of(request).reading() as stack:
        return answer(request, stack.status())


@router.get(
    "/repositories/stats", operation_id="stats", summary="What sets hold and what they take", responses=says(Stats)
)
def stats(request: Request) -> Response:
    """The same as `recoup stats --json`."""
    stack = site_of(request).alone()
    found = stack.stats()
    return answer(request, Stats(tuple(found), stack.unread))


@router.get("/drills", operation_id="drills", summary="What drills found", responses=says(Drills))
def drills(request: Request, limit: Limit = 100, offset: Offset = 0) -> Response:
    """As far as sets and this machine remember it."""
    past, unread = history(request)
    return answer(request, Drills(tuple(past[offset : offset + limit]), len(past), unread))


@router.get("/schedule", operation_id="schedule", summary="What runs when, and how it ended", responses=says(Timetable))
def schedule(
    request: Request,
    count: Annotated[int, Query(alias="next", ge=1, le=100, description="How many of the next times of each job.")] = 1,
) -> Response:
    """The jobs are those of `recoup schedule show --json`."""
    site = site_of(request)
    with site.reading() as stack:
        return answer(request, timetable(stack, site.now(), count))


_CONFIG = says_content(
    "application/json", "The configuration; what is secret is `***`.", Problems.LOOK, {"type": "object"}
)


@router.get("/config", operation_id="config", summary="The configuration that is in effect", responses=_CONFIG)
def config(request: Request) -> Response:
    """The same as `recoup config show --json`."""
    with site_of(request).reading() as stack:
        return answer(request, stack.effective_values)


@router.get(
    "/config/origins", operation_id="config_origins", summary="Where each value was set", responses=says(Origins)
)
def origins(request: Request) -> Response:
    """Each value as YAML, with the file and line, variable or option that set it."""
    with site_of(request).reading() as stack:
        return answer(request, Origins(stack.effective))


@router.get(
    "/config/check",
    operation_id="config_check",
    summary="Whether the configuration of now is right",
    responses=says(Check),
)
def check(request: Request) -> Response:
    """Reads the files anew, as `recoup config check --json` does. A wrong configuration is a problem that names each mistake with
    file, line and key.
    """
    stack = site_of(request).alone()
    return answer(request, Check(ok=True, sources=stack.source_names, warnings=stack.warnings))
