"""`recoup init`: look around, write a commented configuration, create the repositories."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode

if TYPE_CHECKING:
    from recoup.config.discover import Found

FILE = "recoup.yaml"


@verb
def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The application's folder.")] = Path(),
    stack: Annotated[
        str | None, typer.Option(metavar="NAME", help="The stack's name; the folder's own by default.")
    ] = None,
) -> ExitCode:
    """Look around, write a commented recoup.yaml, and create its repositories.

    A recoup.yaml that is there, or what -c or RECOUP_CONFIG names, stays as it is; then its repositories are created if they
    are missing. Nothing else creates a repository: a backup into a missing one fails, so that an unmounted disk is noticed.
    """
    now = session(context)
    file, found = folder / FILE, None
    if not now.config and (named := os.environ.get("RECOUP_CONFIG")):
        now.config = [Path(named)]
    if not now.config and not file.exists():
        from recoup.config.discover import discover, render, stack_name

        found = discover(folder.resolve(), os.environ)
        text = render(found, stack or stack_name(folder.resolve()))
        if now.dry_run:
            now.out.print(text, markup=False, soft_wrap=True)
            return ExitCode.OK
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(text)
        now.show(_told(file, found))
    elif not now.config:
        now.show(f"{file} is there already and stays as it is.")
    if not now.config:
        now.config = [file]
    if now.dry_run:
        return ExitCode.OK
    created = now.stack.create_repositories()
    for name, location in created.items():
        now.show(f"Created the repository {name} at {location}.")
    if not created:
        now.show("All configured repositories were there already.")
    others = list(found.others) if found else []
    now.result("init", {"config": [str(path) for path in now.config], "created": created, "not_backed_up": others})
    now.stack.require_keys()
    for advice in now.stack.key_advice:
        now.show(advice)
    now.show("Next: recoup doctor, then recoup backup.")
    return ExitCode.OK


def _told(file: Path, found: "Found") -> str:
    """What was written, and what a person would else take for backed up."""
    lines = [f"Wrote {file}, which backs up:", *(f"  {one.name}  {one.kind}  {one.path}" for one in found.sources)]
    if not found.sources:
        lines = [f"Wrote {file}. Nothing was found that can be backed up: add your stores to its `sources`."]
    if found.others:
        lines += ["Also found, and NOT backed up by it:", *(f"  {sentence}" for sentence in found.others)]
    return "\n".join(lines)
