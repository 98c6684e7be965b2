"""What is in a set, by path: `SOURCE/PART`, and below that a member of a tree or of an archive, however deep."""

import contextlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from recoup.errors import RestoreError, UsageError
from recoup.model.manifest import Manifest, SourceRecord, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.part import Content, Member, Part, Ranged, StreamPart, TreePart
from recoup.model.structs import Struct
from recoup.operations._archived import deeper, hits, within
from recoup.repository._base import Listed, Repository

_BLOCK = 1024 * 1024
_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() * 1e9


class Entry(Struct):
    """One thing in a set.

    Attributes:
        path: `SOURCE/PART`, or that and what is inside it.
        kind: `stream` or `tree` for a part; `file`, `folder`, `symlink`, `hardlink` or `special` for what is inside one.
        bytes: what it holds, plain.
        modified: when it was changed (UTC), where that is known.
        link: text of a symbolic link, or what a hard link equals.
    """

    path: str
    kind: str
    bytes: int
    modified: datetime | None = None
    link: str = ""


class Spot(Struct):
    """A part, and what of it is meant.

    Attributes:
        source: whose.
        part: which.
        inner: names inside it; one that is empty is all of it.
    """

    source: str
    part: StoredPart
    inner: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether all of the part is meant."""
        return "" in self.inner

    @property
    def path(self) -> str:
        """The part's path in the set."""
        return _joined(self.source, "" if self.part.name == "." else self.part.name)


def _joined(*steps: str) -> str:
    return "/".join(step for step in steps if step)


def split(path: str) -> tuple[str, str]:
    """The source that a path names, and the rest of it."""
    source, _, rest = "/".join(step for step in path.split("/") if step not in ("", ".")).partition("/")
    return source, rest


def restored_by_source(
    paths: Sequence[str], sources: Sequence[str] | None, *, place: bool, delete: bool
) -> dict[str, tuple[str, ...]]:
    """Paths to restore by the sources that they name, without these.

    Args:
        paths: as a person wrote them.
        sources: what else was said to restore.
        place: whether something is to be put where it lives.
        delete: whether what is not restored is to be removed.

    Raises:
        UsageError: one names no source, or something else contradicts them.
    """
    if not paths:
        return {}
    if sources is not None or place or delete:
        raise UsageError("--path restores files alone", "Leave --source, --in-place, SOURCE=WHERE and --delete out.")
    found: dict[str, tuple[str, ...]] = {}
    for path in paths:
        source, rest = split(path)
        if not source:
            raise UsageError(f"--path {shown(path)!r} names nothing", _LOOK)
        found[source] = (*found.get(source, ()), rest)
    return found


def _located(path: str, manifest: Manifest) -> tuple[str, list[Spot]]:
    """The source that a path names, and the parts that it leads to.

    Raises:
        UsageError: there are none.
    """
    source, rest = split(path)
    if source not in manifest.sources:
        known = ", ".join(manifest.sources)
        raise UsageError(f"{manifest.name} has no source {shown(source)!r}", f"A path begins with one of: {known}.")
    found = spots(source, manifest.sources[source], (rest,))
    if not found:
        raise UsageError(f"{manifest.name} has nothing of {source}", _LOOK)
    return source, found


def spots(source: str, record: SourceRecord, rests: Sequence[str]) -> list[Spot]:
    """The parts of a source that paths lead to.

    Args:
        source: its name.
        record: what the set has of it.
        rests: paths without the source; the empty one means all of it.

    Raises:
        UsageError: one leads to no part.
    """
    lost = [rest for rest in rests if rest and not any(_inner(part, (rest,)) for part in record.parts)]
    if lost:
        raise UsageError(f"there is no {shown(_joined(source, lost[0]))} in the set", _LOOK)
    found = (Spot(source, part, _inner(part, rests)) for part in record.parts)
    return [spot for spot in found if spot.inner]


_LOOK = "`recoup ls SET [PATH]` shows what there is."


def _inner(part: StoredPart, rests: Sequence[str]) -> tuple[str, ...]:
    """What of a part is wanted: the empty name for all, nothing where it is not meant."""
    if part.name == ".":
        return tuple(dict.fromkeys(rests))
    if hits(part.name, rests):
        return ("",)
    return tuple(dict.fromkeys(deeper(part.name, rests)))


# --- what there is ----------------------------------------------------------------------------------------------------


