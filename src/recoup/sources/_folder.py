"""What sources share that are a folder (or a file) of somebody else's: asking for something in it, and writing it back."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from recoup.errors import DamagedError, EmptySourceError, RefusedError, SourceError
from recoup.model.events import Event, Level
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart, TreePart
from recoup.sources._base import Noted, Site
from recoup.sources._walking import REPOSITORY, Note, Rules, Walk
from recoup.system import filesystem
from recoup.system.unpacking import Overwrite, Written, write_stream, write_tree

KEPT = "It is kept beside the restored one, as NAME.before-restore-TIME."
LEFT_OUT = "What the patterns leave out is then in the kept one only."
STAYS = "What the patterns leave out stays where it is."

_MERGED = {
    "never": "Files that are there stay as they are, and missing ones are added.",
    "if-changed": "Files of another size or time are replaced, and missing ones are added. What is replaced is not kept.",
    "always": "Files that are there are replaced, and missing ones are added. What is replaced is not kept.",
}


def merging(overwrite: Overwrite, *, delete: bool) -> str:
    """What a restore into a present folder does to it, for the plan.

    Args:
        overwrite: which files are replaced.
        delete: whether what the backup does not have is removed.
    """
    return f"{_MERGED[overwrite]} What the backup does not have is removed." if delete else _MERGED[overwrite]


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the machine's refusals to read `path` into errors that name it."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "Give the user of the backup the right to read it." if isinstance(error, PermissionError) else ""
        raise SourceError(f"{shown(str(path))} cannot be read: {reason}", hint) from error


def unnoted(what: str, item: str, message: str, *, harmless: bool = False) -> None:
    """For walks that only count: the capture's own walk notes."""


def require_something(path: Path, walk: Callable[[Note], Walk]) -> None:
    """Refuses a folder without anything to back up.

    Args:
        path: the folder.
        walk: walks over it without reading.

    Raises:
        EmptySourceError: there is nothing.
    """
    noted = Noted()
    with contextlib.closing(walk(noted.add)) as walking:
        if any(member.name != "." for member in walking.members()):
            return
    if not all(finding.harmless for finding in noted.findings):
        return  # what is there cannot be read: the capture says so of each
    reason = "nothing in it is to be backed up" if any(path.iterdir()) else "it is empty"
    raise EmptySourceError(f"{shown(str(path))}: {reason}", "Set `allow_empty: true` where that is right.")


def left_out(path: Path, rules: Rules) -> Iterator[str]:
    """What the rules of a folder leave out of it, and so is nobody's to replace: the outermost of it, by relative path.

    What is mounted inside is passed over, since it cannot be renamed.
    """
    excluded, included, device = rules.excluder(), rules.includer(), path.stat().st_dev
    waiting = [""] if rules.include or rules.exclude or rules.staging else []
    while waiting:
        prefix = waiting.pop()
        with os.scandir(path / prefix) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if not prefix and rules.hidden(name):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    if excluded(name) or (included and not included(name)):
                        yield name
                    continue
                status = entry.stat(follow_symlinks=False)
                if excluded(f"{name}/") or (status.st_dev, status.st_ino) == rules.staging:
                    if not filesystem.is_mount_point(path / name):
                        yield name
                elif status.st_dev == device:
                    waiting.append(f"{name}/")


def inner_repositories(path: Path) -> list[str]:
    """Repositories of ours inside a folder, by relative path."""
    found: list[str] = []
    for place, folders, files in os.walk(path):
        if REPOSITORY in files:
            found.append(os.path.relpath(place, path))
            folders.clear()
    return found


def refuse_inner_repository(path: Path) -> None:
    """Replacing a folder whole would move away the repository in it that is being read.

    Raises:
        RefusedError: it holds one.
    """
    inner = inner_repositories(path)
    if inner:
        raise RefusedError(
            f"{shown(str(path))} holds the repository {shown(inner[0])}, which would be moved away with it",
            "Restore into another place with --target; files also take --overwrite always.",
        )


def first(parts: Iterator[Part]) -> Part:
    """The one part that a capture of a folder or file has.

    Raises:
        DamagedError: there is none, or it is no whole folder.
    """
    part = next(parts, None)
    if part is None or (isinstance(part, TreePart) and part.name != "."):
        raise DamagedError("the set holds no file or folder of this source")
    return part


def require_end(parts: Iterator[Part]) -> None:
    """Refuses a further part.

    Raises:
        DamagedError: there is one.
    """
    if next(parts, None) is not None:
        raise DamagedError("the set holds more than the one file or folder of this source")


def write(part: Part, staged: Path, site: Site) -> None:
    """Writes the part where nothing is yet."""
    if isinstance(part, StreamPart):
        write_stream(part, staged)
    else:
        say_refused(write_tree(part, staged), site)


def say_refused(written: Written, site: Site) -> None:
    """Tells of extended attributes that could not be set."""
    if written.attributes_refused:
        sentence = f"extended attributes of {written.attributes_refused:,} entries could not be restored here"
        fields = {"source": site.name, "count": written.attributes_refused}
        site.emit(
            Event("attributes_refused", site.clock.now(), f"{site.name}: {sentence}", Level.WARNING, fields=fields)
        )
