"""Repair of a repository that stores chunks: what is lost of a set comes back from another repository's copy of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from recoup.errors import NoSpaceError, RecoupError, StorageError
from recoup.model.manifest import Manifest, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.part import Content, Part
from recoup.model.reports import Damage
from recoup.operations._cutting import sentence
from recoup.repository._base import Healable, Healing, Repository

_MANIFEST, _RECIPES, _PACKS = "manifest.json", "recipes", "packs/"


@dataclass
class Healer:
    """Mends one set.

    Attributes:
        name: of the set.
        healing: of the repository with damage.
        broken: that repository.
        helper: the one that has the same cut; None where there is none.
        copy: the set's name there; None where it has none.
        look: looks at all of the set again.
        repaired: files, parts and index files that were put in place.
        reasons: why something could not be mended.
    """

    name: SetName
    healing: Healing
    broken: Repository
    helper: Repository | None
    copy: SetName | None
    look: Callable[[], tuple[Damage, ...]]
    repaired: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def mend(self, damage: tuple[Damage, ...]) -> tuple[Damage, ...]:
        """Mends stage by stage, and looks at all of the set again after each that changed something; returns what is left."""
        for stage in (self._index, self._files, self._parts, self._packs):
            before = len(self.repaired)
            if damage:
                self._try("", partial(stage, damage))
            if len(self.repaired) > before:
                damage = self.look()
        return (
            damage if self.repaired else self.look()
        )  # what was put back for another set may be all that this one lacked

    def _try(self, item: str, attempt: Callable[[], None]) -> None:
        try:
            attempt()
        except (NoSpaceError, StorageError):
            raise
        except RecoupError as error:
            self.reasons.append(f"{shown(item)}: {sentence(error)}" if item else sentence(error))

    def _index(self, _damage: tuple[Damage, ...]) -> None:
        names, reasons = self.healing.rebuild_index()
        self.repaired += names
        self.reasons += reasons

    def _files(self, damage: tuple[Damage, ...]) -> None:
        """The manifest and the recipes: from a repository of the same keys, byte for byte."""
        if not {found.item for found in damage} & {_MANIFEST, _RECIPES} or self.copy is None:
            return
        if self._there is None:
            self.reasons.append("its manifest or recipes are lost, which only a copy with the same keys has")
            return
        for path in (_MANIFEST, _RECIPES):
            self._try(path, partial(self._put_back, self._there, self.copy, path))

    def _put_back(self, there: Healing, copy: SetName, path: str) -> None:
        data = there.raw(copy, path)
        if not self._is_there(path, data):
            self.healing.put_back(self.name, path, data)
            self.repaired.append(path)

    def _is_there(self, path: str, data: bytes) -> bool:
        try:
            return self.healing.raw(self.name, path) == data
        except RecoupError:
            return False

    @cached_property
    def _there(self) -> Healing | None:
        """Of the other one, where it stores chunks, too."""
        return self.helper.healing() if isinstance(self.helper, Healable) else None

    def _parts(self, damage: tuple[Damage, ...]) -> None:
        if self.helper is None or self.copy is None:
            return
        here, there = self.broken.manifest(self.name), self.helper.manifest(self.copy)
        items = {found.item for found in damage}
        for source, record in here.sources.items():
            for part in record.parts:
                twin = _twin(there, source, part)
                if twin is not None and part.path in items:
                    fetch = partial(self.helper.fetch, self.copy, source, twin)
                    listed = partial(self._there.listed, self.copy, twin) if self._there else lambda: None
                    self._try(part.path, partial(self._part, part, fetch, listed))

    def _packs(self, damage: tuple[Damage, ...]) -> None:
        """Files that several sets share, of which all is sound that this one needs."""
        for found in damage:
            if found.item.startswith(_PACKS):
                self._try(found.item, partial(self._pack, found.item))

    def _pack(self, path: str) -> None:
        self.healing.mend_pack(self.name, path)
        self.repaired.append(path)

    def _part(self, part: StoredPart, fetch: Callable[[], Part], listed: Callable[[], Content | None]) -> None:
        if self.healing.heal(self.name, part, fetch, listed()):
            self.repaired.append(part.path)


def _twin(manifest: Manifest, source: str, part: StoredPart) -> StoredPart | None:
    record = manifest.sources.get(source)
    return next((p for p in record.parts if (p.name, p.kind) == (part.name, part.kind)), None) if record else None
