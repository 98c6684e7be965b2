"""Files that are either whole or not there, readable by their owner alone, and still there after a power cut."""

import contextlib
import os
import secrets
from pathlib import Path

from recoup.errors import RefusedError, StorageError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_private_folder(path: Path) -> None:
    """Makes `path` and its missing parents with mode 0700, whatever the umask; an existing one is left as it is."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE_FOLDER)
            folder.chmod(PRIVATE_FOLDER)


def create_private(path: Path) -> int:
    """Creates a file that must not exist yet, mode 0600 whatever the umask, and returns its descriptor for writing.

    Raises:
        FileExistsError: there is something of that name, be it a dangling link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, PRIVATE_FILE)
    if os.umask is not None and os.fstat(descriptor).st_mode & 0o777 != PRIVATE_FILE:
        os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def write_atomic(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Puts `data` at `path` in one step: temporary file beside it, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = create_private(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if mode != PRIVATE_FILE:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create_file(path: Path, data: bytes) -> None:
    """Puts `data` into a new file, mode 0600, durably; what is there is never written over.

    Raises:
        RefusedError: there is something of that name.
        StorageError: it cannot be written.
    """
    try:
        descriptor = create_private(path)
    except FileExistsError:
        raise RefusedError(f"{path} is there already", "Nothing was written over; name another file.") from None
    except OSError as error:
        raise _not_written(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} cannot be written: {error.strerror or error}", "Look at its folder and its disk.")


def sync_folder(path: Path) -> None:
    """Makes the entries of a folder durable (no-op where folders cannot be opened)."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
