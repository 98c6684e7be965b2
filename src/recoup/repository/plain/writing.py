"""Writing a set: parts first, hashed and compressed on the way, the manifest last."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from recoup.errors import DamagedError, RefusedError
from recoup.model.manifest import Manifest, StoredPart
from recoup.model.names import SetName, checked_relative, shown
from recoup.repository._base import Ticket
from recoup.repository.plain.folder import SetFolder, Style
from recoup.repository.plain.joining import require_shareable
from recoup.repository.plain.once import Earlier, nothing_earlier
from recoup.repository.plain.sinks import PlainStreamSink, PlainTarSink, PlainTreeSink
from recoup.storage._base import Storage

Appear = Callable[["PlainSetWriter", Manifest], SetName]
"""The last step of a writing."""


class PlainSetWriter(SetFolder):
    """A set being written below a prefix that nobody reads.

    Args:
        storage: where.
        prefix: the key of its folder meanwhile.
        name: that it is to get.
        style: how its files are stored.
        appear: ends it: with checksums and manifest, so that it shows; returns its name.
        earlier: finds what earlier sets have stored once.
        token: of the claim to the name; empty where there is none.
    """

    def __init__(
        self,
        storage: Storage,
        prefix: str,
        name: SetName,
        style: Style,
        appear: "Appear",
        earlier: Earlier = nothing_earlier,
        token: str = "",
    ) -> None:
        super().__init__(storage, prefix, style)
        self._name, self._appear, self._earlier, self._token = name, appear, earlier, token
        self.is_shared = False  # whether other machines may be storing parts

    @property
    def name(self) -> SetName:
        """The name that the set gets; final after `commit`."""
        return self._name

    def stream(
        self,
        source: str,
        name: str,
        size: int | None,  # noqa: ARG002 - for others to plan with
        *,
        once: bool = False,
    ) -> PlainStreamSink:
        """Begins a stream part; one that is stored once is not compressed."""
        if not once:
            return PlainStreamSink(self, source, name, self.style)
        self._require_open(source)
        return PlainStreamSink(self, source, name, replace(self.style, compression="none"), self._earlier(source, name))

    def tree(self, source: str, name: str, *, once: bool = False) -> "PlainTreeSink | PlainTarSink":
        """Begins a tree part; one that is stored once is stored as a tree whatever the style."""
        if once:
            self._require_open(source)
            return PlainTreeSink(self, source, name, self._earlier(source, name))
        if self.style.pack == "tree":
            return PlainTreeSink(self, source, name)
        return PlainTarSink(self, source, name, self.style)

    def _require_open(self, source: str) -> None:
        """An encrypted copy is another one each time, so there is nothing that two sets could share."""
        if self.method is not None:
            raise RefusedError(
                f"source {source} has `store_once`, which does not work in an encrypted repository",
                "Take `store_once` away, or put this source into a repository of its own without `encrypt`.",
            )

    def ticket(self) -> Ticket:
        """For other machines that store parts of this set."""
        require_shareable(self.storage, self.style)
        self.is_shared = True
        return Ticket(str(self._name), self._token)

    def take_over(self, source: str, part: StoredPart) -> None:
        """Accepts a part that another machine has stored under the set's prefix."""
        try:
            size = self.storage.size(self.key(checked_relative(part.path)))
        except FileNotFoundError:
            raise DamagedError(f"{shown(part.path)} was said to be stored, and is not there") from None
        if size != part.stored_bytes:
            raise DamagedError(f"{shown(part.path)} has {size:,} bytes, {part.stored_bytes:,} were said to be stored")
        self.claim(part.path)
        self.stored(source, part.path, part.sha256)

    def settle(self, source: str, parts: Sequence[StoredPart]) -> None:
        """Notes a source's parts in the manifest's order, and removes what else lies under its prefix."""
        order = {part.path: number for number, part in enumerate(parts)}
        self._sums[source].sort(key=lambda noted: order[noted[0]])
        for found in list(self.storage.list(self.key(source))):
            if found.key.removeprefix(f"{self.prefix}/") not in order:
                self.storage.delete(found.key)

    def commit(self, manifest: Manifest) -> None:
        """Writes checksums and manifest, so that the set appears."""
        self._name = self._appear(self, self.with_secrets_apart(manifest))
