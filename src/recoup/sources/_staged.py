"""Content of a staged copy: a file of ours that nobody changes any more."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class StagedReader:
    """Reads a staged copy; it never changes."""

    changed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read


@dataclass(frozen=True)
class StagedFile:
    """A staged copy as a part's content.

    Attributes:
        local_path: where it lies; on storing it may be moved away, so open it before, or not at all.
    """

    local_path: Path
    disposable: bool = True

    @contextlib.contextmanager
    def open(self) -> Iterator[StagedReader]:
        """Opens from the beginning."""
        with self.local_path.open("rb", buffering=0) as file:
            yield StagedReader(file)
