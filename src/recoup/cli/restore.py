"""`recoup restore`: into a new folder, or in place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from recoup.cli._plug_options import PlugCommand, chosen_options
from recoup.cli._session import names, session, verb
from recoup.errors import ExitCode, UsageError

_OVERWRITE = ("never", "if-changed", "always")


class _RestoreCommand(PlugCommand):
    """`restore`, which takes the options that the plugs declare."""

    declared = "RestoreOptions"


app = typer.Typer(add_completion=False)


@app.command(cls=_RestoreCommand)
@verb
def restore(
    context: typer.Context,
    set: Annotated[  # noqa: A002 - the noun of the field
        str,
        typer.Argument(
            metavar="SET", help="A set. `latest` takes, for each source, the newest set with a good copy of it."
        ),
    ] = "latest",
    source: Annotated[str | None, typer.Option("--source", metavar="A,B", help="Only these sources.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All sources of the set, which is the default.")] = False,
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="SOURCE/PART",
            help="Only this part, or this member of a folder or an archive, as files; repeatable. `recoup ls` shows them.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="DIR|SOURCE=WHERE", help="Folder for files, or a source's new place; repeatable."
        ),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Put every source back where it lives.")] = False,
    overwrite: Annotated[
        str | None, typer.Option(metavar="|".join(_OVERWRITE), help="What happens to files that are there already.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove files that the set does not have.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="SOURCE.KEY=VALUE", help="An option of a source's plug.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what was restored and counted to FILE.md, .html or .json."),
    ] = None,
) -> ExitCode:
    """Restore a set: into a new folder, in place only when asked.

    The folder is restored_SET unless --target names another.

    In place, everything is restored beside what is there, checked, and then swapped; what was there is kept as
    NAME.before-restore-TIME.
    """
    from recoup.cli import _foreign, _reports, _tables

    now = session(context)
    if report is not None:
        _reports.check_suffix(report)
    if every and source:
        raise UsageError("--all and --source contradict each other")
    if overwrite is not None and overwrite not in _OVERWRITE:
        raise UsageError(f"--overwrite {overwrite!r} is unknown", f"It is one of {', '.join(_OVERWRITE)}.")
    folder, places = _targets(target or ())
    if (artefact := now.stack.foreign_named(set)) is not None:
        _demand_whole(set, path, report)
        return _foreign.restore(now, artefact, folder, places, in_place=in_place)
    options = chosen_options(context, "RestoreOptions", option or (), now.stack.sets, names(source))
    plan = now.stack.plan_restore(
        set,
        names(source),
        target=folder,
        targets=places,
        in_place=in_place,
        overwrite=overwrite,  # type: ignore[arg-type] # checked above
        delete=delete,
        options=options,
        paths=path or (),
    )
    if not now.json or now.dry_run:
        now.show(_tables.restore_plan(plan, several=now.stack.has_several))
    for name, reason in plan.skipped.items():
        now.show(f"Left out: {name} ({reason})")
    if now.dry_run:
        for row in plan.rows:
            now.result("plan", row)
        return ExitCode.OK
    if plan.destructive:
        now.confirm("Replace what is there?")
    with now.news():
        done = now.stack.restore(plan, wait_lock=now.wait_lock)
    now.result("restore", done)
    now.show(_tables.restore_report(done))
    if report is not None:
        _reports.write(done, report, now.masker)
        now.show(f"Report: {report}")
    return done.exit_code


def _demand_whole(key: str, path: list[str] | None, report: Path | None) -> None:
    if path:
        raise UsageError(f"{key} is a file of another tool: it is restored whole, without --path")
    if report is not None:
        raise UsageError(f"{key} is a file of another tool: nothing was recorded that --report could compare")


def _targets(texts: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """A folder for files, and places by source. `./a=b` is a folder, since a source's name has no slash."""
    from recoup.model.names import SOURCE_NAME

    folder, places = None, {}
    for text in texts:
        name, separator, where = text.partition("=")
        if separator and SOURCE_NAME.match(name):
            places[name] = where
        elif folder is not None:
            raise UsageError("--target names two folders", "One folder, and any number of SOURCE=WHERE.")
        else:
            folder = text
    return folder, places
