"""`recoup wrappers`: a team's own scripts as thin calls of Recoup, installed and taken away."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._installing import configuration, show_plan, told
from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from recoup.config.loading import Loaded
    from recoup.scheduler.placing import Place

app = typer.Typer(add_completion=False, help="Write a team's own scripts as thin calls of Recoup, and remove them.")

Force = Annotated[bool, typer.Option("--force", help="Also what was changed after it was installed.")]

_EXECUTABLE = 0o755


@app.command("install")
@verb
def install(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the scripts go; made if it is not there.")],
    team: Annotated[str, typer.Option("--for", metavar="NAME", help="Whose names: citadel or selfrag.")],
    force: Force = False,
) -> ExitCode:
    """Write scripts that call Recoup with the present configuration: citadel's two, or selfrag's nine.

    With -r NAME before or behind it, all of them work on that repository. -n shows what they say.
    """
    from recoup.scheduler._installed import WRAPPERS
    from recoup.scheduler.installing import present_account
    from recoup.scheduler.placing import carry_out, plan_install

    now = session(context)
    loaded = configuration(now, with_repository=True)
    stack, places = loaded.settings.stack, _places(now, loaded, folder.absolute(), team)
    plan = plan_install(stack, WRAPPERS, places, present_account(), force=force)
    show_plan(now, plan, "wrappers")
    if now.dry_run:
        return ExitCode.OK
    folder.mkdir(parents=True, exist_ok=True)
    carry_out(plan)
    now.result("install", {"wrappers": [place.name for place in places]})
    now.show(f"{len(places)} scripts of {stack} are in {folder}.")
    return ExitCode.OK


def _places(now: Session, loaded: "Loaded", folder: Path, team: str) -> "list[Place]":
    from recoup.cli._wrapper_scripts import SCRIPTS, rendered
    from recoup.scheduler.installing import program
    from recoup.system.markedfiles import MarkedFile

    if team not in SCRIPTS:
        raise UsageError(f"--for {team!r} is unknown", f"It is one of {', '.join(SCRIPTS)}.")
    if now.repository is not None and now.repository not in loaded.settings.repositories:
        known = ", ".join(loaded.settings.repositories) or "none"
        raise UsageError(f"there is no repository {now.repository!r} in the configuration", f"Known: {known}.")
    chosen = [] if now.repository is None else ["-r", now.repository]
    command = [*program(), *(part for file in loaded.files for part in ("-c", str(file))), *chosen]
    texts = rendered(team, loaded, command)
    return [MarkedFile(folder / name, loaded.settings.stack, text, _EXECUTABLE) for name, text in texts.items()]


@app.command("remove")
@verb
def remove(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Only those in this folder; all of them by default.")
    ] = None,
    force: Force = False,
) -> ExitCode:
    """Take away the scripts that `wrappers install` wrote for this stack, and look whether they are gone."""
    from recoup.scheduler._installed import WRAPPERS
    from recoup.scheduler.installing import present_account
    from recoup.scheduler.placing import carry_out, found_in, plan_removal

    now = session(context)
    stack = configuration(now).settings.stack
    within = None if folder is None else folder.absolute()
    also = () if within is None else found_in([within], stack)
    plan = plan_removal(stack, WRAPPERS, present_account(), also=also, within=within, force=force)
    if not plan.steps and not plan.gone:
        now.result("remove", {"removed": [], "left": []})
        if folder is None:
            now.show(f"No scripts of {stack} are known of. `recoup wrappers remove DIR` looks for them in a folder.")
        else:
            now.show(f"No scripts of {stack} are in {folder}.")
        return ExitCode.OK
    show_plan(now, plan, "wrappers")
    if now.dry_run:
        return ExitCode.OK
    carry_out(plan)
    return told(now, plan)
