"""What other tools put into a repository, for `list`, `show` and `restore`."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recoup.cli._session import Session
from recoup.errors import ExitCode, RestoreError, UsageError
from recoup.model.figures import age, size
from recoup.model.json_values import plain
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.model.artefact import Artefact

_ON_SERVERS = {"qdrant": "qdrant restore", "postgres": "postgres restore"}


def listing(found: "Sequence[Artefact]", now: datetime) -> str:
    """A line for each, below a heading."""
    rows = [(age((now - one.time).total_seconds()), size(one.bytes), shown(one.key)) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"  {old.ljust(widths[0])}  {large.rjust(widths[1])}  {key}" for old, large, key in rows]
    return "\n".join(["Foreign (other tools put them there; `recoup show KEY` looks into one):", *lines])


def show(now: Session, artefact: "Artefact") -> ExitCode:
    """Looks into one and says what it holds."""
    with now.news(), now.stack.foreign_file(artefact, wait_lock=now.wait_lock) as (_, holds):
        now.result("foreign", {**plain(artefact), "holds": holds})
    now.show(f"{shown(artefact.location)}: {size(artefact.bytes)}")
    now.show(f"{shown(artefact.part)} of {artefact.time:%Y-%m-%d %H:%M:%S} UTC, as its key says. It holds {holds}.")
    now.show("Another tool put it there: no manifest says what it has to be.")
    return ExitCode.OK


def restore(
    now: Session, artefact: "Artefact", folder: str | None, places: Mapping[str, str], *, in_place: bool
) -> ExitCode:
    """Puts one into a folder as a file, after a look into it; onto a server goes the file by that server's own command.

    Args:
        now: the session.
        artefact: which.
        folder: where; `restored_PART` by default.
        places: as for a set; refused here.
        in_place: as for a set; refused here.

    Raises:
        UsageError: a server was named, or the file is there already.
    """
    from recoup.operations.foreign import KINDS

    target = Path(folder or f"restored_{artefact.part}")
    kind = next((kind for ending, kind in KINDS.items() if ending in Path(artefact.key).suffixes), "")
    if in_place or places:
        way = f"then `recoup {_ON_SERVERS[kind]} FILE --target URL` puts it on a server" if kind else "then use it"
        raise UsageError(
            f"{shown(artefact.key)} belongs to no source: another tool put it there",
            f"Restore it as a file, --target DIR; {way}.",
        )
    now.show(f"{shown(artefact.key)} is looked into, then it goes to {target} as a file.")
    if now.dry_run:
        now.result("plan", {**plain(artefact), "target": str(target)})
        return ExitCode.OK
    with now.news(), now.stack.foreign_file(artefact, wait_lock=now.wait_lock) as (path, holds):
        placed = _placed(path, target)
    now.result("restore", {**plain(artefact), "target": str(placed), "holds": holds})
    now.show(f"Restored: {placed}, {holds}.")
    if kind:
        now.show(f"Put it on a server: recoup {_ON_SERVERS[kind]} {placed} --target URL")
    return ExitCode.OK


def _placed(path: Path, folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists():
        raise UsageError(f"{target} is there already; nothing was restored", "Choose another --target.")
    try:
        return Path(shutil.move(path, target))
    except OSError as error:
        target.unlink(missing_ok=True)
        raise RestoreError(f"{target} cannot be written: {error.strerror or error}") from None
