"""Stored parts of a dedup repository as parts to restore."""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Self

from recoup.errors import DamagedError, RefusedError
from recoup.model.manifest import StoredPart
from recoup.model.names import shown
from recoup.model.part import Member, Part, Reader, StreamPart, TreePart
from recoup.model.structs import Struct
from recoup.repository.dedup.reading import Chunks, Stream
from recoup.repository.dedup.recipes import Recipe
from recoup.repository.plain import members
from recoup.repository.plain.reading import attributes_of

_BLOCK = 1024 * 1024
_SKIPPED = 8 * _BLOCK  # bytes that are read over rather than opened anew
_HINT = "Run `recoup verify`, then restore from another set or repository."


class Place(Struct):
    """Where the parts of a set are read from.

    Attributes:
        chunks: reads them.
        recipes: of the set's streams, by path.
        stream_key: of the repository.
    """

    chunks: Chunks
    recipes: Mapping[str, Recipe]
    stream_key: bytes

    def stream(self, path: str, root: str) -> Stream:
        """A stored stream.

        Args:
            path: its name in the recipes.
            root: what the manifest says of it, hex.

        Raises:
            DamagedError: the recipes lack it, or have another one.
        """
        recipe = self.recipes.get(path)
        if recipe is None or recipe.root.hex() != root:
            raise DamagedError(f"{shown(path)} has no recipe that the manifest would know", _HINT)
        return Stream(self.chunks, recipe, self.stream_key, path)


def part_of(place: Place, part: StoredPart) -> Part:
    """A stored part as a part to restore.

    Raises:
        DamagedError: the set's recipes do not fit its manifest.
    """
    stream = place.stream(part.path, part.sha256)
    if part.kind == "stream":
        if stream.recipe.size != part.bytes:
            raise DamagedError(f"{shown(part.path)} has another length than the manifest says", _HINT)
        return StreamPart(part.name, stream, part.bytes, attributes_of(part.attributes))
    return TreePart(part.name, _members(place, part, _Tree(stream)), part.bytes)


def member_lines(place: Place, part: StoredPart) -> Iterator[tuple[members.Line, int]]:
    """A tree's members from its list, files with the place where their content begins in the tree's stream.

    Raises:
        DamagedError: the list is not what was stored.
    """
    if part.members is None:
        raise RefusedError(f"the manifest names no member list for {shown(part.path)}", _HINT)
    listed = place.stream(part.members.path, part.members.sha256)
    size = place.stream(part.path, part.sha256).recipe.size
    count = at = 0
    with listed.open() as reader:
        for line in members.decode(iter(lambda: reader.read(_BLOCK), b"")):
            count += 1
            begin = at if line.at is None else line.at
            if begin + line.bytes > size:
                raise DamagedError(f"{shown(line.name)} of {shown(part.path)} ends behind the stream's end", _HINT)
            yield line, begin
            if line.kind == "file":
                at = begin + line.bytes
    if count != part.members.count:
        raise DamagedError(f"{part.members.path} has {count} members; the manifest says {part.members.count}", _HINT)


def _members(place: Place, part: StoredPart, tree: "_Tree") -> Iterator[Member]:
    with tree:
        for line, begin in member_lines(place, part):
            content = _File(tree, begin, line.bytes) if line.kind == "file" else None
            yield Member(line.name, line.kind, line.attributes, line.bytes, line.link, content)


class _Tree:
    """The stream of a tree's contents, read on from file to file as long as they come in its order.

    Args:
        stream: of the tree.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._open = ExitStack()
        self._reader: Reader | None = None
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def at(self, place: int) -> None:
        """Goes to a place in the stream."""
        if self._reader is None or not 0 <= place - self._at <= _SKIPPED:
            self._open.close()
            self._reader = self._open.enter_context(self.stream.open_at(place))
            self._at = place
        while self._at < place:
            if not self.read(min(_BLOCK, place - self._at)):
                raise DamagedError(f"{shown(self.stream.item)} is cut short", _HINT)

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._reader.read(size) if self._reader is not None else b""
        self._at += len(data)
        return data


class _File(Struct):
    """A file of a tree."""

    tree: _Tree
    begin: int
    bytes: int
    local_path: None = None
    disposable: bool = False

    def open(self) -> AbstractContextManager[Reader]:
        return self.open_at(0)

    @contextlib.contextmanager
    def open_at(self, start: int, length: int | None = None, /) -> Iterator[Reader]:
        left = max(0, self.bytes - start)
        wanted = left if length is None else min(left, length)
        yield _FileReader(_File(self.tree, self.begin + start, wanted))


class _FileReader:
    changed = False

    def __init__(self, file: _File) -> None:
        self._file, self._done = file, 0

    def read(self, size: int, /) -> bytes:
        file = self._file
        size = min(size, file.bytes - self._done)
        if size <= 0:
            return b""
        file.tree.at(file.begin + self._done)
        data = file.tree.read(size)
        if not data:
            raise DamagedError(f"{shown(file.tree.stream.item)} is cut short", _HINT)
        self._done += len(data)
        return data
