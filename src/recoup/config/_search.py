"""Where the configuration is looked for."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from recoup.errors import ConfigError
from recoup.model.structs import Struct

FILE_NAME = "recoup.yaml"
_SYSTEM_WIDE = Path("/etc/recoup") / FILE_NAME


class Place(Struct):
    """A configuration file.

    Attributes:
        path: absolute path.
        shown: how messages name it: relative to the working folder where it lies inside.
    """

    path: Path
    shown: str


def found(paths: Sequence[Path], environ: Mapping[str, str], cwd: Path) -> tuple[Place, ...]:
    """The files to read, the weakest first.

    `paths` if there are any, else `RECOUP_CONFIG`, else the first that exists of `./recoup.yaml`, the user's configuration
    folder and `/etc/recoup/recoup.yaml`.

    Raises:
        ConfigError: nothing was found.
    """
    named = list(paths) or [Path(text) for text in (environ.get("RECOUP_CONFIG"),) if text]
    if named:
        return tuple(place(path, cwd) for path in named)
    candidates = [cwd / FILE_NAME, *user_files(environ, sys.platform), _SYSTEM_WIDE]
    for candidate in candidates:
        if candidate.is_file():
            return (place(candidate, cwd),)
    looked = ", ".join(place(candidate, cwd).shown for candidate in candidates)
    raise ConfigError(
        f"there is no configuration: looked for {looked}.",
        "Write one with `recoup init`, or name one with `--config FILE` or the variable RECOUP_CONFIG.",
    )


def user_files(environ: Mapping[str, str], platform: str) -> list[Path]:
    """Where a person keeps it: by the XDG base directory specification, on macOS also in the Library.

    Args:
        environ: `XDG_CONFIG_HOME` and `HOME` are read.
        platform: as in `sys.platform`.
    """
    home = environ.get("HOME")
    folders = []
    if xdg := environ.get("XDG_CONFIG_HOME"):
        folders.append(Path(xdg))
    elif home:
        folders.append(Path(home) / ".config")
    if home and platform == "darwin":
        folders.append(Path(home) / "Library" / "Application Support")
    return [folder / "recoup" / FILE_NAME for folder in folders if folder.is_absolute()]


def place(path: Path, cwd: Path) -> Place:
    """`path` made absolute (links are kept unless there is a `..` to follow), and its short form."""
    absolute = cwd / path
    if ".." in absolute.parts:
        absolute = absolute.parent.resolve() / absolute.name
    shown = absolute.relative_to(cwd) if absolute.is_relative_to(cwd) else absolute
    return Place(absolute, str(shown))
