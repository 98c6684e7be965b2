"""`recoup postgres`: dumps of PostgreSQL that any tool took, put on a server, and what a killed run left there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from recoup.sources._base import Existing

app = typer.Typer(
    add_completion=False, help="Restore dumps of PostgreSQL that were taken by hand, and tidy up after killed runs."
)

Target = Annotated[
    str,
    typer.Option(
        "--target", metavar="URL", help="postgresql://USER@HOST:PORT/NAME; password: PGPASSWORD or ~/.pgpass."
    ),
]

_MODES = ("swap", "drop-create")


@app.command("restore")
@verb
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A dump in custom or directory format, or SQL text.")],
    target: Target,
    mode: Annotated[str, typer.Option(metavar="MODE", help="swap or drop-create, as for `recoup restore`.")] = "swap",
    terminate: Annotated[bool, typer.Option("--terminate", help="End the sessions that are in the way.")] = False,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Drop what was replaced, afterwards.")] = False,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for sessions in the way.")] = 30.0,
    no_owner: Annotated[bool, typer.Option("--no-owner", help="Leave out owners and rights.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Tables restored at the same time.")] = 1,
) -> ExitCode:
    """Restore a dump that was taken by hand: beside what is there, counted, then swapped.

    The dump is read to its end before anything is made. The database need not be there; the one that is there is kept as
    NAME_before_TIME.
    """
    from recoup.model.secrets import Masker
    from recoup.sources.postgres._restore_file import planned
    from recoup.sources.postgres._restore_options import RestoreOptions

    now = session(context)
    if mode not in _MODES:
        raise UsageError(f"--mode {mode!r} is unknown", f"It is one of {', '.join(_MODES)}.")
    if wait <= 0:
        raise UsageError("--wait has to be more than 0")
    chosen = cast("Literal['swap', 'drop-create']", mode)
    options = RestoreOptions(mode=chosen, terminate=terminate, drop_old=drop_old, wait=wait)
    with now.news(Masker()), planned(file, target, options, jobs=jobs, ownerless=no_owner) as undertaken:
        now.show(_plan(undertaken.plan))
        if now.dry_run:
            now.result("plan", undertaken.plan)
            return ExitCode.OK
        if undertaken.plan.present:
            now.confirm("Replace what is there?")
        placement = undertaken.run()
        doubt, rows = undertaken.doubt, undertaken.dump.rows
    now.result(
        "restore", {"target": placement.target, "kept": placement.kept, "rows": sum(rows.values()), "doubt": doubt}
    )
    kept = f" What was there is kept as {placement.kept}." if placement.kept else ""
    now.show(f"Restored: {placement.target}.{kept}")
    now.show(doubt or f"{sum(rows.values()):,} rows in {len(rows):,} tables, as many as the dump has.")
    return ExitCode.OK


def _plan(existing: "Existing") -> str:
    there = existing.description if existing.present else "nothing"
    steps = [f"  {number}. {step}" for number, step in enumerate(existing.steps, 1)]
    return "\n".join([f"{existing.target}: {there} is there. {existing.consequence}", *steps])


@app.command("cleanup")
@verb
def cleanup(context: typer.Context, target: Target) -> ExitCode:
    """Drop the temporary databases that killed restores and drills left on a server."""
    from recoup.sources.postgres._restore_file import clean

    now = session(context)
    found = clean(target, dry_run=True)
    if not found:
        now.result("cleanup", {"done": []})
        now.show("Nothing was left.")
        return ExitCode.OK
    now.show("\n".join(["To be done:", *(f"  {sentence}" for sentence in found)]))
    if now.dry_run:
        now.result("plan", {"left": found})
        return ExitCode.OK
    now.confirm("Do it?")
    done = clean(target)
    now.result("cleanup", {"done": done})
    now.show("\n".join(done))
    return ExitCode.OK
