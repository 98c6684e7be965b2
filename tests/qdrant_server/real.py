"""How the program `qdrant` itself is started: by environment variables, which override its settings file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdrant_server.starting import Launch


def command(launch: "Launch") -> Sequence[str]:
    """The argument list; the first node of a cluster is the one that the others join."""
    if not launch.cluster:
        return [launch.choice.program]
    own, first = (f"http://127.0.0.1:{ports.extra}" for ports in (launch.ports, launch.cluster[0]))
    join = [] if own == first else ["--bootstrap", first]
    return [launch.choice.program, "--uri", own, *join]


def environment(launch: "Launch") -> dict[str, str]:
    """The settings; what is not set keeps the program's own default."""
    settings: dict[str, object] = {
        "LOG_LEVEL": "INFO",
        "TELEMETRY_DISABLED": True,
        "STORAGE__STORAGE_PATH": launch.folder / "storage",
        "STORAGE__SNAPSHOTS_PATH": launch.folder / "snapshots",
        "SERVICE__HOST": "127.0.0.1",
        "SERVICE__HTTP_PORT": launch.ports.http,
        "SERVICE__GRPC_PORT": launch.ports.grpc,
    }
    if launch.keys.full:
        settings |= {
            "SERVICE__API_KEY": launch.keys.full,
            "SERVICE__READ_ONLY_API_KEY": launch.keys.read_only,
            "SERVICE__JWT_RBAC": True,
        }
    if launch.cluster:
        settings |= {"CLUSTER__ENABLED": True, "CLUSTER__P2P__PORT": launch.ports.extra}
    return {
        f"QDRANT__{name}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }
