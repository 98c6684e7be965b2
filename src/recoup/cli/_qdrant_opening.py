"""What the verbs of `recoup qdrant` share: the set or file that is looked into, and how points are shown."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoup.cli._session import Session

if TYPE_CHECKING:
    from recoup.errors import NoSuchSetError
    from recoup.qdrant import SnapshotFile

ENDINGS = (".snapshot", ".snapshot.zst", ".snapshot.gz", ".jsonl.zst")
"""How files end that can be opened; a word that ends so is a file, whether it is there or not."""

Target = Annotated[
    str,
    typer.Argument(
        metavar="SET|FILE", help="A set, a .snapshot file of any tool, or the folder of a collection in a set."
    ),
]
Collection = Annotated[
    str | None, typer.Option("--collection", metavar="C", help="The collection, where there are several.")
]
Source = Annotated[
    str | None, typer.Option("--source", metavar="NAME", help="The source, where the set has several of Qdrant.")
]
Others = Annotated[
    list[Path] | None,
    typer.Option("--with", metavar="FILE", help="A file of another shard or node of the same collection; repeatable."),
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", metavar="FILTER", help="key=value (also != < <= > >=) or Qdrant's JSON; repeatable, all are met."
    ),
]
Partial = Annotated[bool, typer.Option("--partial", help="Look at what there is, though shards are missing.")]
WithVectors = Annotated[bool, typer.Option("--vectors", help="Show the vectors, too.")]


@contextlib.contextmanager
def opened(
    now: Session,
    target: str,
    collection: str | None,
    source: str | None,
    others: Sequence[Path] | None,
    *,
    partial: bool = False,
) -> "Iterator[SnapshotFile]":
    """What the person named, opened."""
    from recoup import qdrant
    from recoup.errors import NoSuchSetError, UsageError

    if is_place(target):
        if source is not None:
            raise UsageError("--source is for sets; this is a file")
        with qdrant.SnapshotFile([Path(target), *(others or ())], collection=collection, partial=partial) as found:
            yield found
        return
    if others:
        raise UsageError("--with is for files; this is a set, which has all shards")
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(
                qdrant.opened_set(
                    now.stack, target, collection, source=source, partial=partial, wait_lock=now.wait_lock
                )
            )
        except NoSuchSetError as error:
            raise _no_set(target, error.hint) from None
        yield found


def _no_set(target: str, hint: str) -> "NoSuchSetError":
    """A word that is no set may have been meant as a file."""
    from recoup.errors import NoSuchSetError

    if Path(target).exists():
        return NoSuchSetError(f"there is no set {target!r}", f"Is the file meant? Then write ./{target}.")
    return NoSuchSetError(f"there is neither a set nor a file {target!r}", hint)


def api_key(environ: Mapping[str, str]) -> str:
    """The key for a server: from the environment, as the command line can be seen by others."""
    return environ.get("QDRANT_API_KEY", "")


def is_place(target: str) -> bool:
    """Whether a word is a file or folder, and no set."""
    return "/" in target or target.endswith(ENDINGS)


def show_points(now: Session, points: Iterator[Mapping[str, Any]], kind: str = "point") -> int:
    """Prints points, one a line, and returns how many."""
    count = 0
    for point in points:
        now.result(kind, point)
        if not now.json:
            now.show(line(point))
        count += 1
    return count


def line(point: Mapping[str, Any]) -> str:
    """A point in one line: what it has but its id as JSON."""
    rest = {name: value for name, value in point.items() if name not in ("id", "score") and value not in (None, {})}
    score = f"  {point['score']:.4f}" if "score" in point else ""
    return f"{point['id']}{score}  {json.dumps(rest.pop('payload', {}), ensure_ascii=False)}" + "".join(
        f"  {name}={json.dumps(value)}" for name, value in rest.items()
    )
