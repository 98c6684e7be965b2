"""What `schedule install`, `wrappers` and `uninstall` share: the configuration, and plans shown as lines."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recoup.cli._session import Session
from recoup.errors import ExitCode, UsageError
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.config.loading import Loaded
    from recoup.scheduler.placing import Plan

_WORDS = {
    "write": "Write  ",
    "replace": "Replace",
    "keep": "As it is",
    "remove": "Remove ",
    "leave": "LEFT, changed since it was installed:",
}


def configuration(now: Session, *, with_repository: bool = False) -> "Loaded":
    """The configuration, of files alone: what is installed runs later, without this command line.

    Args:
        now: the session.
        with_repository: whether `-r` has a meaning.

    Raises:
        UsageError: options were given that would not be there later.
    """
    from recoup.config import loading

    if now.overrides:
        raise UsageError(
            "--set counts for one run, and what is installed runs later", "Write it into the configuration."
        )
    if now.repository is not None and not with_repository:
        raise UsageError(
            "-r counts for one run, and the schedule runs later", "Its lines name repositories: `to` and `repository`."
        )
    loaded = loading.load(now.config, (), os.environ, Path.cwd())
    for warning in loaded.warnings:
        now.say(f"Warning: {warning}")
    return loaded


def show_plan(now: Session, plan: "Plan", purpose: str) -> None:
    """Lines of what will be done; with -n also what the files say."""
    rows = [{"act": step.act, "name": step.name} for step in plan.steps]
    now.result("plan", {"purpose": purpose, "steps": rows})
    for step in plan.steps:
        now.show(f"{_WORDS[step.act]} {shown(step.name)}")
        text = getattr(step.place, "text", "")
        if now.dry_run and step.act in ("write", "replace") and text:
            now.show("".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n"))
    for name in plan.gone:
        now.show(f"Gone already: {shown(name)}")


def typed(commands: Sequence[Sequence[str]]) -> str:
    """Commands as a person types them."""
    return "\n".join(f"  {' '.join(command)}" for command in commands)


def told(now: Session, plan: "Plan") -> ExitCode:
    """Says what is gone and what is left; REFUSED when something is."""
    removed = [step.name for step in plan.changes]
    now.result("remove", {"removed": removed, "left": plan.left})
    for name in removed:
        now.show(f"Removed, and looked: {shown(name)} is gone.")
    for name in plan.left:
        now.say(f"{shown(name)} is left, as it was changed after it was installed; --force removes it all the same.")
    return ExitCode.REFUSED if plan.left else ExitCode.OK
