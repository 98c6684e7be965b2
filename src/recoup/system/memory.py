"""How much memory a process really takes."""

from pathlib import Path

from recoup.system.subprocesses import output_of

_KEPT = ("RssAnon:", "RssShmem:", "VmSwap:")


def private_memory(pid: int) -> int | None:
    """Bytes of memory that a process needs for itself; None when it cannot be told.

    Files that it maps do not count: their pages come back from the disk whenever the memory is wanted. Where the system does
    not tell them apart (no /proc), they are in it.
    """
    status = Path(f"/proc/{pid}/status")
    try:
        lines = [line.split() for line in status.read_text().splitlines() if line.startswith(_KEPT)]
        if lines:
            return sum(int(line[1]) for line in lines) * 1024
    except (OSError, ValueError, IndexError):
        pass
    if Path("/proc/self/status").exists():
        return None
    told = output_of(["ps", "-o", "rss=", "-p", str(pid)]).strip()
    return int(told) * 1024 if told.isdigit() else None
