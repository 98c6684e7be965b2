"""Writing a set of a dedup repository: streams become recipes, new chunks go to packs, the manifest comes last."""

import os
from collections.abc import Callable
from typing import Any

import blake3

from recoup.errors import RefusedError, SourceError
from recoup.model.manifest import Manifest, MemberList, StoredPart
from recoup.model.manifest import Sealing as SealingRecord
from recoup.model.names import shown
from recoup.model.part import Content, Hashed, Member
from recoup.repository._base import Ticket
from recoup.repository.dedup import recipes as recipe_files
from recoup.repository.dedup.cutting import SHORTEST
from recoup.repository.dedup.names import RECIPES
from recoup.repository.dedup.recipes import Recipe
from recoup.repository.dedup.sets import encode_set, identity
from recoup.repository.dedup.storing import Run, StreamStorer
from recoup.repository.plain import layout, members
from recoup.repository.plain.writing import PlainSetWriter

_BLOCK = 1024 * 1024


class DedupSetWriter(PlainSetWriter):
    """A set being written.

    Args:
        run: stores its chunks.
        before_manifest: is called when all parts are durable; raises when the set must not appear.
        folder: as of a plain set.
    """

    def __init__(self, run: Run, before_manifest: Callable[[], None], *folder: Any, **more: Any) -> None:
        super().__init__(*folder, **more)
        self.run, self._before_manifest = run, before_manifest
        self._recipes: dict[str, Recipe] = {}
        self._written = ""  # BLAKE3 of the recipes, when they are stored
        self._tries = 0
        self.is_there = False  # whether it was committed

    def stream(  # type: ignore[override] # the sinks of another layout
        self,
        source: str,
        name: str,
        size: int | None,  # noqa: ARG002 - for others to plan with
        *,
        once: bool = False,  # noqa: ARG002 - everything is stored once
    ) -> "DedupStreamSink":
        """Begins a stream part."""
        return DedupStreamSink(self, layout.stream_path(source, name, ""), name)

    def tree(self, source: str, name: str, *, once: bool = False) -> "DedupTreeSink":  # type: ignore[override]  # noqa: ARG002
        """Begins a tree part."""
        return DedupTreeSink(self, source, name)

    def keep(self, path: str, recipe: Recipe) -> None:
        """Takes a stream into the set."""
        self._recipes[path] = recipe

    def discard(self, source: str) -> None:
        """Takes everything of a source out of the set; chunks of it that are stored serve the next one."""
        mine = {path for path in self._taken if path.split("/", 1)[0].split(".", 1)[0] == source}
        self._taken -= mine
        for path in mine & self._recipes.keys():
            del self._recipes[path]

    def ticket(self) -> Ticket:
        """Refused: another machine would have to get the set's key."""
        raise RefusedError(
            "workers cannot store into a dedup repository",
            "Back up without workers, or into a repository of layout `sets`, and `recoup copy` from there.",
        )

    def write_sums(self, data: bytes, record: SealingRecord | None) -> bytes:  # noqa: ARG002 - a plain set's
        """Stores what the manifest builds on, in order, and returns what is to stand in manifest.json."""
        run = self.run
        if not self._written:
            run.flush()
            self._before_manifest()
            sealed = recipe_files.seal(self._recipes, run.key, identity(run.id, run.keys.repository))
            self.storage.put(self.key(RECIPES), sealed)
            self._written = blake3.blake3(sealed).hexdigest()
        self._tries += 1
        return encode_set(data, run.id, self._tries, run.key, self._written, run.keys)

    def commit(self, manifest: Manifest) -> None:
        """Makes all parts durable, then the set appear."""
        super().commit(manifest)
        self.is_there = True


