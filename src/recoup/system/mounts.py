"""On what kind of file system a path lies."""

import os
import platform
import re
from pathlib import Path

NETWORK = frozenset(
    {"9p", "afs", "afpfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs"}
    | {"pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "webdav", "osxfuse", "macfuse"}
)
"""Types whose files another machine may be writing, as mount(8) names them; `fuse` and `fuse.*` count as such too."""

_ESCAPED = re.compile(r"\\([0-7]{3})")
_MACOS_LINE = re.compile(r".* on (?P<point>/.*) \((?P<type>\w+)[,)]")


def filesystem_type(path: Path) -> str:
    """Type of the file system that holds `path`, e.g. `ext4` or `nfs4`; empty where the platform does not tell.

    Linux: /proc/self/mountinfo, see proc_pid_mountinfo(5). macOS: mount(8).
    """
    place = Path(os.path.realpath(path))
    best, kind = -1, ""
    for point, candidate in _mounts():
        if place.is_relative_to(point) and len(point) >= best:  # a later mount on the same point covers the earlier
            best, kind = len(point), candidate
    return kind


def is_network(kind: str) -> bool:
    """True for a type of file system that another machine may write to behind our back."""
    return kind in NETWORK or kind == "fuse" or kind.startswith("fuse.")


def _mounts() -> list[tuple[str, str]]:
    """Mount points with their types."""
    if platform.system() == "Darwin":
        from recoup.system.subprocesses import output_of

        found = (_MACOS_LINE.fullmatch(line) for line in output_of(["mount"]).splitlines())
        return [(match["point"], match["type"]) for match in found if match]
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [entry for line in lines if (entry := _entry(line))]


def _entry(line: str) -> tuple[str, str] | None:
    left, dash, right = line.partition(" - ")
    fields = left.split()
    if not dash or len(fields) < 5 or not right:
        return None
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]), right.split()[0]
