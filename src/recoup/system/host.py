"""Which machine and process we are, and whether another one still lives."""

import os
import platform
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
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    born = _born(owner.pid)
    return bool(owner.born and born and owner.born != born)


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
