"""`recoup ls`: what is in a set."""

from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode
from recoup.model import figures

if TYPE_CHECKING:
    from recoup.operations.contents import Entry


@verb
def ls(
    context: typer.Context,
    set: Annotated[str, typer.Argument(metavar="SET", help="A set.")] = "latest",  # noqa: A002 - the noun of the field
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="SOURCE, SOURCE/PART, or that and what is inside it.")
    ] = "",
) -> ExitCode:
    """List what is in a set: its parts, members of folders and archives.

    Without PATH the parts of all sources. Below a folder, or an archive such as the snapshot of a shard, all that is in it,
    however deep; archives inside archives by their own path.
    """
    now = session(context)
    with now.news():
        for entry in now.stack.entries(set, path, wait_lock=now.wait_lock):
            now.result("entry", entry)
            if not now.json:
                now.show(line(entry))
    return ExitCode.OK


def line(entry: "Entry") -> str:
    """An entry for people."""
    from recoup.model.names import shown

    modified = f"{entry.modified:%Y-%m-%d %H:%M}" if entry.modified else ""
    size = figures.size(entry.bytes) if entry.kind in ("stream", "tree", "file") else ""
    link = f" -> {shown(entry.link)}" if entry.link else ""
    return f"{entry.kind:8}  {size:>10}  {modified:16}  {shown(entry.path)}{link}"
