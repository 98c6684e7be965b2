"""The restore wizard: what, where to, the plan of this moment, and the word that has to be typed where something is replaced.

Each step is a page of its own address, which carries all that was chosen before; each looks at it anew. All of them are for
operators.
"""

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from recoup.errors import RecoupError
from recoup.model.structs import Struct
from recoup.operations import restore
from recoup.web._failures import Failure, of_error
from recoup.web._pages import page, path_to, site_of
from recoup.web._plug_forms import controls
from recoup.web._restore_choice import LATEST, Choice, Order, fresh_folder, offers, own_sets, seen
from recoup.web._security import Operator

if TYPE_CHECKING:
    from recoup.model.reports import SetInfo
    from recoup.web._site import Site

router = APIRouter(tags=["restore"])

MOST_SETS = 200
"""Sets that are offered; older ones are found by their own pages."""


async def _fields(request: Request) -> FormData:
    return await request.form()


class Step(Struct):
    """What the wizard stands on at each step.

    Attributes:
        infos: all sets, the newest first.
        unread: why sets may be missing among them, one sentence each.
        order: what was chosen, compared with them.
    """

    infos: "tuple[SetInfo, ...]"
    unread: tuple[str, ...]
    order: Order

    @classmethod
    def of(cls, site: "Site", choice: Choice) -> "Step":
        """Looks at what there is.

        Raises:
            NoSuchSetError: the chosen set is not among it.
        """
        with site.reading() as stack:
            infos = tuple(site.sets())
            return cls(infos, tuple(stack.unread), Order(choice, offers(stack, infos, choice.set)))


class Planned(Struct):
    """A plan of this moment.

    Attributes:
        plan: what will happen.
        rooms: the space that it takes, and that there is.
        arguments: of the command that does it.
        seen: see `recoup.web._restore_choice.seen`.
    """

    plan: restore.Plan
    rooms: tuple[restore.Room, ...]
    arguments: tuple[str, ...]
    seen: str

    @property
    def fits(self) -> bool:
        """Whether there is room for it, as far as can be seen."""
        return all(room.needed <= room.free for room in self.rooms)

    @classmethod
    def of(cls, site: "Site", order: Order) -> "Planned":
        """Looks at what there is and what would happen, on a stack of its own: servers may be slow to answer.

        Raises:
            RecoupError: it cannot be done.
        """
        order.require_sources()
        order.require_options()
        stack = site.alone()
        folder = fresh_folder(stack.restore_folder, order.newest) if order.choice.where == "files" else None
        plan = order.planned(stack, folder)
        return cls(plan, restore.rooms(plan), tuple(order.arguments(folder)), seen(plan))


@router.get("/restore", name="restore")
def choose_what(request: Request, _: Operator) -> HTMLResponse:
    """The first step: which set, and what of it."""
    return _what(request, Choice.of(request.query_params.multi_items()))


@router.get("/restore/where", name="restore_where")
def choose_where(request: Request, _: Operator) -> HTMLResponse:
    """The second step: where to, and the options of what is restored in place."""
    choice = Choice.of(request.query_params.multi_items())
    try:
        step = Step.of(site_of(request), choice)
        step.order.require_sources()
    except RecoupError as error:
        return _what(request, choice, of_error(request, error))
    return _where(request, step)


@router.get("/restore/plan", name="restore_plan")
def look_at_plan(request: Request, _: Operator) -> HTMLResponse:
    """The third step: what would happen."""
    choice = Choice.of(request.query_params.multi_items())
    return _plan(request, choice)


@router.post("/restore", name="begin_restore", response_model=None)
def begin(request: Request, _: Operator, form: Annotated[FormData, Depends(_fields)]) -> Response:
    """Begins the restore, when its plan is still the one that was seen, and what has to be typed was typed."""
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    given = dict(fields)
    site, choice = site_of(request), Choice.of(fields)
    try:
        planned = Planned.of(site, Step.of(site, choice).order)
    except RecoupError:
        return _plan(request, choice)  # which says why
    if planned.seen != given.get("seen"):
        return _plan(request, choice, changed=True)
    if not planned.fits:
        return _plan(request, choice)
    if choice.where == "place" and given.get("typed", "").strip() != site.name:
        return _plan(request, choice, mistyped=True)
    job = site.jobs.start(planned.arguments, by=request.state.viewer.name)
    return RedirectResponse(path_to(request, "job", id=job.id), 303)


def _what(request: Request, choice: Choice, failure: Failure | None = None) -> HTMLResponse:
    """The first step; a set that is not there, or not any more, is said, and the choice begins anew."""
    site = site_of(request)
    try:
        step = Step.of(site, choice)
    except RecoupError as error:
        failure = of_error(request, error)
        choice = Choice.of([])
        step = Step.of(site, choice)
    with site.reading() as stack:
        sets = {info.name: info for info in reversed(own_sets(stack, step.infos))}
    names = sorted(sets.values(), key=lambda info: info.name_key, reverse=True)
    known = [info for info in names[:MOST_SETS] if info.name != choice.set]
    chosen = [offer.info for offer in step.order.offers if offer.info][:1] if choice.set != LATEST else []
    return page(
        request,
        "restore.html",
        failure.status if failure else 200,
        choice=choice,
        offers=step.order.offers,
        sets=(*chosen, *known),
        more=max(len(names) - MOST_SETS, 0),
        unread=step.unread,
        failure=failure,
    )


def _where(request: Request, step: Step, failure: Failure | None = None) -> HTMLResponse:
    order = step.order
    with site_of(request).reading() as stack:
        configured = stack.source_names
        try:
            folder, unusable = str(fresh_folder(stack.restore_folder, order.newest)), None
        except RecoupError as error:
            folder, unusable = "", of_error(request, error)
    return page(
        request,
        "restore_where.html",
        failure.status if failure else 200,
        choice=order.choice,
        order_set=order.set,
        chosen=order.chosen,
        folder=folder,
        unusable=unusable,
        controls={offer.source: controls(offer.kind) for offer in order.chosen},
        homeless=[offer.source for offer in order.chosen if offer.source not in configured],
        back=_query(order.choice),
        failure=failure,
    )


def _plan(request: Request, choice: Choice, *, changed: bool = False, mistyped: bool = False) -> HTMLResponse:
    """The third step; what is in its way is said where it can be mended."""
    site = site_of(request)
    try:
        step = Step.of(site, choice)
        step.order.require_sources()
    except RecoupError as error:
        return _what(request, choice, of_error(request, error))
    try:
        planned = Planned.of(site, step.order)
    except RecoupError as error:
        return _where(request, step, of_error(request, error))
    used = {(row.repository, row.set) for row in planned.plan.rows}
    return page(
        request,
        "restore_plan.html",
        409 if changed else 422 if mistyped else 200,
        choice=choice,
        planned=planned,
        sets=[info for info in step.infos if (info.repository, info.name) in used],
        command=site.jobs.typed(planned.arguments),
        unread=step.unread,
        back=_query(choice),
        changed=changed,
        mistyped=mistyped,
        latest=LATEST,
    )


def _query(choice: Choice) -> str:
    return urlencode(choice.fields, errors="surrogatepass")
