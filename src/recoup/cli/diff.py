"""`recoup diff`: what changed from one set to another."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(metavar="SET", help="A set.")],
    after: Annotated[str, typer.Argument(metavar="OTHER", help="Another one.")] = "latest",
) -> ExitCode:
    """Say what changed from one set to another.

    By source and part, of folders by member: what is new, gone, or has another content, and how many bytes. In a dedup
    repository also the chunks that the second set has and the first has not, and what they take. Contents are not read, so
    this is quick; where nothing tells whether they are the same, that is said.
    """
    from recoup.cli import _diff_report

    now = session(context)
    with now.news():
        report = now.stack.diff(before, after, wait_lock=now.wait_lock)
    now.result("diff", report)
    for line in _diff_report.lines(report, named=None if now.verbose else _diff_report.FEW):
        now.show(line)
    return ExitCode.OK
