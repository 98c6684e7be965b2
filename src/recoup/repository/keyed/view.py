"""A bucket that has a shape, seen as a plain repository's storage (`docs/format.md`, The keyed layout).

What the plain layout writes goes below the home folder under its own key. A key with `.root/` behind the set's name is that of
an artefact: it goes to what follows, as it is. An empty object in `.artefacts/`, put before the artefact, says whose it is:
so a set's artefacts are found again, also those of a killed run, and those without one are other tools'.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from recoup.errors import RefusedError
from recoup.model.names import SetName, checked_relative, shown
from recoup.repository.keyed.template import HOME, Template
from recoup.storage._base import ByteReader, Feature, Object, Storage, Writer

ROOT = ".root"
"""Below a set: keys from the storage's own root."""

OWNERS = ".artefacts"
"""Folder of the empty objects that say whose an artefact is."""


def artefact_path(key: str) -> str:
    """The path inside a set that stands for an artefact."""
    return f"{ROOT}/{key}"


def artefact_key(path: str) -> str | None:
    """The key of the artefact that a path inside a set stands for; None for another path."""
    return path.removeprefix(f"{ROOT}/") if path.startswith(f"{ROOT}/") else None


class ArtefactWriter:
    """An artefact being written. Its owner is noted when it is begun, for what a killed run leaves, and once more right before
    it appears: what it takes the place of may have been deleted meanwhile."""

    def __init__(self, writer: Writer, note: Callable[[], None]) -> None:
        self._writer, self._note = writer, note
        self.write, self.hole, self.abort = writer.write, writer.hole, writer.abort

    def commit(self) -> None:
        """Makes it appear, whole."""
        self._note()
        self._writer.commit()


