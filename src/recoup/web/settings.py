"""The page of what is configured: what is in effect and where it was set, what is wrong, what runs when, and who is told."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from recoup.config.explain import flow
from recoup.errors import ConfigError
from recoup.model.structs import Struct
from recoup.scheduler.outlook import Planned, planned, silence
from recoup.scheduler.state import alive
from recoup.system.statefile import StateError
from recoup.web._pages import page, site_of

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.config.explain import Line
    from recoup.config.settings import Settings
    from recoup.web._site import Site

router = APIRouter(tags=["settings"])

NEXT_TIMES = 3
"""How many of the next times of each job are shown."""


class Timetable(Struct):
    """A stack's schedule as this machine knows it.

    Attributes:
        jobs: its jobs.
        silence: a sentence when nothing seems to run it; empty when something does, or there is none.
        unknown: why nothing is known of it; empty when something is.
    """

    jobs: tuple[Planned, ...] = ()
    silence: str = ""
    unknown: str = ""


class Receiver(Struct):
    """Somebody who is told of runs and conditions.

    Attributes:
        name: what messages call it.
        kind: its kind.
        settings: key to value of what else is configured, without secrets.
    """

    name: str
    kind: str
    settings: dict[str, str]


@router.get("/settings", name="settings")
def settings(request: Request, defaults: Annotated[bool, Query()] = False) -> HTMLResponse:
    """What is configured. The files are read anew, so that a mistake in them shows at once."""
    site = site_of(request)
    wrong = fault(site)
    with site.reading() as stack:
        lines = stack.effective
        return page(
            request,
            "settings.html",
            wrong=wrong,
            files=stack.files,
            sources=stack.source_names,
            places=stack.chosen_repositories,
            warnings=stack.warnings,
            lines=lines if defaults else set_lines(lines),
            hidden=0 if defaults else sum(line.is_default for line in lines),
            defaults=defaults,
            timetable=timetable(stack, site.now()),
            receivers=receivers(stack.effective_values),
            web=stack.settings.web,
            accounts=access(stack.settings),
            typed=site.jobs.typed,
        )


def fault(site: "Site") -> ConfigError | None:
    """Why the configuration of now cannot be used, masked; None when it can. It is read anew.

    Args:
        site: whose.
    """
    try:
        site.alone()
    except ConfigError as error:
        return ConfigError(site.masker(error.message), site.masker(error.hint))
    return None


def set_lines(lines: "Sequence[Line]") -> "tuple[Line, ...]":
    """The lines that somebody set, with those above them.

    Args:
        lines: of a configuration, what is above before what is below.
    """
    given = {line.path for line in lines if line.value is not None and not line.is_default}
    above = {path[:depth] for path in given for depth in range(1, len(path))}
    return tuple(line for line in lines if line.path in given or line.path in above)


def timetable(stack: "Stack", now: datetime, count: int = NEXT_TIMES) -> Timetable:
    """A stack's schedule.

    Args:
        stack: it.
        now: the present moment.
        count: how many of the next times of each job are wanted.
    """
    name = stack.settings.stack
    if not stack.jobs:
        return Timetable()
    try:
        return Timetable(planned(name, stack.jobs, now, count), silence(alive(name), now))
    except StateError as error:
        return Timetable(unknown=stack.masker(error.message))


def receivers(values: dict[str, Any]) -> tuple[Receiver, ...]:
    """Those whom `notify` names.

    Args:
        values: the effective configuration, masked.
    """
    return tuple(_receiver(dict(one)) for one in values["notify"])


def _receiver(options: dict[str, Any]) -> Receiver:
    name, kind = options.pop("name"), options.pop("kind")
    return Receiver(name, kind, {key: flow(value) for key, value in options.items() if value not in (None, [], {})})


def access(settings: "Settings") -> dict[str, str]:
    """How each role of the page signs in, in words; empty where nobody has to.

    Args:
        settings: of the stack.
    """
    ways = {
        role: [
            word
            for word, given in (("a password", account.password_hash), ("a token", account.token))
            if given is not None
        ]
        for role, account in settings.web.accounts().items()
    }
    return {role: " or ".join(words) for role, words in ways.items()}
