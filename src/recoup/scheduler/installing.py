"""Having cron or systemd call the schedule: what that needs on this machine, done, looked at, and taken away again."""

import os
import pwd
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from recoup.errors import RefusedError, UsageError
from recoup.model.structs import Struct
from recoup.scheduler import _systemd, units
from recoup.scheduler._crontab import CrontabBlock, found_for
from recoup.scheduler._installed import SCHEDULE
from recoup.scheduler.placing import Place, Plan, Step, carry_out, found_in, plan_install, plan_removal
from recoup.system.markedfiles import MarkedFile
from recoup.system.subprocesses import OWN_MODULES

CRON_FOLDER = Path("/etc/cron.d")
_STANDARD_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PROGRAMS = ("pg_dump", "pg_restore", "psql", "gpg", "docker", "podman", "systemctl", "sudo")
_HANDED_ON = ("XDG_STATE_HOME", "TZ")  # where runs are remembered, and what two in the night is
_CRON_DAEMONS = {"cron", "crond", "fcron", "bcron-sched", "dcron"}
_CRON_AS_TIMERS = Path("/usr/lib/systemd/system-generators/systemd-crontab-generator")  # systemd-cron has no process


class How(Struct):
    """How the schedule is called.

    Attributes:
        by: `cron` or `systemd`.
        user: for the account alone, and not for the machine.
        daemon: by a `recoup daemon` that systemd keeps running, and not by a call each minute.
        name: of cron's file, or what the units' names begin with.
        account: who runs it.
        root: folder that stands for `/`: another one is an image that is being made, where nothing runs.
    """

    by: Literal["cron", "systemd"]
    user: bool
    daemon: bool
    name: str
    account: str
    root: Path = Path("/")

    def __post_init__(self) -> None:
        units.checked_name(self.name)
        if self.daemon and self.by != "systemd":
            raise UsageError("--daemon goes with --systemd: cron starts programs, and keeps none running")


class Installation(Struct):
    """A planned installation.

    Attributes:
        plan: what is written, replaced and removed.
        how: how the schedule is called.
        commands: what systemd is told afterwards.
        faults: what `systemd-analyze verify` says against the units.
    """

    plan: Plan
    how: How
    commands: tuple[tuple[str, ...], ...]
    faults: tuple[str, ...]

    @property
    def is_live(self) -> bool:
        """Whether the commands can be run here, and are."""
        return self.how.root == Path("/") and _systemd.runs()


