"""`recoup notify`: whether notices arrive."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode

app = typer.Typer(add_completion=False)


@app.callback()
def _notify() -> None:
    """Send test notices to whom the configuration names."""


@app.command()
@verb
def test(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Entries of `notify`; all by default.")
    ] = None,
) -> ExitCode:
    """Send a test notice to each entry of `notify`, and say whether it arrived.

    Exit code 1 when one did not. That the other side took it is known then; that a person reads it only that person knows.
    """
    now = session(context)
    if now.dry_run:
        for receiver in now.stack.receivers:
            now.show(f"Would send a test notice to {receiver.name}.")
        return ExitCode.OK
    results = now.stack.test_notices(names or ())
    for name, reason in results.items():
        now.result("notice", {"receiver": name, "arrived": not reason, "error": reason})
        now.show(f"{name}: did NOT arrive: {reason}" if reason else f"{name}: arrived")
    return ExitCode.FAILED if any(results.values()) else ExitCode.OK
