"""Which machine and process we are, and whether another one still lives."""

import hashlib
import ipaddress
import os
import platform
import secrets
import socket
from datetime import datetime
from pathlib import Path

from recoup.model.manifest import Host
from recoup.model.owner import Owner


def this_host() -> Host:
    """Name and system of this machine."""
    return Host(socket.gethostname(), f"{platform.system()} {platform.machine()}")


def this_owner(now: datetime) -> Owner:
    """This process, as it signs locks and half-written sets."""
    pid = os.getpid()
    return Owner(socket.gethostname(), boot_id(), pid, _born(pid), now)


def is_dead(owner: Owner) -> bool:
    """True when `owner` certainly no longer runs: same machine, and another boot, or no such process.

    A process of another machine cannot be judged, so it is never called dead here.
    """
    if owner.host != socket.gethostname():
        return False
    if owner.boot and boot_id() and owner.boot != boot_id():
        return True
    return _process_is_gone(owner.pid, owner.born)


def _process_is_gone(pid: int, born: str) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    present = _born(pid)
    return bool(born and present and born != present) or is_zombie(pid)


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to notice (proc(5)): it holds nothing any more."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == b"Z"


def holder_token() -> str:
    """A fresh name for a temporary file or folder that says whose it is: host, boot, process, its start time, a random end.

    The name appears together with the thing that it names, so a run killed at any moment leaves nothing nameless behind.
    """
    pid = os.getpid()
    parts = (_short(socket.gethostname()), _short(boot_id()), str(pid), _born(pid) or "0", secrets.token_hex(4))
    return "-".join(parts)


def token_is_dead(token: str) -> bool:
    """True when the process that made `token` certainly no longer runs; False for what is no token."""
    match token.split("-"):
        case [host, boot, pid, born, _] if host == _short(socket.gethostname()) and pid.isdecimal():
            if boot != _short(boot_id()):
                return True
            return _process_is_gone(int(pid), "" if born == "0" else born)
    return False


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def boot_id() -> str:
    """Id of the present boot: Linux's random id, macOS's boot time, else empty."""
    if platform.system() == "Linux":
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
    if platform.system() == "Darwin":
        from recoup.system.subprocesses import output_of

        return output_of(["sysctl", "-n", "kern.boottime"]).strip()
    return ""


def _born(pid: int) -> str:
    """Start time of a process in clock ticks (field 22 of /proc/PID/stat, see proc(5)), or empty."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat.rpartition(b")")[2].split()[19].decode()


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address is this machine's own, as far as can be said without asking a name server."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
