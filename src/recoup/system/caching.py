"""What only saves work: files that may be lost or thrown away at any time."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from recoup.system.atomicfile import create_private, make_private_folder


def cache_folder() -> Path:
    """Where it lies: `$XDG_CACHE_HOME/recoup`, else `~/.cache/recoup` (XDG Base Directory Specification)."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".cache"
    return root / "recoup"


def write_cached(path: Path, write: Callable[[BinaryIO], None]) -> bool:
    """Writes a file by rename, 0600 in a folder of 0700. It need not survive a power cut, so nothing is waited for.

    Args:
        path: where.
        write: writes its content.

    Returns:
        False when the place cannot be written, which harms nobody.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        make_private_folder(path.parent)
        with os.fdopen(create_private(temporary), "wb") as file:
            write(file)
        temporary.replace(path)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True
