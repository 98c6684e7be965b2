"""`recoup uninstall`: take away what Recoup put on this machine for a stack; on request the backups, too."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._installing import configuration, show_plan
from recoup.cli._schedule_installing import Force, Root
from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, NoRepositoryError, UsageError
from recoup.model import figures
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.config.loading import Loaded
    from recoup.operations.erasing import Erasure
    from recoup.scheduler.placing import Plan


@verb
def uninstall(
    context: typer.Context,
    with_backups: Annotated[
        bool,
        typer.Option("--with-backups", help="Also all sets of this stack, in every configured repository, for good."),
    ] = False,
    typed_name: Annotated[
        str,
        typer.Option(
            "--confirm", metavar="STACK", help="With --with-backups and without a terminal: the stack's name."
        ),
    ] = "",
    force: Force = False,
    root: Root = Path("/"),
) -> ExitCode:
    """Take away schedule, scripts and what is remembered; on request the backups.

    Shows what goes, asks, removes, looks whether it is gone, and says what is left.
    """
    now = session(context)
    loaded = configuration(now)
    stack = loaded.settings.stack
    plans = _plans(stack, root.absolute(), force=force)
    erasures = _erasures(now, stack) if with_backups else []
    _show(now, stack, plans, erasures)
    if now.dry_run:
        return ExitCode.OK
    _ask(now, stack, erasures, typed_name)
    left = _removed(now, stack, plans, erasures)
    _say_what_stays(now, loaded, left, with_backups=with_backups)
    return ExitCode.REFUSED if left else ExitCode.OK


def _plans(stack: str, root: Path, *, force: bool) -> "list[Plan]":
    from recoup.scheduler import installing
    from recoup.scheduler._installed import WRAPPERS
    from recoup.scheduler.placing import plan_removal

    schedule = installing.removal(stack, root, force=force)
    return [schedule, plan_removal(stack, WRAPPERS, installing.present_account(), force=force)]


def _erasures(now: Session, stack: str) -> "list[Erasure]":
    """What goes from each configured repository; all of them have to be readable before anything is removed."""
    from recoup.operations import erasing
    from recoup.system.clock import SystemClock

    found = []
    for name in now.stack.settings.repositories:
        try:
            found.append(erasing.plan(now.stack.only(name).repository, stack, SystemClock().now()))
        except NoRepositoryError:
            now.say(f"There is no repository at the place of {name}.")
    return found


def _show(now: Session, stack: str, plans: "list[Plan]", erasures: "list[Erasure]") -> None:

    for plan in plans:
        show_plan(now, plan, plan.purpose)
    if not any(plan.steps for plan in plans):
        now.show("No schedule and no scripts are known to be installed.")
    now.show(f"Forget what this machine remembers of runs and notices of {stack}.")
    for one in erasures:
        fields = {"repository": one.repository, "sets": [*map(str, one.sets)], "bytes": one.bytes, "left": one.left}
        now.result("plan", {"purpose": "backups", **fields})
        what = f"{figures.counted(len(one.sets), 'set')} ({figures.size(one.bytes)})"
        trash = f" and {figures.counted(one.trashed, 'set')} in the trash" if one.trashed and not one.others else ""
        now.show(f"DELETE FOR GOOD {what}{trash} in {one.repository}, {one.location}")
        if one.others:
            now.show(f"  What other stacks have there stays: {figures.counted(one.others, 'set')}, and the trash.")
        for name, reason in one.left.items():
            now.show(f"  {shown(name)} stays: {reason}")


def _ask(now: Session, stack: str, erasures: "list[Erasure]", typed_name: str) -> None:
    """Asks; what deletes backups is confirmed by their stack's name, which nobody types without a thought.

    Raises:
        UsageError: nobody can be asked, or the name is another one.
    """
    if not any(one.sets or one.trashed for one in erasures):
        now.confirm("Take it away?")
        return
    if not typed_name and not now.yes and sys.stdin.isatty():
        typed_name = typer.prompt(f"All backups of {stack} go for good. Type its name to confirm", err=True)
    if typed_name != stack:
        raise UsageError(
            "backups are deleted only when the name of their stack is given; nothing was changed", f"--confirm {stack}"
        )


def _removed(now: Session, stack: str, plans: "list[Plan]", erasures: "list[Erasure]") -> list[str]:
    """Removes everything; names of what should be gone and is not. What is remembered goes last: it says what is installed."""
    from recoup.scheduler import installing
    from recoup.scheduler._starting import forget_locks, job_lock, schedule_lock
    from recoup.scheduler.placing import carry_out
    from recoup.system import statefile
    from recoup.web import _session_files, jobs

    schedule, wrappers = plans
    installing.remove(schedule)
    carry_out(wrappers)
    hint = "Wait until it has ended, or end it; then run this again: what was removed is gone."
    who = "an uninstallation"
    schedule_runs, job_runs = f"the schedule of {stack} still runs", f"a job of {stack} still runs"
    left = [name for plan in plans for name in plan.left]
    with schedule_lock(stack).held(who, schedule_runs, hint), job_lock(stack).held(who, job_runs, hint):
        for one in erasures:
            left += _erased(now, stack, one)
        if not left:
            statefile.forget(stack)
            jobs.forget(stack)
            _session_files.forget(stack)
            forget_locks(stack)
    now.result("uninstall", {"removed": [step.name for plan in plans for step in plan.changes], "left": left})
    for plan in plans:
        for step in plan.changes:
            now.show(f"Removed: {shown(step.name)}")
    return left


def _erased(now: Session, stack: str, one: "Erasure") -> list[str]:
    from recoup.operations import erasing

    repository = now.stack.only(one.repository).repository
    trash_days = now.stack.settings.repositories[one.repository].trash_days
    with repository.lock("exclusive", "uninstall", stack, now.wait_lock):
        left = erasing.run(repository, one, trash_days)
    now.show(f"Deleted {figures.counted(len(one.sets) - len(left), 'set')} in {one.repository}.")
    return [f"{name} in {one.repository}" for name in (*left, *one.left)]


def _say_what_stays(now: Session, loaded: "Loaded", left: list[str], *, with_backups: bool) -> None:
    for name in left:
        now.say(f"LEFT: {shown(name)}")
    if left:
        now.say("What this machine remembers stays, too, as it says where that lies.")
    settings = loaded.settings
    now.show(f"Yours, and as it was: {', '.join(shown(str(file)) for file in loaded.files)}")
    for name, repository in settings.repositories.items():
        place = repository.url or loaded.base / (repository.path or "")
        now.show(f"{'The emptied repository' if with_backups else 'Backups stay in'} {name}: {shown(str(place))}")
    for file in filter(None, (settings.events.jsonl, settings.events.log)):
        now.show(f"Logs stay: {shown(str(loaded.base / file))}")
    now.show("Recoup itself goes with the tool that installed it, as in `pip uninstall recoup`.")
