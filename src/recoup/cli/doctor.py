"""`recoup doctor`: what would stop a backup."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def doctor(
    context: typer.Context,
    storage: Annotated[
        bool,
        typer.Option(
            "--storage",
            help="Try what the repositories' storages can and cannot do, with objects below a folder of their own "
            "that are removed again.",
        ),
    ] = False,
) -> ExitCode:
    """Say what would stop a backup, and how to mend it. Changes nothing."""
    from recoup.cli import _tables

    now = session(context)
    report = now.stack.doctor_storage() if storage else now.stack.doctor()
    for finding in report.findings:
        now.result("finding", finding)
    now.show(_tables.doctor_report(report))
    return report.exit_code
