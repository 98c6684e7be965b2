"""What cron and systemd are told, as text: they call Recoup each minute, and it does what is due.

Neither knows all that `schedule:` can say (cron has no time zones, intervals or jitter), so both only wake
`recoup schedule tick`, and a changed schedule needs no new installation. crontab(5), systemd.exec(5), systemd.timer(5).
"""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import PurePosixPath

from recoup.errors import UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
"""What cron reads in /etc/cron.d (Debian's run-parts rule): with a dot in its name a file is passed over in silence."""

_LONGEST = 990  # bytes of a line: Vixie cron reads commands of at most 998
_KEPT_READ_ONLY = ("/usr", "/boot", "/efi", "/etc")  # by ProtectSystem=full
_GRACE = ("--grace", "2m")  # for what a job does at its end, as starting a service again; systemd waits a little longer
_SHARED = re.compile(r"(?<![\w.-])/(var/)?tmp(?![\w-])")
_RIGHTS = re.compile(r"(?<![\w-])(sudo|doas|su|pkexec|podman)(?![\w-])")
"""Programs that get other rights than their caller's, as words of a configuration."""


class Call(Struct):
    """How Recoup is called.

    Attributes:
        stack: name of the stack.
        program: Recoup's program, absolute, with its first arguments.
        configs: configuration files, absolute, the weakest first.
        account: who runs it; empty in files of an account's own.
        environment: variables that it gets; cron and systemd hand on none of a person's.
    """

    stack: str
    program: tuple[str, ...]
    configs: tuple[str, ...]
    account: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (*self.program, *self.configs, *self.environment.values()):
            if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
                raise UsageError(f"{text!r} has a control character, which cron and systemd cannot be told")

    def command(self, *verb: str) -> tuple[str, ...]:
        """The argument list of a verb."""
        configs = [part for config in self.configs for part in ("-c", config)]
        return (*self.program, *configs, *verb)


class Confinement(Struct):
    """What systemd may take away from a stack's runs without harming them.

    Attributes:
        private_tmp: a /tmp of its own: nothing configured lies in the common one.
        rights: the way to other rights: no program that the configuration names needs it.
        writable: folders below /usr, /boot, /efi and /etc that are written to.
    """

    private_tmp: bool = True
    rights: bool = True
    writable: tuple[str, ...] = ()


def checked_name(name: str) -> str:
    """The name of what is installed.

    Raises:
        UsageError: cron would pass over a file of this name.
    """
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} is no name that cron reads: it passes over files with dots and other signs in their names",
            "Choose one of letters, digits, `-` and `_` with --name.",
        )
    return name


def confinement(texts: Iterable[str], written: Iterable[str]) -> Confinement:
    """What a stack's runs can do without. Where that is in doubt, they keep it: a backup that cannot run is the greater harm.

    Args:
        texts: all that the configuration says: its files, and its values.
        written: folders that are written to.
    """
    whole = "\n".join(texts)
    below = {folder for folder in written if any(PurePosixPath(folder).is_relative_to(top) for top in _KEPT_READ_ONLY)}
    return Confinement(not _SHARED.search(whole), not _RIGHTS.search(whole), tuple(sorted(below)))


def minute_of(stack: str) -> int:
    """The minute of an hour at which a stack is looked at: always the same, and seldom another stack's."""
    return hashlib.sha256(stack.encode()).digest()[0] % 60


# --- cron -----------------------------------------------------------------------------------------------------------------


def cron_file(call: Call) -> str:
    """A file for /etc/cron.d. Whom cron writes to is left to the machine: it has no MAILTO."""
    lines = [
        *_remarks(call),
        "SHELL=/bin/sh",
        *(_assigned(name, value) for name, value in call.environment.items()),
        *(f"{when} {call.account} {command}" for when, command in _entries(call, ())),
    ]
    return _checked(lines)


def _assigned(name: str, value: str) -> str:
    """A variable, as crontab(5) reads it: quotes around a value keep its blanks, and are taken off, so a value that begins with
    one needs others.
    """
    if value and value[0] not in "\"'" and value == value.strip():
        return f"{name}={value}"
    quote = next((sign for sign in "\"'" if sign not in value), None)
    if quote is None:
        raise UsageError(f"cron cannot be told the value of {name}, which has both kinds of quotes")
    return f"{name}={quote}{value}{quote}"


