"""Whether a service can be stopped from where we run, as far as can be said without doing it."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3): there when systemd runs the machine
_DOCKER = Path("/var/run/docker.sock")


def unreachable(
    command: Sequence[str],
    folder: Path,
    *,
    systemd: Path = _SYSTEMD,
    docker: Path = _DOCKER,
) -> str:
    """Why a command cannot work here; empty when nothing speaks against it.

    Args:
        command: argument list.
        folder: where it would run.
        systemd: folder that is there when systemd runs this machine.
        docker: Docker's socket.
    """
    program = command[0]
    place = folder / program if "/" in program else shutil.which(program)
    if place is None or not os.access(place, os.X_OK):
        return f"the program {program} is not installed here, or may not be run"
    inner = _without_sudo(command)
    name = Path(inner[0]).name
    if name == "systemctl" and "--user" not in inner and not systemd.is_dir():
        return "systemd does not run here; inside a container it is the host's"
    if name == "docker":
        return _docker(inner, docker)
    return ""


def _without_sudo(command: Sequence[str]) -> Sequence[str]:
    """What `sudo -n systemctl ...` runs."""
    if Path(command[0]).name != "sudo":
        return command
    rest = [*command[1:]]
    while rest and rest[0].startswith("-"):
        rest.pop(0)
    return rest or command


def _docker(command: Sequence[str], socket: Path) -> str:
    chosen = any(one.startswith(("-H", "--host", "--context", "-c")) for one in command)
    home = Path(os.environ.get("DOCKER_CONFIG", "") or Path.home() / ".docker") / "config.json"
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "docker.sock"
    if (
        chosen
        or os.environ.get("DOCKER_HOST")
        or os.environ.get("DOCKER_CONTEXT")
        or home.exists()
        or rootless.exists()
    ):
        return ""
    if not socket.exists():
        return f"Docker does not answer here ({socket} is not there)"
    return "" if os.access(socket, os.W_OK) else f"this user may not use Docker ({socket})"
