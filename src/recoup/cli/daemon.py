"""`recoup daemon`: the schedule as a service."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from recoup.cli._options import Grace
from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode


@verb
def daemon(
    context: typer.Context,
    grace: Grace = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="[HOST:]PORT", help="Answer Prometheus at /metrics; of this machine only, by default."
        ),
    ] = None,
) -> ExitCode:
    """Run the schedule in the foreground, for containers and systemd.

    One job runs at a time; another one that is due waits. SIGTERM and Ctrl-C end the running job cleanly, then the daemon, with
    0; what was interrupted is run again after the next start. SIGHUP reads the configuration again; a wrong one is refused, and
    the old one stays. Exit code 11 when something else runs this schedule already.
    """
    from recoup.cli import _scheduling
    from recoup.scheduler import outlook

    now = session(context)
    if now.dry_run:
        for job in _scheduling.jobs_of(now.stack):
            now.show(f"Would run {job.name}, {outlook.when(job)}: recoup {' '.join(job.arguments)}")
        return ExitCode.OK
    _scheduling.serve(now, "recoup daemon", grace, beside=_answering(now, metrics))
    return ExitCode.OK


@contextlib.contextmanager
def _answering(now: Session, place: str | None) -> Iterator[None]:
    """Serves metrics meanwhile, if a place is given."""
    if place is None:
        yield
        return
    from recoup.scheduler.metrics import address, serve

    with serve(address(place), lambda: now.stack.metrics()) as (host, port):  # noqa: PLW0108 - a reload makes another stack
        now.say(f"Metrics are at http://{host}:{port}/metrics")
        yield