def crontab_lines(call: Call) -> str:
    """Lines for an account's own crontab: what they set counts for them alone, as other lines stand below them."""
    variables = ("/usr/bin/env", *(f"{name}={value}" for name, value in call.environment.items()))
    return _checked([*_remarks(call), *(f"{when} {command}" for when, command in _entries(call, variables))])


def _remarks(call: Call) -> list[str]:
    return [
        f"# Calls Recoup each minute for the backups of the stack {call.stack}. What runs when stands in its configuration",
        "# under `schedule`; `recoup schedule show` lists the next runs, `recoup schedule remove` takes this away.",
    ]


def _entries(call: Call, before: tuple[str, ...]) -> list[tuple[str, str]]:
    """When, and what. `-q`: cron mails whatever is printed, so only what went wrong is."""
    verbs = {
        "* * * * *": ("schedule", "tick"),
        f"{minute_of(call.stack)} * * * *": ("status", "--notify"),
        "@reboot": ("recover",),
    }
    return [(when, _for_cron((*before, *call.command("-q", *verb)))) for when, verb in verbs.items()]


def _for_cron(command: tuple[str, ...]) -> str:
    """A command line. Before the shell reads it, cron makes a line break of each `%` that has no backslash, and takes that
    away; a backslash of ours right before it is kept off by the end and the new beginning of the shell's quotes.
    """
    return shlex.join(command).replace("\\%", "\\''%").replace("%", "\\%")


def _checked(lines: list[str]) -> str:
    for line in lines:
        length = len(line.encode(errors="surrogateescape"))
        if length > _LONGEST:
            raise UsageError(
                f"the line for cron would have {length} bytes, and cron reads {_LONGEST}",
                "Give the configuration a shorter path.",
            )
    return "\n".join(lines) + "\n"


# --- systemd --------------------------------------------------------------------------------------------------------------


def systemd_units(call: Call, name: str, confined: Confinement, *, user: bool, daemon: bool) -> dict[str, str]:
    """The units, by file name.

    Args:
        call: how Recoup is called.
        name: what the units' names begin with.
        confined: what the runs can do without.
        user: whether they are for an account's own service manager, which can take little away from its units.
        daemon: whether `recoup daemon` runs all the time, instead of a call each minute.
    """
    style = _Style(call, tuple(_around(call, confined, user=user)), user)
    units = {
        f"{name}.service": _daemon(style) if daemon else _oneshot(style, "do what is due", "schedule", "tick", *_GRACE),
        f"{name}-status.service": _oneshot(style, "tell what is wrong", "status", "--notify"),
        f"{name}-status.timer": _timer(call, "once an hour", f"*:{minute_of(call.stack):02}"),
        f"{name}-recover.service": _recover(style),
    }
    if not daemon:
        units[f"{name}.timer"] = _timer(call, "each minute", "minutely")
    return units


def started_units(name: str, *, daemon: bool) -> tuple[str, ...]:
    """The units that are enabled and started; the others are started by these."""
    return (f"{name}.service" if daemon else f"{name}.timer", f"{name}-status.timer")


def boot_unit(name: str) -> str:
    """The unit that is enabled, and first started at the next boot."""
    return f"{name}-recover.service"


class _Style(Struct):
    """What the services have in common: the call, the lines around it, whose manager runs them."""

    call: Call
    around: tuple[str, ...]
    user: bool

    def service(self, what: str, lines: list[str], *, at_boot: bool = False) -> str:
        """A unit. Servers that are backed up are up first, where they are units of this machine."""
        unit = [*_about(self.call, what)]
        if not self.user:
            unit += ["Wants=network-online.target"]
            unit += ["After=network-online.target docker.service postgresql.service qdrant.service"]
        sections = {"Unit": unit, "Service": [*lines, *self.around]}
        if at_boot:
            sections["Install"] = [f"WantedBy={'default.target' if self.user else 'multi-user.target'}"]
        return _unit(sections)

    def put_right(self) -> str:
        """When a run was killed, a service that stood still for it is started at once, and not by the next run."""
        unless = 'test "$$SERVICE_RESULT" = success || exec "$$@"'
        return f"ExecStopPost=/bin/sh -c '{unless}' sh {_command(self.call.command('recover'))}"


