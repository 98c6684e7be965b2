"""`recoup qdrant restore|cleanup|rollback`: files of any tool onto a server, and what a restore left there."""

import os
from pathlib import Path
from typing import Annotated

import typer

from recoup.cli._qdrant_opening import Others, api_key
from recoup.cli._session import session, verb
from recoup.errors import ExitCode
from recoup.model.secrets import Masker

Url = Annotated[str, typer.Option("--url", metavar="URL", help="The server; key: QDRANT_API_KEY.")]
Nodes = Annotated[
    list[str] | None, typer.Option("--node", metavar="URL", help="Another node of its cluster; repeatable.")
]


@verb
def restore(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A collection's .snapshot of any tool, or its folder in a set."),
    ],
    target: Annotated[str, typer.Option("--target", metavar="URL", help="The server; key: QDRANT_API_KEY.")],
    name: Annotated[str, typer.Option(metavar="C", help="Its name there; by default as in the file's name.")] = "",
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE", help="How it takes its place: auto, alias, replace, new or merge, as for `recoup restore`."
        ),
    ] = "auto",
    via: Annotated[
        str,
        typer.Option(metavar="WAY", help="snapshot: whole shards. points: one by one. auto: shards where they fit."),
    ] = "auto",
    made_by: Annotated[
        str,
        typer.Option(metavar="VERSION", help="Qdrant that made the file, which it does not say; else as the server's."),
    ] = "",
    others: Others = None,
    nodes: Nodes = None,
) -> ExitCode:
    """Restore a collection from a file that any tool made: beside what is there, checked, then switched.

    In a cluster each node's snapshot holds that node's shards: name the other files with --with.
    """
    from recoup import qdrant
    from recoup.cli import _qdrant_tables

    now, key = session(context), api_key(os.environ)
    with (
        now.news(Masker([key] if key else [])),
        qdrant.restore_files(
            [file, *(others or ())],
            target,
            name=name,
            made_by=made_by,
            api_key=key,
            nodes=nodes or (),
            emit=now.tell,
            mode=mode,
            via=via,
        ) as planned,
    ):
        now.show(_qdrant_tables.restore_plan(planned.plan))
        if now.dry_run:
            now.result("plan", planned.plan)
            return ExitCode.OK
        if planned.plan.present:
            now.confirm("Go on?")
        placement = planned.run()
    now.result("restore", placement)
    now.show(
        f"{planned.name} was restored: {placement.target}" + (f"; kept: {placement.kept}" if placement.kept else "")
    )
    return ExitCode.OK


@verb
def cleanup(context: typer.Context, url: Url = "http://127.0.0.1:6333", nodes: Nodes = None) -> ExitCode:
    """Remove what killed runs of yours left on a server: half-made collections, snapshots."""
    from recoup import qdrant

    now = session(context)
    key = api_key(os.environ)
    found = qdrant.cleanup(url, api_key=key, nodes=nodes or (), dry_run=True)
    if not found:
        now.result("cleanup", {"done": []})
        now.show("Nothing was left.")
        return ExitCode.OK
    now.show("\n".join(["There is left:", *(f"  {sentence}" for sentence in found)]))
    if now.dry_run:
        now.result("plan", {"left": found})
        return ExitCode.OK
    now.confirm("Remove it?")
    done = qdrant.cleanup(url, api_key=key, nodes=nodes or ())
    now.result("cleanup", {"done": done})
    now.show("\n".join(done))
    return ExitCode.OK


@verb
def rollback(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A collection or alias; by default the newest switch.")
    ] = "",
    url: Url = "http://127.0.0.1:6333",
    nodes: Nodes = None,
) -> ExitCode:
    """Switch back: what the last restore switched leads to the old collection again."""
    from recoup import qdrant

    now = session(context)
    key = api_key(os.environ)
    steps = qdrant.rollback(url, name, api_key=key, nodes=nodes or (), dry_run=True)
    now.show("\n".join(steps))
    if now.dry_run:
        now.result("plan", {"steps": steps})
        return ExitCode.OK
    now.confirm("Switch back?")
    with now.news(Masker([key] if key else [])):
        done = qdrant.rollback(url, name, api_key=key, nodes=nodes or (), emit=now.tell)
    now.result("rollback", {"done": done})
    now.show("\n".join(done))
    return ExitCode.OK
