"""Rendering pages: templates, what they may call, and the frame around each of them."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from recoup.model import figures
from recoup.model.names import shown
from recoup.operations.drill import NOTHING_THERE
from recoup.system.clock import local_zone
from recoup.web._site import Site

_TEMPLATES = Path(__file__).parent / "templates"
_patterns: WeakKeyDictionary[FastAPI, dict[tuple[str, tuple[str, ...]], str]] = WeakKeyDictionary()

NAVIGATION = (
    ("overview", "Overview"),
    ("sets", "Sets"),
    ("restore", "Restore"),
    ("drills", "Drills"),
    ("jobs", "Jobs"),
    ("settings", "Settings"),
)
"""Names of the routes in the navigation, and what people call them."""


def site_of(request: Request) -> Site:
    """What the pages stand on."""
    site: Site = request.app.state.site
    return site


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a fragment of one.

    Args:
        request: who asks.
        template: name of a file in `templates/`; one that begins with an underscore is a fragment and gets no frame.
        status: of the answer.
        values: for the template.
    """
    known = {**values, **_frame(request)}
    return HTMLResponse(_environment().get_template(template).render(known), status)


def fragment(request: Request, template: str, **values: Any) -> str:
    """A piece of a page, as HTML.

    Args:
        request: who asks.
        template: name of a file in `templates/` that begins with an underscore.
        values: for the template.
    """
    return _environment().get_template(template).render({**values, **_always(request)})


def bare_page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page without the frame, for those who may not see it, or when making it failed: it shows nothing of the stack.

    Args:
        request: who asks.
        template: name of a file in `templates/`.
        status: of the answer.
        values: for the template.
    """
    known = {**values, "url": lambda route, **parameters: path_to(request, route, **parameters)}
    return HTMLResponse(_environment().get_template(template).render(known), status)


def path_to(request: Request, route: str, **parameters: Any) -> str:
    """The path of a route as the browser has to ask for it, behind a proxy's prefix, too.

    Args:
        request: who asks.
        route: its name; `static` with `path` is a file of ours.
        parameters: those of the route's own path; others are not taken.
    """
    quoted = {name: quote(str(value), errors="surrogateescape") for name, value in parameters.items()}
    return f"{prefix_of(request)}{_pattern(request.app, route, tuple(quoted)).format(**quoted)}"


def _pattern(app: FastAPI, route: str, names: tuple[str, ...]) -> str:
    """The path of a route with its parameters between braces. Looked for once: a list has hundreds of links, and routes are many.

    Raises:
        NoMatchFound: there is no such route.
    """
    known = _patterns.setdefault(app, {})
    if (route, names) not in known:
        known[route, names] = str(app.url_path_for(route, **{name: f"{{{name}}}" for name in names}))
    return known[route, names]


def prefix_of(request: Request) -> str:
    """The prefix of our paths behind a proxy; empty for none."""
    root = request.scope.get("root_path", "")  # below a mounted folder that is its path
    return str(request.scope.get("app_root_path", root))


def _frame(request: Request) -> Mapping[str, Any]:
    """What each page shows around its content."""
    site = site_of(request)
    return {
        "navigation": NAVIGATION,
        "current": request.scope.get("route") and getattr(request.scope["route"], "tags", [""])[:1],
        "running": site.jobs.running,
        "config_error": site.config_error,
        **_always(request),
    }


def _always(request: Request) -> Mapping[str, Any]:
    """What pieces of a page may want, too."""
    site = site_of(request)
    return {
        "url": lambda route, **parameters: path_to(request, route, **parameters),
        "viewer": request.state.viewer,
        "csrf": request.state.csrf,
        "now": site.now(),
        "mask": site.masker,
        "stack_name": site.name,
    }


@cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    made.trim_blocks = made.lstrip_blocks = True
    made.filters |= {
        "size": figures.size,
        "age": figures.age,
        "duration": figures.duration,
        "span": figures.span,
        "shown": shown,
        "when": when,
        "iso": datetime.isoformat,
        "in_url": in_url,
        "ticked": ticked,
    }
    made.globals |= {"version": version("recoup"), "counted": figures.counted, "nothing_there": NOTHING_THERE}
    return made


def in_url(text: str) -> str:
    """A text for the query of a URL, as a name of a file that may be no UTF-8, too."""
    return quote(text, errors="surrogateescape")


def when(moment: datetime) -> str:
    """A moment for people, in this machine's time zone: `2026-11-22 03:15`."""
    return f"{moment.astimezone(local_zone()):%Y-%m-%d %H:%M}"


def ticked(text: str) -> Markup:
    """A text whose commands stand between backticks, as hints have them: on a page they are code."""
    parts = shown(text).split("`")
    if len(parts) % 2 == 0:  # one of them is none of a pair
        return escape(shown(text))
    pieces = (Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts))
    return Markup("").join(pieces)