def present_account() -> str:
    """Name of the account that runs this; its number where it has no name, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def home_of(account: str) -> str:
    """An account's home folder.

    Raises:
        UsageError: there is no such account.
    """
    try:
        return pwd.getpwnam(account).pw_dir
    except KeyError:
        raise UsageError(f"there is no account {account!r} on this machine") from None


def program() -> tuple[str, ...]:
    """How this Recoup is called from anywhere: the script beside its Python, else the module."""
    script = Path(sys.executable).with_name("recoup")
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, *OWN_MODULES, "-m", "recoup")


def environment(how: How, environ: Mapping[str, str], words: Iterable[str]) -> dict[str, str]:
    """The variables that cron or systemd set: a short PATH, and what says where runs are remembered and which time is meant.

    Args:
        how: for whom.
        environ: the present environment.
        words: of the configuration, among them programs.
    """
    programs = {*_PROGRAMS, *(word for word in words if word and "/" not in word and len(word) < 64)}
    folders = [folder for folder in environ.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    useful = [f for f in folders if any(shutil.which(name, path=f) for name in programs)]
    kept = [folder for folder in useful if how.user or not _others_write(Path(folder))]
    found = {"PATH": os.pathsep.join(dict.fromkeys((*kept, *_STANDARD_PATH)))}
    if how.account == present_account():
        found |= {name: value for name in _HANDED_ON if (value := environ.get(name, ""))}
        if (home := environ.get("HOME", "")) and home != _passwd_home():
            found["HOME"] = home  # sudo may keep that of who typed it; cron and systemd take the account's own
    return found


def _passwd_home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def _others_write(path: Path) -> bool:
    """Whether somebody besides root and this account may change what lies in a folder, or the folder itself."""
    trusted = {0, os.geteuid()}
    for folder in (path, *path.parents):
        there = folder.stat()
        sticky = there.st_mode & 0o1000
        if there.st_uid not in trusted or (there.st_mode & 0o022 and not sticky):
            return True
    return False


def doubts(how: How) -> list[str]:
    """What a person should know before the schedule is installed."""
    said = []
    if how.account == "root" and _others_write(Path(program()[0]).parent):
        said.append(
            f"root will run {program()[0]}, which others than root may change: install Recoup where only root writes"
        )
    if how.by == "cron" and how.root == Path("/") and not cron_runs():
        said.append("no cron is running here: nothing will call the schedule until one does")
    if how.by == "systemd" and how.user and not Path("/var/lib/systemd/linger", how.account).exists():
        said.append(f"units of an account stop when it logs out, unless: loginctl enable-linger {how.account}")
    return said


def cron_runs() -> bool:
    """Whether a cron runs here, as far as processes show it (Linux: /proc); True where that cannot be seen."""
    if not Path("/proc/self/comm").exists() or _CRON_AS_TIMERS.exists():
        return True
    return any(_name_of(path) in _CRON_DAEMONS for path in Path("/proc").glob("[0-9]*/comm"))


def _name_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # gone meanwhile
        return ""


def planned(
    call: units.Call,
    how: How,
    confined: units.Confinement,
    environ: Mapping[str, str] = os.environ,
    *,
    force: bool = False,
) -> Installation:
    """What an installation would do; changes nothing.

    Args:
        call: how Recoup is called.
        how: by whom.
        confined: what systemd takes away from the runs.
        environ: the environment.
        force: also what was changed since is replaced.

    Raises:
        RefusedError: something is in the way that is not ours, or cron is not installed.
    """
    others = _unrecorded(how.root, environ, call.stack)
    if how.by == "cron":
        place = _cron_place(call, how)
        plan = plan_install(call.stack, SCHEDULE, [place], present_account(), instead=others, force=force)
        return Installation(plan, how, (), ())
    texts = units.systemd_units(call, how.name, confined, user=how.user, daemon=how.daemon)
    folder = _systemd.user_folder(environ) if how.user else _below(how.root, _systemd.SYSTEM_FOLDER)
    places = [MarkedFile(folder / name, call.stack, text) for name, text in texts.items()]
    plan = plan_install(call.stack, SCHEDULE, places, present_account(), instead=others, force=force)
    again = any(step.act == "replace" for step in plan.steps)
    started = units.started_units(how.name, daemon=how.daemon)
    commands = _systemd.starting(started, units.boot_unit(how.name), user=how.user, again=again)
    if {("replace", f"{how.name}.service"), ("write", f"{how.name}.timer")} <= {_act(step) for step in plan.steps}:
        commands = [*_systemd.ending([f"{how.name}.service"], user=how.user), *commands]  # that was a daemon
    return Installation(plan, how, tuple(map(tuple, commands)), tuple(_systemd.faults(texts, user=how.user)))


def _act(step: Step) -> tuple[str, str]:
    return step.act, Path(step.name).name


def _cron_place(call: units.Call, how: How) -> Place:
    if how.user:
        return CrontabBlock(present_account(), call.stack, units.crontab_lines(call))
    folder = _below(how.root, CRON_FOLDER)
    if not folder.is_dir():
        raise RefusedError(
            f"there is no {folder}: cron is not installed here", "Choose --systemd, or run `recoup daemon`."
        )
    return MarkedFile(folder / how.name, call.stack, units.cron_file(call))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def install(installation: Installation, environ: Mapping[str, str] = os.environ) -> None:
    """Does it. Units that are replaced by another way of calling are ended first.

    Raises:
        RecoupError: something failed; the same command goes on where it ended.
    """
    for step in installation.plan.steps:
        if isinstance(step.place, MarkedFile) and step.act == "write":
            step.place.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _carried_out(installation.plan, environ)
    if installation.is_live:
        _systemd.tell(installation.commands)


def removal(
    stack: str, root: Path = Path("/"), environ: Mapping[str, str] = os.environ, *, force: bool = False
) -> Plan:
    """What a removal would take away: what was recorded, and what else of this stack lies in the usual places.

    Args:
        stack: whose.
        root: folder that stands for `/`.
        environ: the environment.
        force: also what was changed since.
    """
    also = _unrecorded(root, environ, stack)
    return plan_removal(stack, SCHEDULE, present_account(), also=also, force=force)


def _unrecorded(root: Path, environ: Mapping[str, str], stack: str) -> tuple[str, ...]:
    """What of a stack lies in the usual places, whoever installed it: its record may be lost."""
    folders = (_below(root, CRON_FOLDER), _below(root, _systemd.SYSTEM_FOLDER), _systemd.user_folder(environ))
    lines = found_for(present_account(), stack) if root == Path("/") else ()
    return (*found_in(folders, stack), *lines)


def remove(plan: Plan, environ: Mapping[str, str] = os.environ) -> None:
    """Takes it away, and looks whether it is gone.

    Raises:
        RecoupError: something failed; the same command goes on where it ended.
    """
    _carried_out(plan, environ)


def _carried_out(plan: Plan, environ: Mapping[str, str]) -> None:
    """Ends the units whose files go, removes and writes files, and tells systemd when some went."""
    going = {user: _going(plan, user=user, environ=environ) for user in (False, True)}
    live = {user: names for user, names in going.items() if names and _systemd.runs()}
    for user, names in live.items():
        _systemd.tell(_systemd.ending(names, user=user))
    carry_out(plan)
    for user in live:
        _systemd.tell(_systemd.reloading(user=user))


def _going(plan: Plan, *, user: bool, environ: Mapping[str, str]) -> Sequence[str]:
    """Units of this machine that the plan removes."""
    folder = _systemd.user_folder(environ) if user else _systemd.SYSTEM_FOLDER
    places = [step.place for step in plan.steps if step.act == "remove"]
    return [place.path.name for place in places if isinstance(place, MarkedFile) and place.path.parent == folder]
