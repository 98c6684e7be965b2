"""Temporary folders that are removed also when their owner was killed: by the next run."""

import contextlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from recoup.model.owner import Owner
from recoup.system.atomicfile import PRIVATE_FOLDER, make_private_folder, write_atomic
from recoup.system.host import is_dead, this_owner

_PREFIX = "recoup-"
_OWNER = "owner.json"


@contextlib.contextmanager
def temporary_folder(purpose: str, now: datetime, parent: Path | None = None) -> Iterator[Path]:
    """An empty folder, mode 0700, removed on leaving; first removes those that killed runs left in the same place.

    Args:
        purpose: a word for the folder's name, e.g. `drill`.
        now: the present moment.
        parent: where; the system's temporary folder by default.
    """
    parent = parent or Path(tempfile.gettempdir())
    make_private_folder(parent)
    sweep(parent)
    root = parent / f"{_PREFIX}{purpose}-{secrets.token_hex(6)}"
    root.mkdir(mode=PRIVATE_FOLDER)
    try:
        write_atomic(root / _OWNER, write_owner(this_owner(now)))
        inner = root / "data"
        inner.mkdir(mode=PRIVATE_FOLDER)
        yield inner
    finally:
        remove_tree(root)


def sweep(parent: Path) -> None:
    """Removes the temporary folders in `parent` whose owner is dead."""
    for root in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if root.is_symlink() or not root.is_dir():
                continue
            if is_dead(read_owner((root / _OWNER).read_bytes())):
                remove_tree(root)


def write_owner(owner: Owner) -> bytes:
    """An owner as JSON."""
    return json.dumps({**asdict(owner), "since": owner.since.isoformat()}).encode()


def read_owner(data: bytes) -> Owner:
    """An owner from JSON.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    fields = json.loads(data)
    return Owner(
        str(fields["host"]),
        str(fields["boot"]),
        int(fields["pid"]),
        str(fields["born"]),
        datetime.fromisoformat(fields["since"]),
    )


def remove_tree(path: Path) -> None:
    """Removes a folder with all that is in it, also where modes forbid it; links are removed, never followed."""

    def unlock_and_retry(_function: object, name: str, _error: object) -> None:
        Path(name).parent.chmod(PRIVATE_FOLDER)
        if Path(name).is_dir() and not Path(name).is_symlink():
            Path(name).chmod(PRIVATE_FOLDER)
            shutil.rmtree(name, ignore_errors=True)
        else:
            Path(name).unlink(missing_ok=True)

    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=unlock_and_retry)
