"""Diff: what changed from one set to another: sources, parts, members of trees, and in a dedup repository the chunks."""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from recoup.model.manifest import Manifest, SourceRecord, StoredPart
from recoup.model.names import SetName
from recoup.model.structs import Struct
from recoup.operations.copy import parsed
from recoup.repository._base import Chunked, ChunkSum, Listed, Repository

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Change = Literal["added", "removed", "changed", "same", "unknown"]
"""`unknown`: as large as before, and nothing says whether the content is the same."""

MOST_NAMES = 1000
"""Names of members that a report has for one tree."""


class MemberChange(Struct):
    """A member of a tree that is not as it was.

    Attributes:
        name: in the tree.
        change: what happened to it.
    """

    name: str
    change: Change


class MemberChanges(Struct):
    """What happened to the members of a tree.

    Attributes:
        added: how many there are now and were not before.
        removed: how many there were and are not.
        changed: how many have another content, kind or link.
        by_content: whether contents were compared by their digests; else by sizes and times.
        named: some of them, at most `MOST_NAMES`.
    """

    added: int
    removed: int
    changed: int
    by_content: bool
    named: tuple[MemberChange, ...] = ()

    @property
    def none(self) -> bool:
        """Whether no member differs."""
        return not (self.added or self.removed or self.changed)


class PartChange(Struct):
    """What happened to a part.

    Attributes:
        source: whose.
        part: its name.
        kind: `stream` or `tree`.
        change: what happened.
        before: plain bytes that it had; None when it was not there.
        after: plain bytes that it has; None when it is gone.
        members: of a tree that differs.
    """

    source: str
    part: str
    kind: str
    change: Change
    before: int | None
    after: int | None
    members: MemberChanges | None = None


class DiffReport(Struct):
    """What changed from one set to another.

    Attributes:
        before: name of the first set.
        after: name of the second.
        before_in: its repository.
        after_in: its repository.
        outcomes: of sources that are not whole in one of the sets: name to both outcomes; empty for one that the set lacks.
        parts: one for each part of either.
        added: chunks that the second has and the first has not; None where they are not in one dedup repository.
        removed: chunks that the first has and the second has not; None as above.
    """

    before: str
    after: str
    before_in: str
    after_in: str
    outcomes: dict[str, tuple[str, str]]
    parts: tuple[PartChange, ...]
    added: ChunkSum | None = None
    removed: ChunkSum | None = None

    def count(self, change: Change) -> int:
        """How many parts something happened to."""
        return sum(part.change == change for part in self.parts)


class Side(Struct):
    """One of two sets.

    Attributes:
        repository: where it is; locked by the caller.
        manifest: what it claims.
    """

    repository: Repository
    manifest: Manifest

    @property
    def name(self) -> SetName:
        """The set's name."""
        return parsed(self.manifest.name)

    def listed(self, part: StoredPart) -> Iterator[Listed]:
        """The members of a tree."""
        return self.repository.listed(self.name, part)


def run(before: Side, after: Side) -> DiffReport:
    """Compares two sets. Contents are not read: what manifests and member lists say of them is compared.

    Args:
        before: the first.
        after: the second.

    Raises:
        DamagedError: a member list, or what says which chunks a set has, is damaged.
    """
    one_place = before.repository is after.repository
    sources = dict.fromkeys([*before.manifest.sources, *after.manifest.sources])
    parts = [change for source in sources for change in _source(source, before, after, one_place=one_place)]
    outcomes = {source: _outcomes(source, before, after) for source in sources}
    doubtful = {source: both for source, both in outcomes.items() if both != ("complete", "complete")}
    added = removed = None
    if one_place and isinstance(after.repository, Chunked):
        added = after.repository.chunks_of([after.name], [before.name])
        removed = after.repository.chunks_of([before.name], [after.name])
    names = (before.manifest.name, after.manifest.name, before.repository.name, after.repository.name)
    return DiffReport(*names, doubtful, tuple(parts), added, removed)


def _outcomes(source: str, before: Side, after: Side) -> tuple[str, str]:
    records = (side.manifest.sources.get(source) for side in (before, after))
    first, second = (record.outcome if record else "" for record in records)
    return first, second


def _source(source: str, before: Side, after: Side, *, one_place: bool) -> Iterator[PartChange]:
    old, new = (_parts(side.manifest.sources.get(source)) for side in (before, after))
    for name in dict.fromkeys([*old, *new]):
        left, right = old.get(name), new.get(name)
        if left is None or right is None or left.kind != right.kind:
            if left is not None:
                yield PartChange(source, name, left.kind, "removed", left.bytes, None)
            if right is not None:
                yield PartChange(source, name, right.kind, "added", None, right.bytes)
            continue
        yield _part(source, left, right, before, after, one_place=one_place)


