"""The keyed repository: a plain one whose artefacts lie where a template wants them, beside those of other tools."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from recoup.errors import NoSuchSetError, RefusedError, WrongKeyError
from recoup.model.artefact import Artefact
from recoup.model.manifest import Compression, Manifest, Sealed
from recoup.model.names import shown
from recoup.model.part import StreamPart
from recoup.repository.compressing import SUFFIX as COMPRESSED
from recoup.repository.compressing import decompressed
from recoup.repository.keyed import writing
from recoup.repository.keyed.template import Found, Template
from recoup.repository.keyed.view import KeyedStorage, artefact_key
from recoup.repository.plain import layout
from recoup.repository.plain.folder import Style
from recoup.repository.plain.reading import StoredContent, stored_chunks
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.plain.sealed import unsealed
from recoup.repository.plain.verifying import PlainVerification
from recoup.repository.plain.writing import PlainSetWriter
from recoup.repository.sealing._base import SUFFIX as SEALED
from recoup.storage._base import Storage
from recoup.system.clock import Clock


class KeyedVerification(PlainVerification):
    """A verification of a keyed set."""

    def listed(self, path: str) -> str:
        """A path as SHA256SUMS names it."""
        return writing.listed(self._storage, self._name, path)

    def path_of(self, line: str) -> str:
        """The path that a line of SHA256SUMS names."""
        return writing.path_of(self._storage, self._name, line)


class KeyedRepository(PlainRepository):
    """Sets whose artefacts have keys of their own.

    Args:
        name: what the configuration calls it.
        storage: where.
        template: of the artefacts' keys.
        style: how new parts are stored.
        clock: time.
        adopts: whether retention goes for other tools' artefacts, too.
    """

    LAYOUT: ClassVar[str] = "keyed"
    WRITER: ClassVar[type[PlainSetWriter]] = writing.KeyedSetWriter
    VERIFICATION: ClassVar[type[PlainVerification]] = KeyedVerification

    def __init__(
        self, name: str, storage: Storage, template: Template, style: Style, clock: Clock, *, adopts: bool = False
    ) -> None:
        self._keyed = KeyedStorage(storage, template)
        self.adopts = adopts
        super().__init__(name, self._keyed, style, clock)

    def create(self) -> None:
        """Makes an empty repository; what other tools have put there stays."""
        try:
            self._keyed.inner.size(layout.REPOSITORY)
        except FileNotFoundError:
            super().create()
            return
        raise RefusedError(
            f"{self.location} is a repository already, of layout 'sets'", "Choose another place. Nothing was changed."
        )

    def shape(self) -> Mapping[str, str]:
        """The template, so that whoever has lost the configuration knows it."""
        return {"key": self._keyed.template.text}

    # --- artefacts --------------------------------------------------------------------------------------------------

    def artefacts(self, manifest: Manifest) -> Sequence[Artefact]:
        """Those of a set, in the order of its sources and parts; one whose key another template made is left out."""
        parts = [part for record in manifest.sources.values() for part in record.parts]
        keys = [(key, part.stored_bytes) for part in parts if (key := artefact_key(part.path))]
        return [self._artefact(key, size, found) for key, size in keys if (found := self._keyed.template.match(key))]

    def foreign(self) -> Sequence[Artefact]:
        """Artefacts that no set has, as other tools put them there, oldest first."""
        found = list(self._all())
        owned = self._keyed.owned()  # asked afterwards: what a backup puts there meanwhile has an owner first
        return sorted((one for one in found if one.key not in owned), key=lambda one: (one.time, one.key))

    def _all(self) -> Iterator[Artefact]:
        template = self._keyed.template
        for one in self._keyed.beside():
            if one.link is None and (found := template.match(one.key)):
                yield self._artefact(one.key, one.size, found)

    def _artefact(self, key: str, size: int, found: Found) -> Artefact:
        return Artefact(self.name, f"{self.location}/{key}", key, found.part, found.name.time, size)

    def read_foreign(self, artefact: Artefact) -> StreamPart:
        """An artefact of another tool as a part: decompressed and opened as its name says. Nobody knows its hash.

        Raises:
            NoSuchSetError: it is not there, or not what was asked for.
            WrongKeyError: it is encrypted, and what is configured does not open it.
        """
        found = self._keyed.template.match(artefact.key)
        if found is None:
            raise NoSuchSetError(f"{shown(artefact.key)} is no artefact of {self.name}", "`recoup list` shows them.")
        sealed = next((method for method, suffix in SEALED.items() if found.suffix.endswith(suffix)), None)
        bare = found.suffix.removesuffix(SEALED[sealed]) if sealed else found.suffix
        compression: Compression = next(kind for kind, suffix in COMPRESSED.items() if suffix == bare)
        if sealed and not (self._style.sealing and self._style.sealing.can_open):
            raise WrongKeyError(
                f"{shown(artefact.key)} is encrypted by {sealed}, and nothing is configured to open it",
                "Set `encrypt:` of the repository with the key that opens it.",
            )
        name = f"{found.part}{self._keyed.template.extension}"
        return StreamPart(name, StoredContent(self._chunks(artefact.key, sealed, compression)))

    def _chunks(self, key: str, sealed: Sealed | None, compression: Compression) -> Callable[[], Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            stored = stored_chunks(self._keyed.inner, key, key)
            opened = unsealed(self._style.sealing, sealed, stored, key) if sealed else stored
            return decompressed(opened, compression)

        return chunks

    def foreign_locked_until(self, artefact: Artefact) -> datetime | None:
        """Until when the storage refuses to give one up."""
        try:
            until = self._keyed.inner.locked_until(artefact.key)
        except FileNotFoundError:  # another tool took it away since it was listed
            return None
        return until if until is not None and until > self._clock.now() else None

    def delete_foreign(self, artefacts: Sequence[Artefact]) -> None:
        """Removes artefacts of other tools for good.

        Raises:
            RefusedError: this repository does not adopt them, or one is a set's; then nothing is removed.
        """
        if not self.adopts:
            raise RefusedError(f"{self.name} does not remove other tools' artefacts", "Set `adopt: true` of it.")
        owned = self._keyed.owned()
        for artefact in artefacts:
            if artefact.key in owned or self._keyed.template.match(artefact.key) is None:
                raise RefusedError(f"{shown(artefact.key)} is no other tool's artefact; nothing was removed")
        for artefact in artefacts:
            self._keyed.inner.delete(artefact.key)
