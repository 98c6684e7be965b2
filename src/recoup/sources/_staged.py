"""Content that nobody changes any more: a staged copy, or a few bytes that were made here."""

import contextlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Protocol

from recoup.model.structs import Struct


class Readable(Protocol):
    """What bytes can be read from: an open file, a decompressor."""

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        ...


class StagedReader:
    """Reads what never changes."""

    changed = False

    def __init__(self, source: Readable) -> None:
        self.read = source.read


class StagedFile(Struct):
    """A staged copy as a part's content.

    Attributes:
        local_path: where it lies; on storing it may be moved away, so open it before, or not at all.
        sha256: of its bytes, hex, where it was hashed while it was written.
    """

    local_path: Path
    disposable: bool = True
    sha256: str = ""

    @contextlib.contextmanager
    def open(self) -> Iterator[StagedReader]:
        """Opens from the beginning."""
        with self.local_path.open("rb", buffering=0) as file:
            yield StagedReader(file)


class StagedBytes(Struct):
    """A small part that was made here: a record, a line of a document.

    Attributes:
        data: all of it.
    """

    data: bytes
    local_path: None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[StagedReader]:
        """Opens from the beginning."""
        yield StagedReader(BytesIO(self.data))
