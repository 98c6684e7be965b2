"""`recoup schedule install` and `remove`: cron or systemd calls the schedule, and stops doing so."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from recoup.cli._installing import configuration, show_plan, told, typed
from recoup.cli._session import Session, session, verb
from recoup.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from recoup.config.loading import Loaded
    from recoup.scheduler.installing import How, Installation
    from recoup.scheduler.units import Call, Confinement

Root = Annotated[Path, typer.Option("--root", metavar="DIR", hidden=True, help="Folder that stands for /.")]
Force = Annotated[bool, typer.Option("--force", help="Also what was changed after it was installed.")]


@verb
def install(
    context: typer.Context,
    cron: Annotated[bool, typer.Option("--cron", help="Let cron call it.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="Let systemd call it.")] = False,
    user: Annotated[
        bool | None,
        typer.Option("--user/--system", help="For this account alone, or for the machine, which root does by default."),
    ] = None,
    daemon: Annotated[
        bool,
        typer.Option("--daemon", help="With --systemd: keep `recoup daemon` running, instead of a call each minute."),
    ] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the file or of the units; recoup-STACK by default.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--as", metavar="ACCOUNT", help="With --system: who runs it; by default who installs it."),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option("--env", metavar="A,B", help="Variables that go along with their present values; no secrets."),
    ] = None,
    force: Force = False,
    root: Root = Path("/"),
) -> ExitCode:
    """Have cron or systemd call the schedule. Shows what it writes; -n only shows, with all that the files say.

    With --system cron gets the file /etc/cron.d/NAME and systemd gets units; with --user cron gets lines in the account's
    crontab. They call `recoup schedule tick` each minute, `recoup status --notify` each hour and `recoup recover` at boot. What
    was installed before for the same stack goes away.
    """
    from recoup.scheduler import installing
    from recoup.scheduler.state import given_up

    now = session(context)
    if cron == systemd:
        raise UsageError("say who calls the schedule: --cron or --systemd")
    loaded = configuration(now)
    how = _how(loaded, by_cron=cron, user=user, daemon=daemon, name=name, account=account, root=root)
    planned = installing.planned(
        *_call(loaded, how, [part.strip() for part in (env or "").split(",") if part.strip()]), force=force
    )
    show_plan(now, planned.plan, "schedule")
    _show_commands(now, planned)
    if now.dry_run:
        return ExitCode.OK
    if not how.user and planned.plan.changes:
        now.confirm("Change this machine so?")
    installing.install(planned)
    given_up(loaded.settings.stack)  # what was installed before may have been another configuration's
    now.result("install", {"schedule": [step.name for step in planned.plan.steps if step.act != "remove"]})
    done = "was there already" if not planned.plan.changes else "is installed"
    working = planned.is_live or how.by == "cron"
    now.show(f"The schedule of {loaded.settings.stack} {done}{'' if working else ', and has to be started'}.")
    now.show("Next: recoup schedule show")
    return ExitCode.OK


def _how(
    loaded: "Loaded",
    *,
    by_cron: bool,
    user: bool | None,
    daemon: bool,
    name: str | None,
    account: str | None,
    root: Path,
) -> "How":
    from recoup.config._schedule import SAMPLE
    from recoup.scheduler.installing import How, present_account

    if not loaded.settings.schedule:
        raise ConfigError("the configuration has no `schedule`", f"Say what runs when, for example:\n{SAMPLE}")
    alone = os.geteuid() != 0 if user is None else user
    if alone and account is not None:
        raise UsageError("--as goes with --system: an account's own schedule is run by that account")
    return How(
        by="cron" if by_cron else "systemd",
        user=alone,
        daemon=daemon,
        name=name or f"recoup-{loaded.settings.stack}",
        account=account or present_account(),
        root=root.absolute(),
    )


def _call(loaded: "Loaded", how: "How", along: list[str]) -> "tuple[Call, How, Confinement]":
    """How Recoup is called, when the configuration means the same then as now."""
    from recoup.config import unattended
    from recoup.scheduler import installing, units

    home = (
        os.environ.get("HOME", "") if how.account == installing.present_account() else installing.home_of(how.account)
    )
    kept = unattended.chosen(loaded, os.environ, along)
    unattended.require_unattended(loaded, os.environ, home, kept)
    words, written = unattended.words(loaded), unattended.written(loaded)
    call = units.Call(
        stack=loaded.settings.stack,
        program=installing.program(),
        configs=tuple(map(str, loaded.files)),
        account="" if how.user else how.account,
        environment=installing.environment(how, os.environ, words) | kept,
    )
    places = [*words, *written, *_sockets(loaded), *map(str, loaded.files), *call.environment.values()]
    return call, how, units.confinement(places, written)


def _sockets(loaded: "Loaded") -> list[str]:
    """Where the client library of PostgreSQL may look for a server that has no host."""
    found = [options for options in loaded.sources.values() if options.kind == "postgres"]
    hosts = [getattr(options, "host", "") or urlsplit(getattr(options, "url", "")).hostname for options in found]
    return [] if all(hosts) else ["/tmp"]  # noqa: S108 - not a file of ours


def _show_commands(now: Session, planned: "Installation") -> None:
    from recoup.scheduler import installing

    for sentence in (*planned.faults, *installing.doubts(planned.how)):
        now.say(f"Warning: {sentence}")
    if planned.commands and planned.is_live:
        now.show(f"Then:\n{typed(planned.commands)}")
    elif planned.commands:
        now.show(f"systemd does not run here. Where it does, type afterwards:\n{typed(planned.commands)}")


@verb
def remove(context: typer.Context, force: Force = False, root: Root = Path("/")) -> ExitCode:
    """Take away what `schedule install` installed for this stack, and look whether it is gone.

    The schedule in the configuration, and the backups, stay.
    """
    from recoup.scheduler import installing

    now = session(context)
    stack = configuration(now).settings.stack
    plan = installing.removal(stack, root.absolute(), force=force)
    if not plan.steps and not plan.gone:
        now.result("remove", {"removed": [], "left": []})
        now.show(f"Nothing is installed for {stack}.")
        return ExitCode.OK
    show_plan(now, plan, "schedule")
    if now.dry_run:
        return ExitCode.OK
    if plan.changes:
        now.confirm("Remove it?")
    installing.remove(plan)
    return told(now, plan)
