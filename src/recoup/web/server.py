"""The web application, and serving it."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from recoup.web import (
    api,
    drills,
    inside,
    job_pages,
    overview,
    points,
    restoring,
    set_changes,
    set_changing,
    set_page,
    sets,
    settings,
    signing_in,
    trash,
)
from recoup.web._following import Streams
from recoup.web._glances import Forgetting, Glances
from recoup.web._place import Place
from recoup.web._security import protect
from recoup.web._site import Site

_STATIC = Path(__file__).parent / "static"


def create_app(site: Site, place: Place) -> FastAPI:
    """The application of a stack.

    Args:
        site: what it shows.
        place: where it is.

    Raises:
        ConfigError: others than this machine reach it, and nobody would have to sign in.
    """
    app = FastAPI(title="Recoup", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.site, app.state.glances, app.state.streams = site, Glances(site), Streams()
    app.add_middleware(Forgetting, glances=app.state.glances)
    for noun in (overview, sets, signing_in, restoring, drills, job_pages, settings, api):
        app.include_router(noun.router)
    for noun in (
        trash,
        inside,
        points,
        set_changes,
        set_changing,
        set_page,
    ):  # the path of the last one fits the others, too
        app.include_router(noun.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    protect(app, site, place)
    return app
