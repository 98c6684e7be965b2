"""Intent journals: what a run is about to do elsewhere (on a server, say), so that the next run can take it back.

One file for each run in the user's state folder; its name carries a token of the process, which tells whether it still lives.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from recoup.system.atomicfile import create_private, make_private_folder, sync_folder
from recoup.system.host import holder_token, token_is_dead

_SUFFIX = ".jsonl"


def state_folder() -> Path:
    """Where runs keep what outlives them: `$XDG_STATE_HOME/recoup`, else `~/.local/state/recoup`."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    root = Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".local" / "state"
    return root / "recoup"


class Journal:
    """The intents of one run, one JSON object a line, each durable before `add` returns.

    Args:
        path: the file; made by the first `add`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def begin(cls, purpose: str) -> Self:
        """A new journal of this process.

        Args:
            purpose: what it is about, a word or two joined by `.`: also the way to find it again.
        """
        folder = state_folder()
        make_private_folder(folder)
        return cls(folder / f"{purpose}-{holder_token()}{_SUFFIX}")

    def add(self, intent: Mapping[str, Any]) -> None:
        """Writes an intent down, durably."""
        fresh = not self.path.exists()
        descriptor = create_private(self.path) if fresh else os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, json.dumps(intent).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            sync_folder(self.path.parent)

    def intents(self) -> Iterator[dict[str, Any]]:
        """What was written, in order; a last line that was cut short is left out."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                intent = json.loads(line)
            except ValueError:
                return
            if isinstance(intent, dict):
                yield intent

    def forget(self) -> None:
        """Removes the journal: everything in it was done or taken back."""
        self.path.unlink(missing_ok=True)


def abandoned(purpose: str) -> list[Journal]:
    """The journals of a purpose whose run is dead."""
    prefix = f"{purpose}-"
    found = []
    for path in sorted(state_folder().glob(f"*{_SUFFIX}")):
        name = path.name.removesuffix(_SUFFIX)
        if name.startswith(prefix) and token_is_dead(name.removeprefix(prefix)):
            found.append(Journal(path))
    return found