def _parts(record: SourceRecord | None) -> dict[str, StoredPart]:
    return {} if record is None else {part.name: part for part in record.parts}


def _part(
    source: str, left: StoredPart, right: StoredPart, before: Side, after: Side, *, one_place: bool
) -> PartChange:
    one_place = one_place and isinstance(after.repository, Chunked)
    same = is_same(left, right, one_place=one_place)
    members = None
    if left.kind == "tree" and not same:
        equal = one_place and left.sha256 == right.sha256
        members = compared(lambda: before.listed(left), lambda: after.listed(right), contents_are_equal=equal)
        if same is None and (not members.none or members.by_content):
            same = members.none
    change: Change = "unknown" if same is None else "same" if same else "changed"
    return PartChange(source, left.name, left.kind, change, left.bytes, right.bytes, members)


def is_same(left: StoredPart, right: StoredPart, *, one_place: bool) -> bool | None:
    """Whether two parts hold the same, by what manifests say; None when they do not tell.

    Args:
        left: a part.
        right: another one.
        one_place: whether both are in one dedup repository, where a stream's root names its content.
    """
    if left.bytes != right.bytes:
        return False
    if left.content_sha256 and right.content_sha256:
        return left.content_sha256 == right.content_sha256
    lists = (left.members.sha256 if left.members else "", right.members.sha256 if right.members else "")
    if one_place:
        return left.sha256 == right.sha256 and (lists[0] == lists[1] or None)
    if left.kind == "tree" and "chunks" not in (left.pack, right.pack) and not (left.sealed or right.sealed):
        return True if lists[0] == lists[1] != "" else None
    return None


# --- members ----------------------------------------------------------------------------------------------------------

Members = Callable[[], Iterable[Listed]]
"""Begins reading a member list."""

By = Literal["digest", "size", "time"]
"""By what files are compared: their digests, their sizes, or their sizes and times."""


def compared(before: Members, after: Members, *, contents_are_equal: bool = False) -> MemberChanges:
    """Compares two member lists by digests of their lines, 16 bytes a member, so that lists of millions do; then names some.

    Args:
        before: the first list.
        after: the second.
        contents_are_equal: whether it is known that all files, one behind the other, are the same bytes.
    """
    import numpy as np

    with_digests = _has_digests(before) and _has_digests(after)
    by: By = "digest" if with_digests else "size" if contents_are_equal else "time"
    old_names, old = _digests(before, by)
    new_names, new = _digests(after, by)
    removed = old_names[~np.isin(old_names, new_names)]
    added = new_names[~np.isin(new_names, old_names)]
    _, here, there = np.intersect1d(old_names, new_names, return_indices=True)
    changed = old_names[here][old[here] != new[there]]
    gone = _named(before, {int(name): "removed" for name in removed[:MOST_NAMES]})
    fresh: dict[int, Change] = {int(name): "added" for name in added[:MOST_NAMES]}
    fresh |= {int(name): "changed" for name in changed[:MOST_NAMES]}
    named = sorted([*gone, *_named(after, fresh)], key=lambda one: one.name)
    return MemberChanges(len(added), len(removed), len(changed), by != "time", tuple(named[:MOST_NAMES]))


def _has_digests(members: Members) -> bool:
    """Whether a list says what files contain: its first file tells, as all do."""
    first = next((one for one in members() if one.kind == "file"), None)
    return first is None or bool(first.sha256)


def _digests(members: Members, by: By) -> "tuple[NDArray[np.uint64], NDArray[np.uint64]]":
    import numpy as np

    names, values = array("Q"), array("Q")
    for one in members():
        names.append(_number(one.name))
        values.append(_value(one, by))
    return np.frombuffer(names, np.uint64), np.frombuffer(values, np.uint64)


def _number(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def _value(one: Listed, by: By) -> int:
    content = ""
    if one.kind == "file":
        time = one.attributes.mtime_ns if by == "time" and one.attributes is not None else 0
        content = one.sha256 if by == "digest" else f"{one.bytes} {time}"
    return _number(f"{one.kind}\0{one.link}\0{content}")


def _named(members: Members, wanted: dict[int, Change]) -> Iterator[MemberChange]:
    if wanted:
        for one in members():
            if change := wanted.get(_number(one.name)):
                yield MemberChange(one.name, change)
