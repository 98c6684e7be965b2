"""Finished switches, kept so that they can be taken back: one file for each in the user's state folder."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, field
from datetime import datetime
from pathlib import Path
from typing import Any

from recoup.model.structs import Struct
from recoup.system.atomicfile import make_private_folder, write_atomic
from recoup.system.journal import state_folder

_FOLDER = "qdrant-switched"
_COPIES = "qdrant-kept"


class Switched(Struct):
    """One switch.

    Attributes:
        url: of the server.
        time: when (UTC).
        name: the name that clients ask for, as the restore was told it.
        into: the restored collection.
        old: the collection that answered before.
        before: alias to the collection that it led to; empty text when it led to none.
        copy: folder with a copy of `old`, where it was deleted; empty when it is still on the server.
    """

    url: str
    time: datetime
    name: str
    into: str
    old: str
    before: Mapping[str, str] = field(default_factory=dict)
    copy: str = ""


def keep(switched: Switched) -> Path:
    """Writes it down, durably, and returns the file."""
    folder = state_folder() / _FOLDER
    make_private_folder(folder)
    path = folder / f"{switched.time:%Y%m%d_%H%M%S}-{secrets.token_hex(4)}.json"
    fields = asdict(switched) | {"time": switched.time.isoformat(), "before": dict(switched.before)}
    write_atomic(path, json.dumps(fields, indent=1).encode())
    return path


def kept(url: str) -> list[tuple[Path, Switched]]:
    """The switches of a server, newest first; a file that cannot be read is left out."""
    found = []
    for path in sorted((state_folder() / _FOLDER).glob("*.json"), reverse=True):
        switched = _read(path)
        if switched is not None and switched.url == url:
            found.append((path, switched))
    return sorted(found, key=lambda one: one[1].time, reverse=True)


def copies() -> set[str]:
    """The folders with copies that a switch refers to."""
    found = map(_read, (state_folder() / _FOLDER).glob("*.json"))
    return {switched.copy for switched in found if switched is not None and switched.copy}


def copies_folder() -> Path:
    """Where copies go that nobody gave a folder for."""
    return state_folder() / _COPIES


def _read(path: Path) -> Switched | None:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
        return Switched(**fields | {"time": datetime.fromisoformat(fields["time"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
