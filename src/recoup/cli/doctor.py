"""`recoup doctor`: what would stop a backup."""

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def doctor(context: typer.Context) -> ExitCode:
    """Say what would stop a backup, and how to mend it. Changes nothing."""
    from recoup.cli import _tables

    now = session(context)
    report = now.stack.doctor()
    for finding in report.findings:
        now.result("finding", finding)
    now.show(_tables.doctor_report(report))
    return report.exit_code
