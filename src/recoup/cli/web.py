"""`recoup web`: the page."""

from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from recoup.web._site import Site


@verb
def web(
    context: typer.Context,
    bind: Annotated[
        str | None,
        typer.Option(
            "--bind", metavar="HOST:PORT", help="Where it listens, in place of `web.bind`; 127.0.0.1:8642 by default."
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    hash_password: Annotated[
        bool,
        typer.Option("--hash-password", help="Read a password and print what `password_hash` takes; nothing else."),
    ] = False,
) -> ExitCode:
    """Serve the page on which backups are seen, made, proven and restored. Ends by Ctrl-C.

    Without a password or token in `web:` it answers this machine alone. Jobs that it started go on when it ends.
    """
    now = session(context)
    _require_extra()
    if hash_password:
        now.write(f"{_hashed()}\n")
        return ExitCode.OK
    from recoup.web._accounts import require_accounts
    from recoup.web._place import Place

    site = _site(now)
    settings = now.stack.settings.web
    place = Place.parsed(bind or settings.bind, settings.path)
    require_accounts(settings, place)
    if now.dry_run:
        now.show(f"Would serve the stack {site.name} at {place.url}")
        return ExitCode.OK
    from recoup.web.serving import serve

    serve(site, place, lambda url: _ready(now, url, browser=open_))
    return ExitCode.OK


def _require_extra() -> None:
    from importlib.util import find_spec

    for name in ("argon2", "fastapi", "itsdangerous", "jinja2", "python_multipart", "uvicorn"):
        if find_spec(name) is None:
            raise UsageError(
                f"the page needs {name}, which is not installed here", "Install it: pip install 'recoup[web]'."
            )


def _site(now: Session) -> "Site":
    from recoup.system.clock import SystemClock
    from recoup.web._site import Site
    from recoup.web.jobs import Jobs

    stack, clock = now.stack, SystemClock()
    return Site(now.opened, Jobs(stack.settings.stack, stack.as_options, clock), clock)


def _ready(now: Session, url: str, *, browser: bool) -> None:
    now.show(f"The page is at {url}\nCtrl-C ends it; jobs that it began go on.")
    now.result("web", {"url": url})
    if browser:
        import webbrowser

        webbrowser.open(url)


def _hashed() -> str:
    """A password, asked for twice on a terminal and read from stdin else, hashed."""
    import sys

    from recoup.web._hashing import hashed

    if sys.stdin.isatty():
        return hashed(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return hashed(sys.stdin.readline().rstrip("\n"))
