"""`recoup qdrant inspect|count|scroll|get|search`: a snapshot looked into, without a server."""

from itertools import islice
from typing import Annotated

import typer

from recoup.cli._qdrant_opening import (
    Collection,
    Filters,
    Others,
    Partial,
    Source,
    Target,
    WithVectors,
    opened,
    show_points,
)
from recoup.cli._session import session, verb
from recoup.errors import ExitCode, UsageError


@verb
def inspect(
    context: typer.Context, target: Target, collection: Collection = None, source: Source = None, others: Others = None
) -> ExitCode:
    """Show what a snapshot holds: configuration, shards, segments, points, indexes, log.

    What can be read without Qdrant's engine is shown even where the engine cannot read the rest.
    """
    from recoup.cli import _qdrant_tables

    now = session(context)
    with opened(now, target, collection, source, others) as found:
        insights = found.inspect()
    for insight in insights:
        now.result("collection", insight)
        now.show(_qdrant_tables.insight(insight))
    codes = {ExitCode(insight["exit_code"]) for insight in insights}
    return ExitCode.DAMAGED if ExitCode.DAMAGED in codes else max(codes, default=ExitCode.OK)


@verb
def count(
    context: typer.Context,
    target: Target,
    collection: Collection = None,
    source: Source = None,
    others: Others = None,
    partial: Partial = False,
    filters: Filters = None,
) -> ExitCode:
    """Count points exactly, all or those that meet a filter."""
    from recoup.cli import _qdrant_filters

    now = session(context)
    wanted = _qdrant_filters.parsed(filters or ())
    with opened(now, target, collection, source, others, partial=partial) as found:
        points = found.count(wanted)
    now.result("count", {"points": points})
    if not now.json:
        now.show(f"{points}")
    return ExitCode.OK


@verb
def scroll(
    context: typer.Context,
    target: Target,
    collection: Collection = None,
    source: Source = None,
    others: Others = None,
    partial: Partial = False,
    filters: Filters = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="Show at most so many; 0 means all.")] = 10,
    vectors: WithVectors = False,
) -> ExitCode:
    """Show points, in the order of their ids, all or those that meet a filter."""
    from recoup.cli import _qdrant_filters

    now = session(context)
    wanted = _qdrant_filters.parsed(filters or ())
    with opened(now, target, collection, source, others, partial=partial) as found:
        points = found.scroll(wanted, with_vectors=vectors)
        show_points(now, islice(points, limit or None))
        if limit and next(points, None) is not None:
            now.say(f"There are more; --limit 0 shows all, `recoup qdrant count {target}` counts them.")
    return ExitCode.OK


@verb
def get(
    context: typer.Context,
    target: Target,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of points: numbers and UUIDs.")],
    collection: Collection = None,
    source: Source = None,
    others: Others = None,
    partial: Partial = False,
    vectors: WithVectors = False,
) -> ExitCode:
    """Show points by their ids. One that is not there is named, and the exit code is 1."""
    from recoup.cli import _qdrant_filters

    now = session(context)
    wanted = _qdrant_filters.ids(ids)
    with opened(now, target, collection, source, others, partial=partial) as found:
        points = list(found.get(wanted, with_vectors=vectors))
    show_points(now, iter(points))
    missing = set(wanted) - {point["id"] for point in points}
    for one in wanted:
        if one in missing:
            now.say(f"There is no point {one}.")
    return ExitCode.FAILED if missing else ExitCode.OK


@verb
def search(
    context: typer.Context,
    target: Target,
    vector: Annotated[str | None, typer.Option(metavar="JSON", help="Near this vector, e.g. [0.1, 0.2].")] = None,
    point: Annotated[str | None, typer.Option("--id", metavar="ID", help="Near this point.")] = None,
    collection: Collection = None,
    source: Source = None,
    others: Others = None,
    partial: Partial = False,
    filters: Filters = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Show so many.")] = 10,
    using: Annotated[str, typer.Option(metavar="NAME", help="Which of the named vectors.")] = "",
    indexed: Annotated[
        bool, typer.Option("--indexed", help="Through the index, as a server does, instead of exactly.")
    ] = False,
    vectors: WithVectors = False,
) -> ExitCode:
    """Show the points nearest to a vector or to another point, the best first."""
    from recoup.cli import _qdrant_filters

    now = session(context)
    if (vector is None) == (point is None):
        raise UsageError("a search needs either --vector or --id")
    query = _qdrant_filters.vector(vector) if vector is not None else _qdrant_filters.ids([point or ""])[0]
    wanted = _qdrant_filters.parsed(filters or ())
    with opened(now, target, collection, source, others, partial=partial) as found:
        hits = found.search(query, limit, wanted, using=using, exact=not indexed, with_vectors=vectors)
        show_points(now, iter(hits), "hit")
    return ExitCode.OK