def entries(repository: Repository, name: SetName, manifest: Manifest, path: str) -> Iterator[Entry]:
    """What is at a path and below it. The empty path means the parts of all sources; a source with several parts, or a folder
    of parts, means these; a part that is a tree or an archive, what is in it.

    Args:
        repository: where the set is; locked by the caller.
        name: of the set.
        manifest: of the set.
        path: as a person wrote it.

    Raises:
        UsageError: there is no such thing.
        DamagedError: what is stored is damaged.
    """
    if not split(path)[0]:
        for source, record in manifest.sources.items():
            yield from (_entry_of_part(Spot(source, part, ("",))) for part in record.parts)
        return
    _, found = _located(path, manifest)
    if len(found) > 1:
        yield from map(_entry_of_part, found)
        return
    yield from _inside(repository, name, found[0])


def _entry_of_part(spot: Spot) -> Entry:
    attributes = spot.part.attributes
    modified = _moment(attributes.mtime_ns) if attributes else None
    return Entry(spot.path, spot.part.kind, spot.part.bytes, modified)


def _inside(repository: Repository, name: SetName, spot: Spot) -> Iterator[Entry]:
    by_list = spot.part.kind == "tree" and not _is_file(repository, name, spot)
    if by_list and (yield from _listed(repository, name, spot)):
        return
    part = repository.fetch(name, spot.source, spot.part)
    if isinstance(part, StreamPart) and spot.whole:
        yield _entry_of_part(spot)
        yield from _of_archive(part.content, spot.path)
        return
    for member in members(spot, part):
        yield _entry(spot.path, member, member.size if member.kind == "file" else 0)
        if member.content is not None and member.name in spot.inner:
            yield from _of_archive(member.content, _joined(spot.path, member.name))


def _is_file(repository: Repository, name: SetName, spot: Spot) -> bool:
    """Whether a file of a tree is meant, which may be an archive. A list has what is meant before what is below it."""
    if spot.whole:
        return False
    found = (one for one in repository.listed(name, spot.part) if hits(one.name, spot.inner))
    first = next(found, None)
    return first is not None and first.kind == "file" and first.name == spot.inner[0]


def _listed(repository: Repository, name: SetName, spot: Spot) -> Generator[Entry, None, bool]:
    """Members by their list; whether there were any."""
    found = spot.whole
    for one in repository.listed(name, spot.part):
        if one.name != "." and hits(one.name, spot.inner):
            found = True
            yield _entry(spot.path, one, one.bytes)
    return found


def _of_archive(content: Content, path: str) -> Iterator[Entry]:
    """What is in a file, if it is an archive."""
    found = within(content, path, ("",))
    try:
        first = next(found, None)
    except UsageError:
        return
    for member in itertools.chain([first] if first else [], found):
        yield _entry(path, member, member.size if member.kind == "file" else 0)


def _entry(path: str, found: Listed | Member, size: int) -> Entry:
    modified = _moment(found.attributes.mtime_ns) if found.attributes else None
    return Entry(_joined(path, found.name), found.kind, size, modified, found.link)


