"""`recoup status`: how safe the stack is now."""

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def status(context: typer.Context) -> ExitCode:
    """Say how old each source's newest good copy is, and whether it is proven."""
    from recoup.cli import _figures, _tables

    now = session(context)
    report = now.stack.status()
    now.result("status", report)
    now.show(_tables.status_report(report))
    newest = f"newest {report.newest} ({report.newest_outcome})" if report.newest else "none yet"
    now.show(f"{_figures.counted(report.sets, 'set')}, {newest}.")
    return report.exit_code
