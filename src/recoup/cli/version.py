"""`recoup version`."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def version(
    context: typer.Context,
    exit_codes: Annotated[bool, typer.Option("--exit-codes", help="Print the table of exit codes.")] = False,
) -> ExitCode:
    """Print the versions of Recoup and of the formats that it writes."""
    import platform
    from importlib.metadata import version as installed

    from recoup.model.manifest import VERSION as MANIFEST
    from recoup.repository.plain.repository import VERSION as REPOSITORY

    now = session(context)
    facts = {
        "recoup": installed("recoup"),
        "manifest": MANIFEST,
        "repository": REPOSITORY,
        "python": platform.python_version(),
    }
    now.result("version", facts)
    now.show(
        f"recoup {facts['recoup']} (repository format {REPOSITORY}, manifest {MANIFEST}, Python {facts['python']})"
    )
    if exit_codes:
        from recoup.model.exit_codes import exit_code_table

        for code, meaning in exit_code_table():
            now.show(f"{code:>3}  {meaning}")
    return ExitCode.OK
