"""`recoup qdrant restore|cleanup|rollback`: files of any tool onto a server, and what a restore left there."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from recoup.cli._qdrant_opening import Others, api_key
from recoup.cli._session import Session, session, verb
from recoup.errors import ConfigError, ExitCode, UsageError
from recoup.model.secrets import Masker
from recoup.model.structs import Struct

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The server; key: QDRANT_API_KEY. By default the one of the configuration."
    ),
]
Nodes = Annotated[
    list[str] | None, typer.Option("--node", metavar="URL", help="Another node of its cluster; repeatable.")
]


class _Server(Struct):
    """Which server is meant: its URL, further nodes, and the key; empty without one."""

    url: str
    nodes: Sequence[str]
    key: str


def _server(now: Session, url: str | None, nodes: Sequence[str] | None) -> _Server:
    """The server that was named, or the one source of this kind that is configured.

    Raises:
        UsageError: none was named, and not just one is configured.
    """
    if url is not None:
        return _Server(url, nodes or (), api_key(os.environ))
    try:
        configured: Mapping[str, Any] = now.stack.sources_of_kind("qdrant")
    except ConfigError as error:
        raise ConfigError(error.message, f"{error.hint} Or name the server with --url.".strip()) from None
    if len(configured) != 1:
        what = f"the configuration has {len(configured)} sources of kind qdrant"
        raise UsageError(f"no server was named, and {what}", "Name the server with --url.")
    (options,) = configured.values()
    return _Server(options.url, nodes or options.nodes, api_key(os.environ) or options.key)


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
def cleanup(context: typer.Context, url: Url = None, nodes: Nodes = None) -> ExitCode:
    """Remove what killed runs of yours left on a server: half-made collections, snapshots."""
    from recoup import qdrant

    now = session(context)
    server = _server(now, url, nodes)
    found = qdrant.cleanup(server.url, api_key=server.key, nodes=server.nodes, dry_run=True)
    if not found:
        now.result("cleanup", {"done": []})
        now.show("Nothing was left.")
        return ExitCode.OK
    now.show("\n".join(["There is left:", *(f"  {sentence}" for sentence in found)]))
    if now.dry_run:
        now.result("plan", {"left": found})
        return ExitCode.OK
    now.confirm("Remove it?")
    done = qdrant.cleanup(server.url, api_key=server.key, nodes=server.nodes)
    now.result("cleanup", {"done": done})
    now.show("\n".join(done))
    return ExitCode.OK


@verb
def rollback(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A collection or alias; by default the newest switch.")
    ] = "",
    url: Url = None,
    nodes: Nodes = None,
) -> ExitCode:
    """Switch back: what the last restore switched leads to the old collection again."""
    from recoup import qdrant

    now = session(context)
    server = _server(now, url, nodes)
    steps = qdrant.rollback(server.url, name, api_key=server.key, nodes=server.nodes, dry_run=True)
    now.show("\n".join(steps))
    if now.dry_run:
        now.result("plan", {"steps": steps})
        return ExitCode.OK
    now.confirm("Switch back?")
    with now.news(Masker([server.key] if server.key else [])):
        done = qdrant.rollback(server.url, name, api_key=server.key, nodes=server.nodes, emit=now.tell)
    now.result("rollback", {"done": done})
    now.show("\n".join(done))
    return ExitCode.OK
