"""`recoup status`: how safe the stack is now."""

from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from recoup.cli._session import Session


@verb
def status(
    context: typer.Context,
    nagios: Annotated[
        bool,
        typer.Option(
            "--nagios",
            help="Print one line with measures for Nagios, Icinga and the like; exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
        ),
    ] = False,
    counts: Annotated[
        bool,
        typer.Option(
            "--counts",
            help="First a line with the number of good copies of each kind of database that are not too old: "
            "`Backup Status: PostgreSQL: 1, Qdrant: 1`. Not with --nagios.",
        ),
    ] = False,
    notify: Annotated[
        bool, typer.Option("--notify", help="Tell whom `notify` names of what is wrong, and of what is right again.")
    ] = False,
) -> ExitCode:
    """Say how old each source's newest good copy is, whether it is proven, and what is wrong.

    Exit code 0 when nothing is wrong, 3 when something is, 1 when nothing is held at all.
    """
    now = session(context)
    if nagios:
        raise typer.Exit(_for_nagios(now, notify=notify))
    from recoup.cli import _status_report
    from recoup.cli._running import looked
    from recoup.system.clock import SystemClock

    report = looked(now, notify=notify)
    now.result("status", report)
    if counts:
        kinds = {name: kind for kind in _status_report.STORES for name in now.stack.sources_of_kind(kind)}
        now.show(_status_report.counting_line(report, kinds))
    moment = SystemClock().now()
    now.show(_status_report.table(report, moment))
    for problem in report.problems:
        now.show(_status_report.problem_line(problem))
    for line in _status_report.lines(report, moment):
        now.show(line)
    return report.exit_code


def _for_nagios(now: "Session", *, notify: bool) -> int:
    """Prints for Nagios and returns its exit code; whatever goes wrong is a line and a code, too."""
    from recoup.cli import _nagios
    from recoup.cli._running import looked

    if now.json:
        raise UsageError("--nagios and --json are two forms of the same thing", "Leave one of them out.")
    try:
        report = looked(now, notify=notify)
        code, text = _nagios.state(report), _nagios.text(report)
    except Exception as error:  # noqa: BLE001 - a plugin that fails has to say UNKNOWN
        code, text = _nagios.of_error(error)
    now.write(f"{now.masker(text)}\n")
    return code
