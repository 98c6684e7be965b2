"""How sets come and go: the part of the plain layout that depends on what a storage can do."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Literal, Protocol

from recoup.model.names import SetName
from recoup.model.structs import Struct
from recoup.repository.plain.folder import Style
from recoup.repository.plain.once import Earlier
from recoup.repository.plain.writing import PlainSetWriter

State = Literal["kept", "removing", "removed"]
"""How far the deletion of a set is."""


class Trashed(Struct):
    """A deleted set.

    Attributes:
        name: of the set.
        deleted: when (UTC).
        key: of its folder or marker.
        state: `kept` can come back; of one that is `removing` something may be left; of one that is `removed` there is at most
            an empty folder, which some stores list for a while.
    """

    name: SetName
    deleted: datetime
    key: str
    state: State = "kept"


class Sets(Protocol):
    """Makes sets appear, and takes them away, each in one step that shows or does not."""

    def names(self) -> list[SetName]:
        """Names of the sets that exist, oldest first."""
        ...

    def hides(self, name: SetName) -> bool:
        """Whether the files of a set that was deleted, or is not complete, still lie under its name."""
        ...

    def begin(
        self, name: SetName, style: Style, earlier: Earlier, writer: Callable[..., PlainSetWriter]
    ) -> AbstractContextManager[PlainSetWriter]:
        """A set being written, under this name or the next free one; without its commit nothing of it stays."""
        ...

    def remove_abandoned(self) -> None:
        """Removes what killed runs left of sets."""
        ...

    def trash(self, name: SetName, now: datetime) -> None:
        """Deletes a set that exists, so that it can be taken back."""
        ...

    def trashed(self) -> Sequence[Trashed]:
        """The deleted sets."""
        ...

    def place(self, found: Trashed) -> str:
        """The prefix of its files."""
        ...

    def undelete(self, found: Trashed) -> None:
        """Takes one back."""
        ...

    def removing(self, found: Sequence[Trashed]) -> None:
        """Is told before sets are removed for good."""
        ...

    def remove(self, found: Trashed) -> None:
        """Removes one and its marks for good. An interrupted removal can be repeated."""
        ...

    def removed(self) -> None:
        """Is told after sets were removed for good."""
        ...