def _moment(nanoseconds: int) -> datetime | None:
    """A time as a person reads it; None for one that no calendar has."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if 0 <= nanoseconds < _LATEST else None


# --- taking out -------------------------------------------------------------------------------------------------------


def members(spot: Spot, part: Part) -> Iterator[Member]:
    """The members of a part that are wanted, each to be read before the next is asked for.

    Args:
        spot: the part, and what of it is wanted.
        part: from its repository.

    Raises:
        UsageError: it has none of that name.
        DamagedError: what is stored is damaged.
    """
    left = set(spot.inner) - {""}
    found = _of_tree(part, spot) if isinstance(part, TreePart) else within(part.content, spot.path, spot.inner)
    for member in found:
        left -= {name for name in left if hits(member.name, (name,))}
        yield member
    if left:
        raise UsageError(f"there is no {shown(_joined(spot.path, min(left)))} in the set", _LOOK)


def _of_tree(part: TreePart, spot: Spot) -> Iterator[Member]:
    """Members of a tree and of archives in it; ends when all that was wanted are files that were found."""
    left = set(spot.inner)
    with contextlib.closing(part.members) as found:  # type: ignore[type-var] # repositories give generators
        for member in found:
            if hits(member.name, spot.inner):
                yield member
                left -= {member.name} if member.kind != "folder" else set()
            elif member.content is not None and (below := deeper(member.name, spot.inner)):
                for inner in within(member.content, _joined(spot.path, member.name), below):
                    link = _joined(member.name, inner.link) if inner.kind == "hardlink" else inner.link
                    yield replace(inner, name=f"{member.name}/{inner.name}", link=link)
                left -= {f"{member.name}/{name}" for name in below}
            if not left:
                return


def selected(spot: Spot, part: Part) -> Part:
    """A part, or a tree of what is wanted of it, with the folders on the way.

    Args:
        spot: the part, and what of it is wanted.
        part: from its repository.
    """
    return part if spot.whole else TreePart(part.name, _restorable(spot, members(spot, part)))


def _restorable(spot: Spot, found: Iterator[Member]) -> Iterator[Member]:
    """Members in an order in which they can be written: folders first, each once, and no link to what does not come along."""
    made: set[str] = set()
    for member in found:
        if member.kind == "hardlink" and not hits(member.link, spot.inner):
            path, link = _joined(spot.path, member.name), _joined(spot.path, member.link)
            raise RestoreError(f"{shown(path)} is a hard link to {shown(link)}", f"Add --path {shown(link)}.")
        steps = member.name.split("/")
        for count in range(1, len(steps)):
            folder = "/".join(steps[:count])
            if folder not in made:
                made.add(folder)
                yield Member(folder, "folder")
        if member.kind != "folder":
            yield member
        elif member.name not in made:
            made.add(member.name)
            yield member


# --- reading one ------------------------------------------------------------------------------------------------------


class Range(Struct):
    """Bytes of a content.

    Attributes:
        first: the first one, from 0.
        last: the last one; None is the end.
    """

    first: int = 0
    last: int | None = None


def read(repository: Repository, name: SetName, manifest: Manifest, path: str, wanted: Range) -> Iterator[bytes]:
    """The bytes of a stream, or of a file inside a part.

    Args:
        repository: where the set is; locked by the caller.
        name: of the set.
        manifest: of the set.
        path: as a person wrote it.
        wanted: which of its bytes.

    Raises:
        UsageError: it is no file, or does not have these bytes.
        DamagedError: what is stored is damaged; at the latest at the end.
    """
    source, found = _located(path, manifest)
    if len(found) != 1 or (found[0].whole and found[0].part.kind == "tree"):
        raise UsageError(f"{shown(path)} is no file but a folder", _FOLDER)
    [spot] = found
    part = repository.fetch(name, source, spot.part)
    if spot.whole and isinstance(part, StreamPart):
        yield from _bytes(part.content, spot.part.bytes, path, wanted)
        return
    for member in members(spot, part):
        if member.name != spot.inner[0]:
            raise UsageError(f"{shown(path)} is no file but a folder", _FOLDER)
        if member.content is None:
            raise UsageError(_not_a_file(spot, member, path), _FOLDER if member.kind == "folder" else "")
        yield from _bytes(member.content, member.size, path, wanted)


_FOLDER = "`recoup restore SET --path PATH --target DIR` takes out folders; `recoup ls SET PATH` shows what is in them."


def _not_a_file(spot: Spot, member: Member, path: str) -> str:
    if member.kind in ("symlink", "hardlink"):
        target = _joined(spot.path, member.link) if member.kind == "hardlink" else member.link
        return f"{shown(path)} is no file but a link to {shown(target)}"
    return f"{shown(path)} is no file but a {'folder' if member.kind == 'folder' else 'device or the like'}"


def _bytes(content: Content, size: int, path: str, wanted: Range) -> Iterator[bytes]:
    last = size - 1 if wanted.last is None else min(wanted.last, size - 1)
    if wanted.first > max(last, 0):
        raise UsageError(f"{shown(path)} has {size:,} bytes, so none at {wanted.first:,}")
    left = last + 1 - wanted.first
    if isinstance(content, Ranged):
        with content.open_at(wanted.first, left) as reader:
            while data := reader.read(_BLOCK):
                yield data
        return
    skip = wanted.first
    with content.open() as reader:  # to its end, where it is compared with what was stored
        while data := reader.read(_BLOCK):
            if piece := data[skip : skip + left]:
                yield piece
            left -= len(piece)
            skip = max(0, skip - len(data))
