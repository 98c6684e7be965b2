"""Whether what was installed for a schedule is there still, and whether anybody goes by it."""

import os
from collections.abc import Mapping
from pathlib import Path

from recoup.errors import RecoupError
from recoup.model.structs import Struct
from recoup.scheduler import _systemd
from recoup.scheduler._installed import SCHEDULE, installed
from recoup.scheduler.installing import cron_runs, present_account
from recoup.scheduler.placing import place_of
from recoup.system.markedfiles import MarkedFile, Standing

_AGAIN = "Run `recoup schedule install` again; `recoup schedule remove` forgets it."
_FAULTS = {
    Standing.MISSING: "it was installed, and is gone",
    Standing.EDITED: "it was changed after it was installed",
    Standing.FOREIGN: "it was installed, and something else is there now",
}


class Entry(Struct):
    """One thing that was installed.

    Attributes:
        name: a path, or `crontab of ACCOUNT`.
        fault: what is wrong with it, one sentence; empty when nothing is.
        hint: what to do.
    """

    name: str
    fault: str = ""
    hint: str = ""


def entries(stack: str, environ: Mapping[str, str] = os.environ) -> tuple[Entry, ...]:
    """What was installed for a stack's schedule by this account, each with what is wrong; empty when nothing was.

    Args:
        stack: its name.
        environ: the environment.

    Raises:
        StateError: what is remembered cannot be read.
    """
    return tuple(_entry(name, stack, environ) for name in installed(stack, SCHEDULE))


def _entry(name: str, stack: str, environ: Mapping[str, str]) -> Entry:
    try:
        place = place_of(name, stack, present_account())
        standing = place.standing()
    except (RecoupError, OSError) as error:
        return Entry(name, f"it cannot be looked at: {error}", getattr(error, "hint", "") or "Run this as root (sudo).")
    if standing in _FAULTS:
        return Entry(name, _FAULTS[standing], _AGAIN)
    unit = place.path if isinstance(place, MarkedFile) and place.path.suffix in (".timer", ".service") else None
    if unit is None and not cron_runs():
        return Entry(
            name, "no cron is running here, so nobody calls the schedule", "Start cron, as with `systemctl start cron`."
        )
    return Entry(name, *_of_unit(unit, environ)) if unit is not None else Entry(name)


def _of_unit(path: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """What is wrong with a unit that has to be active: a timer, or a daemon, which is a service that notifies."""
    if path.suffix == ".service" and "\nType=notify\n" not in path.read_text(encoding="utf-8"):
        return "", ""
    if not _systemd.runs():
        return "systemd does not run here, so nobody calls the schedule", "Use --cron, or run `recoup daemon`."
    user = path.parent == _systemd.user_folder(environ)
    if _systemd.is_active(path.name, user=user):
        return "", ""
    manager = "systemctl --user" if user else "systemctl"
    return (
        "systemd does not have it active",
        f"See `{manager} status {path.name}`; `{manager} enable --now {path.name}`.",
    )
