"""What a repository offers whose place has a shape that other tools share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from recoup.model.artefact import Artefact
from recoup.model.manifest import Manifest
from recoup.model.part import StreamPart


@runtime_checkable
class Shaped(Protocol):
    """Artefacts with keys of their own, ours and other tools'."""

    adopts: bool

    def artefacts(self, manifest: Manifest) -> Sequence[Artefact]:
        """Those of a set."""
        ...

    def foreign(self) -> Sequence[Artefact]:
        """Those that no set has, oldest first."""
        ...

    def read_foreign(self, artefact: Artefact) -> StreamPart:
        """One of them as a part, decompressed and opened as its name says.

        Raises:
            NoSuchSetError: it is none of this repository's.
            WrongKeyError: it is encrypted, and what is configured does not open it.
        """
        ...

    def foreign_locked_until(self, artefact: Artefact) -> datetime | None:
        """Until when (UTC) the storage refuses to give one of them up; None where it does not."""
        ...

    def delete_foreign(self, artefacts: Sequence[Artefact]) -> None:
        """Removes some of them for good.

        Raises:
            RefusedError: the repository does not adopt them, or one is a set's; nothing is removed then.
        """
        ...
