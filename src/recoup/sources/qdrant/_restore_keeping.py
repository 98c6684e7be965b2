"""The copy of a collection that is about to be deleted: a capture like that of a backup, in a folder of the user's."""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from recoup.errors import RecoupError, RestoreError
from recoup.model.events import Event
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.sources._base import Capture, Site
from recoup.sources._staged import StagedFile
from recoup.sources.qdrant._record import RECORD, folder_of
from recoup.sources.qdrant._restore_intents import Intents, Keeping
from recoup.sources.qdrant._restore_kept import copies_folder
from recoup.system.atomicfile import make_private_folder
from recoup.system.unpacking import write_part

_PIECE = 1 << 20  # bytes


def copy_away(
    collection: str,
    url: str,
    copying: Callable[[], AbstractContextManager[Capture]],
    parent: Path | None,
    intents: Intents,
    site: Site,
) -> Path:
    """Takes a copy of a collection and reads it back; returns its folder.

    Args:
        collection: its own name.
        url: of the server.
        copying: captures it.
        parent: folder for the copy; the user's state folder by default.
        intents: where it is written down first.
        site: clock and news.

    Raises:
        RestoreError: it could not be copied whole.
    """
    parent = copies_folder() if parent is None else (site.base / parent.expanduser())
    folder = parent / f"{folder_of(collection)}-{site.clock.now():%Y%m%d_%H%M%S}-{secrets.token_hex(2)}"
    intents.add(Keeping(url, str(folder)))
    try:
        make_private_folder(parent)
        folder.mkdir(mode=0o700)
        with copying() as capture:
            for part in capture.parts():
                _write(part, folder)
            findings = [finding for finding in capture.findings() if not finding.harmless]
    except (RecoupError, OSError) as error:
        raise RestoreError(
            f"{shown(collection)} could not be copied away, so it was not replaced: {error}",
            "`--mode new` restores beside it and replaces nothing.",
        ) from None
    if findings:
        raise RestoreError(f"{shown(collection)} could not be copied away whole: {findings[0].message}")
    site.emit(
        Event(
            "collection_copied",
            site.clock.now(),
            f"{shown(collection)} was copied to {folder} before it is deleted",
            fields={"collection": collection, "folder": str(folder)},
        )
    )
    return folder


def _write(part: Part, folder: Path) -> None:
    """Writes a part and demands that the file has the bytes that passed."""
    if not isinstance(part, StreamPart):
        raise RestoreError(f"{shown(part.name)} is not a file")
    with part.content.open() as reader:
        wanted = hashlib.sha256()
        while block := reader.read(_PIECE):
            wanted.update(block)
    write_part(part, folder)
    with (folder / part.name).open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != wanted.digest():
            raise RestoreError(f"{shown(part.name)} was not written as it was read")


def parts_of(folder: Path) -> list[StreamPart]:
    """The parts of a copy, as a restore wants them.

    Raises:
        RestoreError: there is none.
    """
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()),
        key=lambda path: (path.parent, path.name != RECORD, path.name),
    )
    if not files:
        raise RestoreError(f"there is no copy in {shown(str(folder))}", "It was moved or deleted since.")
    return [
        StreamPart(path.relative_to(folder).as_posix(), StagedFile(path, disposable=False), path.stat().st_size)
        for path in files
    ]
