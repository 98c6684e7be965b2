"""Repair: what is damaged or missing of stored sets is replaced by what another repository has of the same cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256

from recoup.errors import DamagedError, NoSpaceError, RecoupError, StorageError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.manifest import Manifest, StoredFile, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.part import Content, TreePart
from recoup.model.reports import Damage, RepairReport, SetInfo
from recoup.model.structs import Struct
from recoup.operations._cutting import sentence
from recoup.operations._healing import Healer
from recoup.operations.selection import listing
from recoup.repository._base import Healable, Mending, Repository, Subset
from recoup.system.clock import Clock

_MANIFEST, _SUMS = "manifest.json", "SHA256SUMS"
_LEFT_ALONE = ("extra", "link", "content")
_NO_COPY = "to have a whole copy, delete this one and make it anew by `recoup copy`"


class Row(Struct):
    """One set in the plan.

    Attributes:
        repository: which is mended.
        set: its name there.
        helper: its name in the other one; empty when that has no copy of it.
        damage: what is wrong with it.
    """

    repository: str
    set: str
    helper: str
    damage: tuple[Damage, ...]


class Sides(Struct):
    """Who is mended, and by whom.

    Attributes:
        broken: the repository with damage.
        helper: the one that has the same cuts; None for what can be done without one.
        clock: time.
        emit: where news go.
    """

    broken: Repository
    helper: Repository | None
    clock: Clock
    emit: Emit


def plan(names: Sequence[SetName], sides: Sides) -> tuple[Row, ...]:
    """Looks for damage by reading every stored byte of the sets; changes nothing.

    Args:
        names: the sets to look at.
        sides: the repositories; the caller holds a lock on both.

    Raises:
        WrongKeyError: this host cannot read the damaged repository.
    """
    if isinstance(sides.broken, Healable):
        sides.broken.healing()  # who cannot mend cannot say that a set is whole, either
    copies = listing(sides.helper, sides.clock.now()) if sides.helper is not None else ()
    return tuple(
        Row(sides.broken.name, str(name), _helper_of(name, sides, copies), _damage(name, sides)) for name in names
    )


def _damage(name: SetName, sides: Sides) -> tuple[Damage, ...]:
    work = f"verify {name}"
    verification = sides.broken.verify(name, Subset(), lambda done: sides.emit(Progress(work, done)))
    found = tuple(verification)
    sides.emit(Progress(work, verification.bytes, finished=True))
    return found


def _helper_of(name: SetName, sides: Sides, copies: Sequence[SetInfo]) -> str:
    """The copy with the same id; where the manifest is damaged, that under the same name, whose bytes are compared."""
    try:
        manifest = sides.broken.manifest(name)
    except RecoupError:
        return next((info.name for info in copies if info.name == str(name) and info.manifest), "")
    return next((info.name for info in copies if info.manifest and info.manifest.id == manifest.id), "")


def run(row: Row, sides: Sides) -> RepairReport:
    """Mends one set as far as the other repository can, and looks at all of it again.

    What is put in place has the SHA-256 that the set's manifest wants, or is not put there. Files that no manifest names are left
    alone. The caller holds an exclusive lock on the broken repository and a shared one on the other.
    """
    begun = sides.clock.monotonic()
    mended = _mended(row, sides) if row.damage else _Mended((), (), ())
    reasons = list(mended.reasons)
    if mended.left and not row.helper:
        reasons.append(f"{sides.helper.name} has no copy of it" if sides.helper else "no other repository was named")
    report = RepairReport(
        set=row.set,
        repository=sides.broken.name,
        helper=sides.helper.name if sides.helper else "",
        repaired=tuple(dict.fromkeys(mended.repaired)),
        left=mended.left,
        seconds=sides.clock.monotonic() - begun,
        reasons=tuple(dict.fromkeys(reasons)),
    )
    if row.damage:
        _tell(report, sides)
    return report


class _Mended(Struct):
    """What became of a set: what was put in place, what is left, and why."""

    repaired: Sequence[str]
    left: tuple[Damage, ...]
    reasons: Sequence[str]


def _mended(row: Row, sides: Sides) -> _Mended:
    if isinstance(sides.broken, Healable):
        copy = _parsed(row.helper) if row.helper else None
        look = partial(_damage, _parsed(row.set), sides)
        healer = Healer(_parsed(row.set), sides.broken.healing(), sides.broken, sides.helper, copy, look)
        left = healer.mend(row.damage)
        return _Mended(healer.repaired, left, healer.reasons)
    if sides.helper is None or not row.helper:
        return _Mended((), row.damage, ())
    mender = _Mender(row, sides, sides.helper)
    left = mender.mend()
    return _Mended(mender.repaired, left, mender.reasons)


def _tell(report: RepairReport, sides: Sides) -> None:
    state = "is whole again" if not report.left else f"is still damaged in {len(report.left)} places"
    source = f"came from {report.helper}" if report.helper else "were made anew"
    text = f"{report.set} in {report.repository} {state}; {len(report.repaired)} files {source}"
    level = Level.WARNING if report.left else Level.INFO
    fields = {"repository": report.repository, "from": report.helper, "repaired": list(report.repaired)[:100]}
    sides.emit(Event("set_repaired", sides.clock.now(), text, level, report.set, {**fields, "left": len(report.left)}))


@dataclass
class _Mender:
    """Mends one set, the manifest first, since it says what all else has to be."""

    row: Row
    sides: Sides
    helper: Repository
    repaired: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def mend(self) -> tuple[Damage, ...]:
        """Mends stage by stage, and looks at all of the set again after each that changed something; returns what is left."""
        damage = self.row.damage
        for stage in (self._manifest, self._lists, self._files, self._sums):
            before = len(self.repaired)
            try:
                stage({found.item for found in damage if found.kind not in _LEFT_ALONE})
            except (NoSpaceError, StorageError):
                raise
            except RecoupError as error:
                self.reasons.append(sentence(error))
            if len(self.repaired) > before:
                damage = _damage(self._name, self.sides)
        return damage

    @property
    def _name(self) -> SetName:
        return _parsed(self.row.set)

    @cached_property
    def _here(self) -> Mending:
        return self.sides.broken.mending(self._name)

    @cached_property
    def _there(self) -> Mending:
        return self.helper.mending(_parsed(self.row.helper))

    def _pairs(self) -> Iterator[tuple[str, StoredPart, StoredPart]]:
        """Each part with its twin in the other repository."""
        here = self.sides.broken.manifest(self._name)
        there = self.helper.manifest(_parsed(self.row.helper))
        for source, record in here.sources.items():
            for part in record.parts:
                twin = _twin(there, source, part)
                if twin is not None:
                    yield source, part, twin

    def _try(self, file: StoredFile, begin: Callable[[], Iterator[bytes]]) -> None:
        try:
            self._here.replace(file, begin())
        except (NoSpaceError, StorageError):
            raise
        except RecoupError as error:
            self.reasons.append(f"{shown(file.path)}: {sentence(error)}")
        else:
            self.repaired.append(file.path)

    def _manifest(self, damaged: set[str]) -> None:
        if _MANIFEST not in damaged:
            return
        wanted = self._here.wanted_manifest()
        data = b"".join(self._there.raw(_MANIFEST))
        if sha256(data).hexdigest() != wanted:
            self.reasons.append(
                f"its manifest is lost, and {self.row.helper} in {self.helper.name} is stored in another form; {_NO_COPY}"
            )
            return
        self._try(StoredFile(_MANIFEST, len(data), wanted), lambda: iter([data]))

    def _lists(self, damaged: set[str]) -> None:
        for _, part, twin in self._pairs():
            if part.members and twin.members and part.members.path in damaged:
                wanted = StoredFile(part.members.path, part.members.bytes, part.members.sha256)
                self._try(wanted, partial(self._list, wanted, twin))

    def _list(self, wanted: StoredFile, twin: StoredPart) -> Iterator[bytes]:
        if twin.members and twin.members.sha256 == wanted.sha256:
            return self._there.raw(twin.members.path)
        return self._there.listed(twin)

    def _files(self, damaged: set[str]) -> None:
        for source, part, twin in self._pairs():
            if part.kind == "tree" and part.pack == "tree":
                self._tree(source, part, twin, damaged)
            elif part.path in damaged:
                beside = part.members.bytes if part.members else 0
                wanted = StoredFile(part.path, part.stored_bytes - beside, part.sha256)
                self._try(wanted, partial(self._stored, source, part, twin))
        for file in self._here.beside():
            if file.path in damaged:
                self._sealed(file)

    def _stored(self, source: str, part: StoredPart, twin: StoredPart) -> Iterator[bytes]:
        if part.sha256 == twin.sha256:
            return self._there.raw(twin.path)
        return self._here.as_stored(part, self.helper.fetch(_parsed(self.row.helper), source, twin))

    def _tree(self, source: str, part: StoredPart, twin: StoredPart, damaged: set[str]) -> None:
        """Files of a tree, from the other's tree or archive, whose members are read in order."""
        if not any(path.startswith(f"{part.path}/") for path in damaged):
            return
        wanted = {name: file for name, file in self._here.files(part) if file.path in damaged}
        fetched = self.helper.fetch(_parsed(self.row.helper), source, twin)
        for member in fetched.members if isinstance(fetched, TreePart) and wanted else ():
            file = wanted.get(member.name)
            if file is not None and member.content is not None:
                self._try(file, partial(_read, member.content))

    def _sealed(self, file: StoredFile) -> None:
        """A file of an encrypted set that is no part: the same bytes, or nothing."""
        twin = next((other for other in self._there.beside() if other.sha256 == file.sha256), None)
        if twin is None:
            self.reasons.append(f"{file.path} is encrypted in another way there; {_NO_COPY}")
        else:
            self._try(file, partial(self._there.raw, twin.path))

    def _sums(self, damaged: set[str]) -> None:
        if _SUMS in damaged and _MANIFEST not in damaged:
            self._here.write_sums()
            self.repaired.append(_SUMS)


def _read(content: Content) -> Iterator[bytes]:
    with content.open() as reader:
        while data := reader.read(1024 * 1024):
            yield data


def _twin(manifest: Manifest, source: str, part: StoredPart) -> StoredPart | None:
    record = manifest.sources.get(source)
    return next((p for p in record.parts if (p.name, p.kind) == (part.name, part.kind)), None) if record else None


def _parsed(text: str) -> SetName:
    found = SetName.parse(text)
    if found is None:
        raise DamagedError(f"{text} is not the name of a set")
    return found