def _oneshot(style: _Style, what: str, *verb: str) -> str:
    lines = ["Type=oneshot", f"ExecStart={_started(style.call.command(*verb))}"]
    return style.service(what, [*lines, style.put_right()] if verb[0] == "schedule" else lines)


def _daemon(style: _Style) -> str:
    """Restarted whatever it ended with: of a schedule that gave up, nobody hears in time."""
    lines = [
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={_started(style.call.command('daemon', *_GRACE))}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        style.put_right(),
        "WatchdogSec=5min",
        "Restart=always",
        "RestartSec=30",
    ]
    return style.service("do what is due", lines, at_boot=True)


def _recover(style: _Style) -> str:
    """A power cut may have left a service stopped for its backup."""
    lines = ["Type=oneshot", f"ExecStart={_started(style.call.command('recover'))}"]
    return style.service("put right what a power cut left", lines, at_boot=True)


def _timer(call: Call, how_often: str, calendar: str) -> str:
    return _unit(
        {
            "Unit": _about(call, f"wake it {how_often}"),
            "Timer": [f"OnCalendar={calendar}", "AccuracySec=1s", "Persistent=true"],
            "Install": ["WantedBy=timers.target"],
        }
    )


def _about(call: Call, what: str) -> list[str]:
    return [f"Description=Recoup, stack {call.stack}: {what}"]


def _around(call: Call, confined: Confinement, *, user: bool) -> list[str]:
    """What surrounds each run.

    `mixed` asks Recoup alone to end, which then ends its children in order and starts again what it stopped. `full` and not
    `strict`: SQLite and DuckDB write beside the files that they read. Devices, set-user-ID files and other accounts' homes are
    left within reach, as a backup reads, and a drill makes, whatever is there; `ProtectClock` is not said, as it closes all
    devices, and with them snapshots of LVM and ZFS.
    """
    lines = [f"User={call.account}"] if call.account else []
    lines += [f"Environment={_quoted(f'{name}={value}', dollar='$')}" for name, value in call.environment.items()]
    lines += ["KillMode=mixed", "TimeoutStopSec=3min", "UMask=0077", "Nice=10", "IOSchedulingPriority=7"]
    if not user:
        lines += [
            "ProtectSystem=full",
            *(f"ReadWritePaths={_quoted(f'-{path}', dollar='$')}" for path in confined.writable),
        ]
        lines += [f"PrivateTmp={'yes' if confined.private_tmp else 'no'}"]
    if confined.rights:
        lines += ["NoNewPrivileges=yes", "LockPersonality=yes", "RestrictRealtime=yes"]
    if confined.rights and not user:
        lines += ["ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes"]
        lines += ["ProtectControlGroups=yes", "ProtectHostname=yes"]
    return lines


def _unit(sections: Mapping[str, list[str]]) -> str:
    return "\n".join("\n".join([f"[{name}]", *lines, ""]) for name, lines in sections.items())


def _started(command: tuple[str, ...]) -> str:
    """A command line of a unit. Of its first word, the program, systemd resolves specifiers alone, and refuses some signs."""
    program, *arguments = command
    if any(sign in program for sign in "\"'\\"):
        raise UsageError(
            f"systemd starts no program whose path has quotes or backslashes: {program}",
            "Install Recoup elsewhere, or use --cron.",
        )
    return " ".join((_quoted(program, dollar="$"), *map(_quoted, arguments)))


def _command(command: tuple[str, ...]) -> str:
    return " ".join(map(_quoted, command))


def _quoted(text: str, dollar: str = "$$") -> str:
    """One word: systemd.syntax(7) for quotes, `%` begins a specifier, and in commands `$` a variable."""
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise UsageError(f"{shown(text)} is not UTF-8, which systemd wants", "Rename it, or use --cron.")
    plain = re.fullmatch(r"[A-Za-z0-9_@:,./+=-]+", text)
    if plain:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", dollar)
    return f'"{escaped}"'
