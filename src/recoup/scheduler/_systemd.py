"""What systemd is told about units: that they are there, which ones to start, which ones to end."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from recoup.errors import RecoupError
from recoup.system.programs import ProgramFailedError, ended

SYSTEM_FOLDER = Path("/etc/systemd/system")
_BOOTED = Path("/run/systemd/system")  # sd_booted(3): there when systemd runs the machine
_PATIENCE = 300.0  # seconds: a daemon that ends has three minutes for what it is doing


def user_folder(environ: Mapping[str, str]) -> Path:
    """Where an account's own units lie, systemd.unit(5)."""
    chosen = environ.get("XDG_CONFIG_HOME", "")
    root = Path(chosen) if Path(chosen).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".config"
    return root / "systemd" / "user"


def runs() -> bool:
    """Whether systemd runs this machine."""
    return _BOOTED.is_dir()


def starting(started: Sequence[str], at_boot: str, *, user: bool, again: bool) -> list[list[str]]:
    """The commands that make units work.

    Args:
        started: units that are enabled and started.
        at_boot: unit that is enabled.
        user: for the account's own manager.
        again: whether those that run already are started anew, as their text changed.
    """
    commands = [["daemon-reload"], ["enable", "--now", *started], ["enable", at_boot]]
    return _systemctl([*commands, *([["restart", *started]] if again else [])], user=user)


def ending(names: Sequence[str], *, user: bool) -> list[list[str]]:
    """The commands that end units, before their files go. A service that a timer started ends by itself, as the run in it
    is a backup that somebody wants.

    Args:
        names: of the units that are there.
        user: as before.
    """
    timers = {name.removesuffix(".timer") for name in names if name.endswith(".timer")}
    ended_now = [name for name in names if name.removesuffix(".service") not in timers]
    return _systemctl([["disable", "--now", *ended_now]], user=user) if ended_now else []


def reloading(*, user: bool) -> list[list[str]]:
    """The command by which systemd learns that files came or went."""
    return _systemctl([["daemon-reload"]], user=user)


def _systemctl(commands: Sequence[Sequence[str]], *, user: bool) -> list[list[str]]:
    manager = ["systemctl", *(["--user"] if user else [])]
    return [[*manager, *command] for command in commands]


def tell(commands: Sequence[Sequence[str]]) -> None:
    """Runs commands, one after the other.

    Raises:
        RecoupError: one failed; the later ones were not run.
    """
    for command in commands:
        line = " ".join(command)
        try:
            done = ended(command, timeout=_PATIENCE)
        except ProgramFailedError as error:
            raise RecoupError(
                f"`{line}` cannot be run: {error}", "Run it by hand, and the same command again."
            ) from None
        if done.code:
            said = done.said.splitlines()[-1:] or ["it said nothing"]
            raise RecoupError(
                f"`{line}` failed (exit {done.code}): {said[0]}",
                "The files are in their place, but systemd does not go by them. Mend that, and run the same command again.",
            )


def faults(units: Mapping[str, str], *, user: bool) -> list[str]:
    """What `systemd-analyze verify` says against units; nothing where it is not there or cannot judge.

    Args:
        units: texts by file name.
        user: whether they are for an account's own manager.
    """
    if shutil.which("systemd-analyze") is None:
        return []
    with tempfile.TemporaryDirectory(prefix="recoup-units-") as folder:
        paths = [Path(folder) / name for name in units]
        for path, text in zip(paths, units.values(), strict=True):
            path.write_text(text)
        manager = ["--user"] if user else []
        try:
            done = ended(["systemd-analyze", "--man=no", *manager, "verify", *map(str, paths)], timeout=60)
        except ProgramFailedError:
            return []
    return [line.replace(f"{folder}{os.sep}", "") for line in done.said.splitlines() if any(n in line for n in units)]


def is_active(unit: str, *, user: bool) -> bool:
    """Whether systemd says that a unit is active: for a timer, that it waits for its time."""
    command = _systemctl([["is-active", "--quiet", unit]], user=user)[0]
    try:
        return ended(command, timeout=30).code == 0
    except ProgramFailedError:
        return False
