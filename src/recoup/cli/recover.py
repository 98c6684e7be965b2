"""`recoup recover`: put right what killed runs left at the sources."""

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode, UsageError


@verb
def recover(context: typer.Context) -> ExitCode:
    """Put right what killed runs left: restores half done, services left stopped.

    Every backup and restore does so first. This is for systemd (ExecStopPost) and for the next boot.
    """
    now = session(context)
    if now.dry_run:
        raise UsageError("what killed runs left is not known before it is put right", "Leave out -n.")
    code = ExitCode.OK
    with now.news():
        for found in now.stack.recover():
            now.result("put_right", found)
            for sentence in found.done:
                now.show(f"{found.source}: {sentence}")
            if found.error:
                now.say(f"{found.source}: {found.error}")
                code = ExitCode.FAILED
    return code
