"""Who may do what: the guard in front of all routes, and what routes say of themselves."""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from recoup.web import _failures
from recoup.web._accounts import Viewer, require_accounts
from recoup.web._attempts import Attempts
from recoup.web._guard import Guard
from recoup.web._place import Place
from recoup.web._sessions import Sessions
from recoup.web._site import Site


def protect(app: FastAPI, site: Site, place: Place) -> None:
    """Lets nobody in but through the guard. To be called last: whatever is put around the application later is outside of it.

    Args:
        app: the application.
        site: what it shows; its `settings` say who may come in.
        place: where it is.

    Raises:
        ConfigError: others than this machine reach it, and nobody would have to sign in.
    """
    require_accounts(site.settings, place)
    sessions = Sessions(site.name, site.clock)
    app.state.sessions, app.state.attempts = sessions, Attempts(site.clock)
    app.add_middleware(Guard, site=site, place=place, sessions=sessions)
    _failures.install(app)


def viewer_of(request: Request) -> Viewer:
    """Who asks. The guard lets nobody pass whom it does not know."""
    viewer: Viewer | None = request.state.viewer
    if viewer is None:
        raise HTTPException(401, "Sign in first.")
    return viewer


def _operator(request: Request) -> Viewer:
    viewer = viewer_of(request)
    if not viewer.may_operate:
        raise HTTPException(403, "A reader may look at everything and change nothing.")
    return viewer


Operator = Annotated[Viewer, Depends(_operator)]
"""Argument of a route that is for operators alone. That a changing request came from a page of ours, by its CSRF token, and not
from a reader, the guard has made sure of before: for every route, also those that forget this."""
