"""What the page keeps of its sessions: the key that they are signed with, and which were ended; readable by their owner alone."""

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from recoup.system.atomicfile import create_private, make_private_folder
from recoup.system.statefile import StateError, state_path

_KEY_BYTES = 32
_TRIES = 4  # another server may make one at the same moment
_HINT = "Look at the folder's permissions and file system, or set XDG_STATE_HOME."


def folder_of(stack: str) -> Path:
    """The folder of a stack's page.

    Raises:
        StateError: nobody knows where it is.
    """
    return state_path(stack).with_name(f"{stack}.web")


def forget(stack: str) -> None:
    """Removes what is kept; all sessions end."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder_of(stack))


def kept_key(stack: str) -> bytes:
    """The key of a stack: a new one where there is none, or where others than its owner could read it.

    Raises:
        StateError: it cannot be kept.
    """
    path = folder_of(stack) / "key"
    try:
        make_private_folder(path.parent)
        for _ in range(_TRIES):
            if (found := _key(path)) is not None:
                return found
            _make_key(path)
    except OSError as error:
        raise StateError(
            f"the key of the page's sessions cannot be kept at {path}: {error.strerror or error}", _HINT
        ) from None
    raise StateError(f"the key of the page's sessions at {path} stays open to others", _HINT)


def _key(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            private = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077 == 0
            key = file.read(_KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    if private and len(key) == _KEY_BYTES:
        return key
    path.unlink(missing_ok=True)
    return None


def _make_key(path: Path) -> None:
    """Whole or not at all, and never over that of another server that starts at the same moment."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = create_private(fresh)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)
