"""A directory being read while its service stands still, or from a copy that was made meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding, Frozen
from recoup.model.part import Member, Part, TreePart
from recoup.sources._base import Noted
from recoup.sources._service import ServiceError
from recoup.sources._service_pause import Watch
from recoup.sources._walking import Note, Walk


class DirectoryCapture:
    """A directory that stands still, or a copy of it that was taken while it did."""

    engine = ""

    def __init__(self, walk: Callable[[Note], Walk], at: datetime, method: str, watch: Watch | None) -> None:
        self.method = method
        self._at = at
        self._watch = watch
        self._noted = Noted()
        self._walk = walk(self._noted.add)

    @property
    def frozen(self) -> Frozen:
        """The moment at which the service was stopped."""
        return Frozen(self._at, self._at)

    def parts(self) -> Iterator[Part]:
        """The directory as one tree.

        Raises:
            ServiceError: the service did not stand still all the while.
        """
        yield TreePart(".", self._members())

    def _members(self) -> Iterator[Member]:
        for member in self._walk.members():
            if self._watch:
                self._watch.refuse_if_stopping()
            yield member
        if self._watch:
            self._watch.require_stillness()
            self.start(self._watch)

    def start(self, watch: Watch) -> None:
        """Starts the service; a failure is a finding, because what was read is whole."""
        self._watch = None
        try:
            watch.start()
        except ServiceError as error:
            watch.tell_down(error)
            sentence = f"the archive is whole, but the service is not up: {error.message}. {watch.by_hand}"
            self._noted.add("service", "service", sentence)

    def note(self, message: str) -> None:
        """A finding that leaves the archive whole."""
        self._noted.add("skipped", "snapshot", message, harmless=True)

    def facts(self) -> Facts:
        """How many files, folders, links and bytes were read."""
        return Facts({"folder": self._walk.tally.values()})

    def findings(self) -> Iterable[Finding]:
        """What was skipped or could not be read, and a service that does not come up again."""
        return self._noted.findings

    def brackets(self) -> tuple[Bracket, ...]:
        """None: nothing changes while it is read."""
        return ()

    def close(self) -> None:
        """Closes the directory."""
        self._walk.close()
