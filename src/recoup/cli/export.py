"""`recoup export`: a set as a plain repository."""

import sys
from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode
from recoup.model import figures


@verb
def export(
    context: typer.Context,
    to: Annotated[
        str, typer.Option("--to", metavar="DIR|FILE.tar|-", help="A folder, a tar, or a tar on standard output.")
    ],
    set: Annotated[  # noqa: A002 - the noun of the field
        str, typer.Argument(metavar="SET", help="A set.")
    ] = "latest",
) -> ExitCode:
    """Write a set as a plain repository that other programs can read, unencrypted.

    A folder becomes a repository with this set, or gets it in addition; `recoup -r DIR restore` reads it, and so does any
    program that reads files. Every byte is checked on the way, and nothing is left of an export that fails.
    """

    now = session(context)
    plan = now.stack.plan_export(set, to)
    aside = now.say if to == "-" else now.show  # standard output is the tar's
    if plan.was_sealed:
        now.say("Warning: what is exported is not encrypted any more: keep it where nobody else can read it.")
    if now.dry_run:
        now.result(
            "plan", {"set": plan.info.name, "repository": plan.repository, "to": plan.where, "bytes": plan.bytes}
        )
        aside(f"Would export {plan.info.name} of {plan.repository} to {plan.where}: {figures.size(plan.bytes)}.")
        return ExitCode.OK
    with now.news():
        report = now.stack.export(plan, wait_lock=now.wait_lock, output=sys.stdout.buffer)
    if to != "-":
        now.result("export", report)
    aside(
        f"{report.set}: {figures.size(report.bytes)} exported to {report.target} in {figures.duration(report.seconds)}."
    )
    return ExitCode.OK