class DedupStreamSink:
    """A stream part being stored."""

    def __init__(self, owner: DedupSetWriter, path: str, name: str) -> None:
        owner.claim(path)
        self._owner, self._path, self._name = owner, path, name
        self._storer = StreamStorer(owner.run)
        self._sha256 = ""
        self._open = True
        self.write = self._storer.write
        self.hole = self._storer.hole

    def adopt(self, content: Content, /) -> bool:
        """Reads a local file without passing it through others."""
        if not read_file(self._storer, content):
            return False
        self._sha256 = content.sha256 if isinstance(content, Hashed) else ""
        return True

    def finish(self) -> StoredPart:
        """Ends it and says what was stored."""
        self._open = False
        recipe, added = self._storer.finish()
        self._owner.keep(self._path, recipe)
        return StoredPart(
            name=self._name,
            kind="stream",
            path=self._path,
            bytes=recipe.size,
            stored_bytes=added,
            sha256=recipe.root.hex(),
            content_sha256=self._sha256,
        )

    def abort(self) -> None:
        """Discards it."""
        if self._open:
            self._open = False
            self._storer.abort()
            self._owner.release(self._path)


def read_file(storer: StreamStorer, content: Content) -> bool:
    """Stores the file that holds a content; False where there is none."""
    if content.local_path is None:
        return False
    descriptor = os.open(content.local_path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    before, size = storer.bytes, os.fstat(descriptor).st_size
    try:
        storer.read_from(descriptor, size)
    finally:
        os.close(descriptor)
    if storer.bytes - before != size:
        raise SourceError(f"{shown(str(content.local_path))} became shorter while it was read", "Back up again.")
    return True


class DedupTreeSink:
    """A tree being stored: the contents of its files as one stream, its member list as another."""

    def __init__(self, owner: DedupSetWriter, source: str, name: str) -> None:
        self._owner, self._source, self._name = owner, source, name
        self._path, self._list_path = layout.tree_path(source, name, "tree"), layout.members_path(source, name)
        for taken in (self._path, self._list_path):
            owner.claim(taken)
        self.content = StreamStorer(owner.run)
        self._list = StreamStorer(owner.run, tar=False, slabs=2)
        self.listing = members.Listing(source, self._list.write)
        self._expected = 0
        self._open = True

    def file(self, member: Member) -> "DedupMemberSink":
        """Begins a file."""
        self.listing.enter(member.name)
        return DedupMemberSink(self, member)

    def add(self, member: Member) -> None:
        """Adds a folder or link."""
        self.listing.enter(member.name)
        self.listing.line(members.Line(member.name, member.kind, member.attributes, link=member.link))

    def stored(self, member: Member, begin: int, *, changed: bool) -> int:
        """Notes a file whose content begins at `begin` and ends here; returns its bytes."""
        end = self.content.bytes
        size = end - begin
        at = None if begin == self._expected else begin
        self._expected = end
        self.listing.line(members.Line(member.name, "file", member.attributes, size, changed=changed, at=at))
        return size

    def finish(self) -> StoredPart:
        """Ends the tree."""
        self._open = False
        content, added = self.content.finish()
        self.listing.flush()
        listed, more = self._list.finish()
        self._owner.keep(self._path, content)
        self._owner.keep(self._list_path, listed)
        return StoredPart(
            name=self._name,
            kind="tree",
            path=self._path,
            bytes=self.listing.bytes,
            stored_bytes=added + more,
            sha256=content.root.hex(),
            pack="chunks",
            members=MemberList(self._list_path, self.listing.count, listed.root.hex(), listed.size),
        )

    def abort(self) -> None:
        """Discards the tree."""
        if self._open:
            self._open = False
            for storer in (self.content, self._list):
                storer.abort()
            for taken in (self._path, self._list_path):
                self._owner.release(taken)


class DedupMemberSink:
    """A file of a tree being stored."""

    def __init__(self, tree: DedupTreeSink, member: Member) -> None:
        self._tree, self._member, self._begin = tree, member, tree.content.bytes
        self._is_large = member.size >= SHORTEST
        self._open = True
        if self._is_large:
            tree.content.boundary()
        self.write = tree.content.write
        self.hole = tree.content.hole

    def adopt(self, content: Content, /) -> bool:
        """Reads a local file without passing it through others."""
        return read_file(self._tree.content, content)

    def finish(self, *, changed: bool = False) -> int:
        """Ends it."""
        self._end()
        return self._tree.stored(self._member, self._begin, changed=changed)

    def abort(self) -> None:
        """Discards it, so that it may be begun again."""
        if self._open:
            self._end()
            self._tree.listing.leave(self._member.name)  # its bytes stay in the stream, and nothing leads to them

    def _end(self) -> None:
        self._open = False
        if self._is_large:
            self._tree.content.boundary()
