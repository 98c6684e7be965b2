"""`recoup web`: the page."""

from typing import Annotated

import typer

from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, UsageError


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
        bool, typer.Option("--hash-password", help="Read a password and print what `password_hash` takes; nothing else.")
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
    from recoup.web.serving import Place, serve

    site = _site(now)
    place = Place.of(site, bind)
    if now.dry_run:
        now.show(f"Would serve the stack {site.name} at {place.url}")
        return ExitCode.OK
    serve(site, place, lambda url: _ready(now, url, browser=open_))
    return ExitCode.OK
