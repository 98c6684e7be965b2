"""What the settings of a dedup repository say, as data."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from recoup.model.structs import Struct

DeltaChoice = Literal["auto", "on", "off"]
"""Whether chunks are stored as differences: `auto` does it where their bases can be read quickly."""

GRACE = timedelta(days=1)
"""How long a condemned pack stays, so that a writer that began before the prune is safe (`docs/format.md`)."""

MAX_UNUSED = 10.0
"""Percent of a pack that may be unused before `prune` rewrites it."""


class DedupOptions(Struct):
    """Settings of one dedup repository. Paths are absolute.

    Attributes:
        password_file: file that holds the passphrase of a keyslot.
        key_file: file that opens a keyslot.
        identity_file: age identity that opens a keyslot.
        writer_key_file: what a host has that may only add sets.
        recipients: age public keys, or files of such; a new repository gets a keyslot for them.
        grace: how long a condemned pack stays.
        cache: bytes of packs that are kept on this machine; 0 for none.
        delta: whether chunks are stored as differences.
        max_unused: percent of a pack that may be unused before `prune` rewrites it.
    """

    password_file: Path | None = None
    key_file: Path | None = None
    identity_file: Path | None = None
    writer_key_file: Path | None = None
    recipients: tuple[str, ...] = ()
    grace: timedelta = GRACE
    cache: int = 0
    delta: DeltaChoice = "auto"
    max_unused: float = MAX_UNUSED

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files that hold a secret."""
        files = (self.password_file, self.key_file, self.identity_file, self.writer_key_file)
        return tuple(file for file in files if file is not None)
