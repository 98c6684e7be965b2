"""Files that we put where they are not ours alone (`/etc/cron.d`, a folder of scripts), each with a line that says whose it is.

The line names the stack and has a digest of all the others, so the file alone tells whether it is ours, and whether somebody
changed it since. What is not ours is never replaced or removed.
"""

import glob
import hashlib
import re
from enum import Enum
from pathlib import Path

from recoup.errors import RefusedError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.system.atomicfile import sync_folder, write_atomic

_LARGEST = 1024 * 1024  # bytes: nothing that we write comes near
_MARK = re.compile(rb"^# recoup: stack=([A-Za-z0-9._-]+) digest=([0-9a-f]{32})\n", re.MULTILINE)


class Standing(Enum):
    """What lies where something of ours is to be, or was put."""

    MISSING = "missing"
    OURS = "ours"
    """As it was written."""
    EDITED = "edited"
    """Ours, and changed since."""
    FOREIGN = "foreign"
    """Another stack's, or nothing of ours at all."""


def marked(text: str, stack: str) -> bytes:
    """The text with its mark: the first line, or the second one of a script.

    Args:
        text: whole lines; paths in it may have bytes that are no UTF-8.
        stack: whose.
    """
    body = text.encode(errors="surrogateescape")
    end = body.index(b"\n") + 1 if body.startswith(b"#!") else 0
    return body[:end] + f"# recoup: stack={stack} digest={_digest(body)}\n".encode() + body[end:]


def judged(data: bytes, stack: str) -> Standing:
    """Whose some bytes are.

    Args:
        data: a file's, or a part of one.
        stack: for which they may have been written.
    """
    mark = _MARK.search(data)
    if mark is None or mark[1].decode() != stack:
        return Standing.FOREIGN
    rest = data[: mark.start()] + data[mark.end() :]
    return Standing.OURS if _digest(rest) == mark[2].decode() else Standing.EDITED


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


class MarkedFile(Struct):
    """A file of ours.

    Attributes:
        path: absolute.
        stack: whose it is.
        text: what it says, without the mark; empty where that is not known, as for one that is to be removed.
        mode: its rights.
    """

    path: Path
    stack: str
    text: str = ""
    mode: int = 0o644

    @property
    def name(self) -> str:
        """How it is recorded."""
        return str(self.path)

    def standing(self) -> Standing:
        """What lies there now. A link is nothing of ours, wherever it leads."""
        if self.path.is_symlink():
            return Standing.FOREIGN
        data = self._data()
        return Standing.MISSING if data is None else judged(data, self.stack)

    def is_current(self) -> bool:
        """Whether it is there, with this text and these rights."""
        if self.path.is_symlink() or self._data() != marked(self.text, self.stack):
            return False
        return self.path.stat().st_mode & 0o7777 == self.mode

    def put(self) -> None:
        """Writes it in one step."""
        self._tidy()
        write_atomic(self.path, marked(self.text, self.stack), self.mode)

    def take_away(self) -> None:
        """Removes it, durably; harmless when it is gone."""
        self._tidy()
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir():
            sync_folder(self.path.parent)

    def _tidy(self) -> None:
        """Removes what a killed run was writing, beside it."""
        for half in self.path.parent.glob(f".{glob.escape(self.path.name)}.????????.tmp"):
            half.unlink(missing_ok=True)

    def _data(self) -> bytes | None:
        """At most a little more than we ever write; None when it is not there.

        Raises:
            RefusedError: it is a folder, a pipe or the like.
        """
        try:
            if not self.path.is_file():
                self.path.lstat()
                raise RefusedError(f"{shown(self.name)} is no file", "Look what it is; nothing was changed.")
            with self.path.open("rb") as file:
                return file.read(_LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