class KeyedStorage:
    """The storage of a keyed repository.

    Args:
        inner: the storage itself.
        template: where artefacts lie.
    """

    def __init__(self, inner: Storage, template: Template) -> None:
        self.inner, self.template = inner, template
        root = inner.properties.local_root
        local = None if root is None else root / template.home
        # a set's artefacts are in several folders, so that no rename moves them together
        self.properties = replace(inner.properties, moves=False, local_root=local)

    @property
    def location(self) -> str:
        """That of the storage itself."""
        return self.inner.location

    def _at_home(self, key: str) -> str:
        return f"{self.template.home}/{key}" if key else self.template.home

    def _split(self, key: str) -> tuple[str, str | None]:
        """The set that a key is of, and the artefact's own key; None where it is none."""
        name, _, path = checked_relative(key).partition("/")
        return name, artefact_key(path) if SetName.parse(name) else None

    def _place(self, key: str) -> str:
        artefact = self._split(key)[1]
        return self._at_home(key) if artefact is None else artefact

    def _owner(self, name: str, artefact: str) -> str:
        return self._at_home(f"{OWNERS}/{name}/{artefact}")

    def _there(self, key: str) -> bool:
        try:
            self.inner.size(key)
        except FileNotFoundError:
            return False
        return True

    def require_free(self, artefact: str) -> None:
        """Makes sure that nobody's artefact is written over.

        Raises:
            RefusedError: there is one.
        """
        if self._there(artefact):
            raise RefusedError(
                f"{shown(artefact)} is there already, and another tool or source put it there",
                "Nothing is written over. If two sources have a part of this name, put {source} into the key's template.",
            )

    def _begin(self, key: str) -> str:
        """Where an object goes that is about to be written; an artefact's owner is noted first."""
        name, artefact = self._split(key)
        if artefact is None:
            return self._at_home(key)
        owner = self._owner(name, artefact)
        if not self._there(owner):
            self.require_free(artefact)
            self.inner.put(owner, b"")
        return artefact

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Stores a small object."""
        self.inner.put(self._begin(key), data, if_absent=if_absent)

    def writer(self, key: str, *, hidden: bool = False) -> Writer:
        """Begins a large object; an artefact never shows before it is whole."""
        name, artefact = self._split(key)
        writer = self.inner.writer(self._begin(key), hidden=hidden and artefact is None)
        if artefact is None:
            return writer
        owner = self._owner(name, artefact)
        return ArtefactWriter(writer, lambda: self.inner.put(owner, b""))

    def adopt(self, key: str, path: Path, *, move: bool) -> bool:
        """Stores a local file without copying its bytes."""
        return self.inner.adopt(self._begin(key), path, move=move)

    def share(self, key: str, existing: str) -> bool:
        """Stores an object's bytes once more without taking space for them."""
        return self.inner.share(self._begin(key), self._place(existing))

    def make_folder(self, key: str) -> None:
        """Makes an empty folder."""
        self.inner.make_folder(self._at_home(key))

    def make_link(self, key: str, target: str) -> None:
        """Makes a symbolic link."""
        self.inner.make_link(self._at_home(key), target)

    def get(self, key: str) -> bytes:
        """A small object."""
        return self.inner.get(self._place(key))

    def reader(self, key: str, start: int = 0, length: int | None = None) -> AbstractContextManager[ByteReader]:
        """Opens an object, or a range of it."""
        return self.inner.reader(self._place(key), start, length)

    def size(self, key: str) -> int:
        """Bytes of an object."""
        return self.inner.size(self._place(key))

    def list(self, prefix: str = "") -> Iterator[Object]:
        """All objects below a prefix; a set's artefacts behind its own files."""
        home = len(self._at_home("")) + 1
        owners = self._at_home(OWNERS) + "/"
        for found in self.inner.list(self._at_home(prefix)):
            if not found.key.startswith(owners):
                yield replace(found, key=found.key[home:])
        yield from self._artefacts(prefix)

    def _artefacts(self, prefix: str) -> Iterator[Object]:
        """The artefacts below a prefix of sets' own keys. One that was begun and is not there, or not any more, is none."""
        for name, artefact, modified in self._owned(prefix):
            with contextlib.suppress(FileNotFoundError):
                size = self.inner.size(artefact)
                yield Object(f"{name}/{artefact_path(artefact)}", size, modified)

    def _owned(self, prefix: str = "") -> Iterator[tuple[str, str, datetime]]:
        """Set, key and time of all artefacts below a prefix that were begun."""
        name, _, path = prefix.partition("/")
        below = "/".join(text for text in (OWNERS, name, path.removeprefix(ROOT).removeprefix("/")) if text)
        if path and path != ROOT and artefact_key(path) is None:
            return
        base = len(self._at_home(OWNERS)) + 1
        for found in self.inner.list(self._at_home(below)):
            owner, _, artefact = found.key[base:].partition("/")
            yield owner, artefact, found.modified

    def owned(self) -> frozenset[str]:
        """Keys of all artefacts that are some set's, found with one listing."""
        return frozenset(artefact for _, artefact, _ in self._owned())

    def beside(self) -> Iterator[Object]:
        """All objects where artefacts may lie, by their own keys; the home is not listed where that can be avoided."""
        lead = self.template.lead
        if "/" not in self.template.text.removeprefix(f"{lead}/"):
            yield from self.inner.list(lead)
            return
        for folder in list(self.inner.folders(lead)):
            if folder != HOME:
                yield from self.inner.list(f"{lead}/{folder}" if lead else folder)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The first components below a prefix that have objects below them, sorted; artefacts do not count."""
        return (name for name in self.inner.folders(self._at_home(prefix)) if prefix or name != OWNERS)

    def delete(self, key: str) -> None:
        """Removes an object; of artefacts only one that this set has written."""
        name, artefact = self._split(key)
        if artefact is None:
            self.inner.delete(self._at_home(key))
        elif self._there(owner := self._owner(name, artefact)):
            self.inner.delete(artefact)
            self.inner.delete(owner)

    def delete_all(self, prefix: str) -> None:
        """Removes every object below a prefix, a set's artefacts first."""
        for name, artefact, _ in [*self._owned(checked_relative(prefix))]:
            self.delete(f"{name}/{artefact_path(artefact)}")
        if SetName.parse(prefix):
            self.inner.delete_all(self._at_home(f"{OWNERS}/{prefix}"))
        self.inner.delete_all(self._at_home(prefix))

    def move(self, source: str, target: str) -> None:
        """Never possible here (`properties.moves`)."""
        raise RefusedError(f"{source} cannot be renamed to {target}: artefacts do not move with their set")

    def locked_until(self, key: str) -> datetime | None:
        """Until when the storage itself refuses to give an object up."""
        return self.inner.locked_until(self._place(key))

    def extend_lock(self, key: str) -> None:
        """Has the storage keep an object at least as long as a new one."""
        self.inner.extend_lock(self._place(key))

    def check_access(self, folder: str, stored: str = "") -> None:
        """Tries what a run needs."""
        self.inner.check_access(self._at_home(folder), self._at_home(stored) if stored else "")

    def features(self, key: str) -> Sequence[Feature]:
        """What the storage below has or lacks."""
        return self.inner.features(self._place(key))

    def sync(self, prefix: str) -> None:  # noqa: ARG002 - a set's artefacts are beside the home
        """Makes all below the template's folder durable."""
        self.inner.sync(self.template.lead)

    def tidy(self) -> None:
        """Removes what killed writers left."""
        self.inner.tidy()

    def free_bytes(self) -> int | None:
        """Bytes that can still be stored."""
        return self.inner.free_bytes()
