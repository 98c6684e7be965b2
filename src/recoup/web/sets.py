"""The page of all sets: a calendar, a list, and what they tell of the past."""

from collections.abc import Sequence
from datetime import date, tzinfo
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from recoup.model.figures import size, span
from recoup.model.structs import Struct
from recoup.system.clock import local_zone
from recoup.web._calendar import Month, month_before, month_of, months
from recoup.web._glances import Glance, glance_for
from recoup.web._history import growth, restores, sizes, thinned
from recoup.web._pages import page, path_to, site_of
from recoup.web._plots import Plot, plot
from recoup.web._set_rows import A_PAGE, STATES, Choices, Wanted, row

if TYPE_CHECKING:
    from recoup.model.reports import SetInfo

router = APIRouter(tags=["sets"])

MONTHS = 3
"""Months that the calendar shows at once."""

_KIB = 1024.0
_TEXT = Query(max_length=200)


class Sheet(Struct):
    """A page of the list.

    Attributes:
        number: of the page, from 1.
        count: how many pages there are, at least 1.
        infos: the sets on it.
        total: sets on all pages.
    """

    number: int
    count: int
    infos: "tuple[SetInfo, ...]"
    total: int


@router.get("/sets", name="sets")
def sets(
    request: Request,
    text: Annotated[str, _TEXT] = "",
    source: Annotated[str, _TEXT] = "",
    tag: Annotated[str, _TEXT] = "",
    repository: Annotated[str, _TEXT] = "",
    state: Annotated[str, _TEXT] = "",
    day: Annotated[str, _TEXT] = "",
    month: Annotated[str, _TEXT] = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1,
) -> HTMLResponse:
    """All sets, or those that were asked for."""
    wanted = Wanted(text.strip(), source, tag, repository, state, day, month, page_number)
    glance, zone = glance_for(request), local_zone()
    fitting = [info for info in glance.sets if wanted.fits(info)] if not wanted.faults else []
    sheet = sheet_of([info for info in fitting if wanted.on_day(info, zone)], wanted.page)
    shown = _shown_months(fitting, wanted, zone)
    here = path_to(request, "sets")
    return page(
        request,
        "sets.html",
        glance=glance,
        wanted=wanted,
        sheet=sheet,
        rows=[row(info, glance.verdicts.get((info.repository, info.name))) for info in sheet.infos],
        months=shown,
        earlier=_earlier(shown, fitting, zone),
        later=_later(shown, fitting, zone),
        plots=plots_of(glance, wanted),
        unplotted=sum(info.manifest is None for info in glance.sets),
        choices=Choices.of(glance.sets, (state.repository for state in glance.look.states)),
        states=tuple(STATES),
        pruned={state.repository: state.rules is not None for state in glance.look.states},
        failures={s.repository: s.failure for s in glance.look.states if s.failure is not None},
        today=site_of(request).now().astimezone(zone).date(),
        link=lambda **other: f"{here}?{urlencode(found)}" if (found := wanted.query(**other)) else here,
    )


def sheet_of(infos: "Sequence[SetInfo]", number: int) -> Sheet:
    """A page of a list of sets: the last one where there are not so many.

    Args:
        infos: all of them.
        number: of the page, from 1.
    """
    count = max(1, -(-len(infos) // A_PAGE))
    number = min(number, count)
    return Sheet(number, count, tuple(infos[(number - 1) * A_PAGE : number * A_PAGE]), len(infos))


def plots_of(glance: Glance, wanted: Wanted) -> list[Plot]:
    """The plots for which something was measured.

    Args:
        glance: the stack.
        wanted: the source and the repository that are looked at, if any.
    """
    infos = [info for info in glance.sets if wanted.repository in ("", info.repository)]
    every = glance.sources or tuple({name for info in infos if info.manifest for name in info.manifest.sources})
    held, restored = sizes(infos, [wanted.source] if wanted.source else every), restores(infos)
    grown, what = growth(held), f" of {wanted.source}" if wanted.source else ""
    found = []
    if held:
        found.append(plot("size", f"Size{what}", "line", thinned(held), size, _KIB))
    if grown:
        found.append(plot("growth", f"Growth{what} per day", "bars", grown, _signed, _KIB))
    if restored:
        found.append(plot("restores", "Restore time, measured by drills", "dots", thinned(restored), span))
    return found


def _signed(count: float) -> str:
    return size(count) if count >= 0 else f"-{size(-count)}"


def _shown_months(infos: "Sequence[SetInfo]", wanted: Wanted, zone: tzinfo) -> tuple[Month, ...]:
    last = wanted.date or month_of(wanted.month) or date.max
    return months(infos, zone, last, MONTHS)


def _earlier(shown: Sequence[Month], infos: "Sequence[SetInfo]", zone: tzinfo) -> str:
    """The month with which the months before begin; empty when there is no set in them."""
    if not shown:
        return ""
    before = month_before(shown[-1].first)
    return f"{before:%Y-%m}" if months(infos, zone, before, 1) else ""


def _later(shown: Sequence[Month], infos: "Sequence[SetInfo]", zone: tzinfo) -> str:
    """The month with which the months after end; empty when there is none."""
    newest = months(infos, zone, date.max, 1)
    if not newest or not shown or shown[0].first >= newest[0].first:
        return ""
    first = shown[0].first
    whole = min(first.year * 12 + first.month - 1 + MONTHS, newest[0].first.year * 12 + newest[0].first.month - 1)
    return f"{whole // 12:04}-{whole % 12 + 1:02}"
