"""Temporary folders that are removed also when their owner was killed: by the next run."""

import contextlib
import glob
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from recoup.model.owner import Owner
from recoup.system.atomicfile import PRIVATE_FOLDER, make_private_folder
from recoup.system.host import holder_token, token_is_dead

_PREFIX = "recoup-"


@contextlib.contextmanager
def temporary_folder(purpose: str, parent: Path | None = None) -> Iterator[Path]:
    """An empty folder, mode 0700, removed on leaving; first removes those that killed runs left in the same place.

    Args:
        purpose: a word for the folder's name, e.g. `drill`.
        parent: where; the system's temporary folder by default.
    """
    parent = parent or Path(tempfile.gettempdir())
    make_private_folder(parent)
    sweep(parent)
    root = parent / f"{_PREFIX}{purpose}-{holder_token()}"
    root.mkdir(mode=PRIVATE_FOLDER)
    try:
        yield root
    finally:
        remove_tree(root)


def beside(target: Path, doing: str) -> Path:
    """A path beside `target` to write at first; what killed runs left of its kind is removed.

    Args:
        target: what it will be renamed to.
        doing: a word for its name, e.g. `restoring`.
    """
    prefix = f".{target.name}.{doing}-"
    for left in target.parent.glob(f"{glob.escape(prefix)}*"):
        if token_is_dead(left.name.removeprefix(prefix)):
            remove_tree(left)
    return target.with_name(prefix + holder_token())


def sweep(parent: Path) -> None:
    """Removes the temporary folders in `parent` whose maker is dead."""
    for root in parent.glob(f"{_PREFIX}*-*"):
        token = root.name.removeprefix(_PREFIX).partition("-")[2]
        if token_is_dead(token) and root.is_dir() and not root.is_symlink():
            with contextlib.suppress(OSError):
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
