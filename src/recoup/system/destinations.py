"""The door for places that a person names to write to: a repository, a restore target."""

import os
import re
from pathlib import Path

from recoup.errors import UnsafePathError
from recoup.model.names import shown

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?=/)")
"""How a URL begins, also when a path type has made one slash of its two."""


def checked_destination(text: str | Path, base: Path) -> Path:
    """The absolute path of a place to write to, when it leads there directly.

    Links right below the root of the file system (`/tmp` on macOS, `/home` on some servers) are the system's own and allowed.

    Args:
        text: as typed or configured; relative to `base`; `~` is the home folder.
        base: absolute.

    Raises:
        UnsafePathError: it is a URL, has `..` in it, or leads through a symbolic link; the hint names the real place.
    """
    if "\0" in str(text):
        raise UnsafePathError("a destination with a NUL character was given")
    if scheme := _SCHEME.match(str(text)):
        raise UnsafePathError(f"the destination is a URL ({scheme[0]}), not a folder", "Write a folder's path.")
    path = Path(text).expanduser()
    if ".." in path.parts:
        real = Path(os.path.abspath(base / path))  # noqa: PTH100 - resolve() would follow links
        raise UnsafePathError(f"the destination {shown(str(text))} climbs with '..'", f"Write the place itself: {real}")
    whole = base / path
    for step in [whole, *whole.parents]:
        if len(step.parts) > 2 and step.is_symlink():
            raise UnsafePathError(
                f"the destination {shown(str(whole))} leads through the symbolic link {shown(str(step))}",
                f"If that is what you want, write the real place: {whole.resolve()}",
            )
    return whole
