"""`recoup list`: the sets there are."""

from typing import Annotated

import typer

from recoup.cli._session import names, pairs, session, verb
from recoup.errors import ExitCode


@verb
def list_sets(
    context: typer.Context,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only sets with this tag.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="A,B", help="Only sets that hold these sources.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only sets begun at or after this time.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only sets begun at or before this time.")] = None,
) -> ExitCode:
    """List the sets, oldest first.

    In a keyed repository also what other tools put there.
    """
    from recoup.cli import _foreign, _listing
    from recoup.system.clock import SystemClock

    now = session(context)
    clock = SystemClock()
    infos = now.stack.sets(tags=pairs(tag or (), "--tag"), sources=names(source) or (), since=since, until=until)
    for info in infos:
        now.result("set", info)
    if infos:
        now.show(_listing.sets(infos, clock.now()))
        for line in _listing.remarks(infos):
            now.show(line)
    else:
        now.show("No sets.")
    if not (tag or source or since or until) and (foreign := now.stack.foreign()):
        for artefact in foreign:
            now.result("foreign", artefact)
        now.show(_foreign.listing(foreign, clock.now()))
    for line in now.stack.unread:
        now.result("unread", {"message": line})
        now.say(f"Warning: {line}")
    return ExitCode.INCOMPLETE if now.stack.unread else ExitCode.OK
