"""`recoup qdrant extract`: chosen points as a file, or back into a running collection."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoup.cli._qdrant_opening import Collection, Filters, Others, Partial, Source, Target, api_key, opened
from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from recoup.qdrant import SnapshotFile


@verb
def extract(
    context: typer.Context,
    target: Target,
    ids: Annotated[
        list[str] | None, typer.Option("--ids", metavar="A,B", help="Only these points; @FILE reads ids from a file.")
    ] = None,
    filters: Filters = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write a new file: .jsonl or .parquet.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into", metavar="URL/COLLECTION", help="Put them into a running collection; key: QDRANT_API_KEY."
        ),
    ] = None,
    collection: Collection = None,
    source: Source = None,
    others: Others = None,
    partial: Partial = False,
) -> ExitCode:
    """Take chosen points out of a snapshot: as a file, or back into a running collection.

    With --into it says first how many of them are there already and would be overwritten, and asks.
    """
    from recoup.cli import _qdrant_filters

    now = session(context)
    if (to is None) == (into is None):
        raise UsageError("say where to: either --to FILE or --into URL/COLLECTION")
    wanted, chosen = _qdrant_filters.parsed(filters or ()), _ids(ids)
    with opened(now, target, collection, source, others, partial=partial) as found:
        missing = _missing(found, chosen)
        if into is not None:
            _put_back(now, found, into, chosen, wanted)
        elif to is not None:
            _write(now, found, to, chosen, wanted)
    for one in missing:
        now.say(f"There is no point {one}.")
    return ExitCode.FAILED if missing else ExitCode.OK


def _ids(texts: Sequence[str] | None) -> list[int | str] | None:
    """Ids as typed, or, behind an @, from a file; None when none were given."""
    from recoup.cli import _qdrant_filters

    if not texts:
        return None
    words = [Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text for text in texts]
    found = list(dict.fromkeys(_qdrant_filters.ids(words)))
    if not found:
        raise UsageError("--ids names no point")
    return found


def _missing(found: "SnapshotFile", ids: list[int | str] | None) -> list[int | str]:
    if ids is None:
        return []
    there = {point["id"] for point in found.get(ids, with_payload=False)}
    return [one for one in ids if one not in there]


def _write(
    now: Session, found: "SnapshotFile", to: Path, ids: list[int | str] | None, wanted: dict[str, Any] | None
) -> None:
    from recoup import qdrant

    if now.dry_run:
        count = sum(1 for _ in qdrant.chosen_points(found, ids, wanted))
        now.result("plan", {"points": count, "to": str(to)})
        now.show(f"{count:,} points would be written to {to}.")
        return
    count = qdrant.extract(found, to, ids=ids, filter=wanted)
    now.result("extract", {"points": count, "to": str(to)})
    now.show(f"{count:,} points were written to {to}.")


def _put_back(
    now: Session, found: "SnapshotFile", into: str, ids: list[int | str] | None, wanted: dict[str, Any] | None
) -> None:
    from recoup import qdrant
    from recoup.cli import _qdrant_tables

    with qdrant.points_return(found, into, ids=ids, filter=wanted, api_key=api_key(os.environ)) as returning:
        plan = returning.plan
        now.show(_qdrant_tables.points_plan(plan))
        if now.dry_run:
            now.result("plan", plan)
            return
        if plan.points:
            now.confirm("Put them there?")
        count = returning.run()
    now.result("extract", {"points": count, "overwritten": plan.overwritten, "into": f"{plan.url}/{plan.collection}"})
    now.show(f"{count:,} points were put into {plan.collection}.")
