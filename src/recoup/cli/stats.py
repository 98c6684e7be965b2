"""`recoup stats`: what sets hold and take."""

import sys

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def stats(context: typer.Context) -> ExitCode:
    """Say what the sets hold, what they take, and how that grows.

    For each repository: what a restore of all its sets would write, what different chunks hold (in a dedup repository), and
    what lies there; for each set what it added. With -v every set has a line, else the chart has one for each few.
    """
    from recoup.cli import _stats_report

    now = session(context)
    with now.news():
        found = now.stack.stats(wait_lock=now.wait_lock)
    for one in found:
        now.result("stats", one)
        for line in _stats_report.lines(one, every=now.verbose > 0, plain=not _draws()):
            now.show(line)
    for line in now.stack.unread:
        now.result("unread", {"message": line})
        now.say(f"Warning: {line}")
    whole = not now.stack.unread and not any(one.unread or one.problem for one in found)
    return ExitCode.OK if whole else ExitCode.INCOMPLETE


def _draws() -> bool:
    """Whether standard output takes the characters that bars are made of."""
    try:
        "█▓".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
