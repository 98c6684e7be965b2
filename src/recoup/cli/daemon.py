"""`recoup daemon`: the schedule as a service."""

from typing import Annotated

import typer

from recoup.cli._options import seconds
from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def daemon(
    context: typer.Context,
    grace: Annotated[
        float,
        typer.Option("--grace", metavar="TIME", parser=seconds, help="Time that a job gets to end when this is ended."),
    ] = 30.0,
) -> ExitCode:
    """Run the schedule in the foreground, for containers and systemd.

    One job runs at a time; another one that is due waits. SIGTERM and Ctrl-C end the running job cleanly, then the daemon, with
    0; what was interrupted is run again after the next start. SIGHUP reads the configuration again; a wrong one is refused, and
    the old one stays. Exit code 11 when something else runs this schedule already.
    """
    from recoup.cli import _scheduling

    now = session(context)
    if now.dry_run:
        for job in _scheduling.jobs_of(now.stack):
            now.show(f"Would run {job.name}, {_scheduling.when(job)}: recoup {' '.join(job.arguments)}")
        return ExitCode.OK
    _scheduling.serve(now, "recoup daemon", grace)
    return ExitCode.OK
