"""`recoup schedule`: what runs when, and running what is due."""

from typing import Annotated

import typer

from recoup.cli import _schedule_installing
from recoup.cli._options import Grace
from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, LockedError

app = typer.Typer(add_completion=False)


@app.callback()
def _schedule() -> None:
    """Show what runs when, run what is due, or have cron or systemd call it."""


@app.command()
@verb
def show(
    context: typer.Context,
    count: Annotated[int, typer.Option("--next", metavar="N", min=1, max=100, help="This many of the next times.")] = 1,
) -> ExitCode:
    """Show each job of the schedule: when it runs next, and how its last run ended.

    Times are those of this machine's time zone; with --json they are UTC.
    """
    from recoup.cli import _scheduling
    from recoup.scheduler import outlook, state
    from recoup.system.clock import SystemClock, local_zone

    now = session(context)
    jobs = _scheduling.jobs_of(now.stack)
    moment = SystemClock().now()
    states = outlook.planned(now.stack.settings.stack, jobs, moment, count)
    for known in states:
        now.result("job", known)
    now.show(_scheduling.table(states, local_zone()))
    for known in states:
        if known.missed:
            now.show(f"{known.name} was left out {known.missed} times in all.")
    silence = outlook.silence(state.alive(now.stack.settings.stack), moment)
    if silence:
        now.show(silence)
    return ExitCode.OK


@app.command()
@verb
def tick(
    context: typer.Context,
    grace: Grace = None,
) -> ExitCode:
    """Run what is due, then end. For cron and systemd timers, each minute.

    When the tick before still runs, or a daemon does, it ends at once with 0. Else the exit code is that of the first job that
    did not end well; 0 when nothing was due.
    """
    from recoup.cli import _scheduling

    now = session(context)
    if now.dry_run:
        return _due(now)
    try:
        return _scheduling.serve(now, "recoup schedule tick", grace, until_done=True)
    except LockedError:
        return ExitCode.OK


def _due(now: Session) -> ExitCode:
    """Says what a tick would run now."""
    from recoup.cli import _scheduling
    from recoup.scheduler import state
    from recoup.system.clock import SystemClock

    moment = SystemClock().now()
    jobs = _scheduling.jobs_of(now.stack)
    for known in state.job_states(now.stack.settings.stack, jobs, moment):
        if known.next_due is not None and known.next_due <= moment:
            now.result("due", known)
            now.show(f"{known.name} is due since {known.next_due:%Y-%m-%d %H:%M} UTC.")
    return ExitCode.OK


app.command("install")(_schedule_installing.install)
app.command("remove")(_schedule_installing.remove)
