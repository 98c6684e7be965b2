"""Sets on a storage that can rename: written where nobody reads, they appear by one rename, and go by another."""

import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from recoup.model.manifest import Manifest, encode
from recoup.model.names import SetName
from recoup.repository.plain import layout
from recoup.repository.plain.folder import Style
from recoup.repository.plain.once import Earlier
from recoup.repository.plain.sets import Trashed
from recoup.repository.plain.writing import PlainSetWriter
from recoup.storage._base import Storage
from recoup.system.host import holder_token, token_is_dead


class RenamedSets:
    """Sets in folders that are renamed.

    Args:
        storage: with `properties.moves`.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def names(self) -> list[SetName]:
        """The folders that are sets, oldest first."""
        return sorted(name for folder in self._storage.folders() if (name := SetName.parse(folder)))

    def hides(self, name: SetName) -> bool:  # noqa: ARG002 - what has a set's name is a set
        """Never."""
        return False

    @contextlib.contextmanager
    def begin(
        self, name: SetName, style: Style, earlier: Earlier, writer: Callable[..., PlainSetWriter]
    ) -> Iterator[PlainSetWriter]:
        """A set being written in a folder whose name says whose it is, and which is gone afterwards."""
        taken = set(self.names())
        while name in taken:
            name = name.next()
        prefix = f"{layout.PARTIAL}/{holder_token()}"
        try:
            self._storage.make_folder(prefix)
            yield writer(self._storage, prefix, name, style, self._appear, earlier)
        finally:
            self._storage.delete_all(prefix)

    def _appear(self, writer: PlainSetWriter, manifest: Manifest) -> SetName:
        """Makes all durable, then lets the set appear under the next free name."""
        name = writer.name
        while True:
            data = writer.write_sums(encode(replace(manifest, name=str(name))), manifest.sealing)
            self._storage.put(writer.key(layout.MANIFEST), data)
            self._storage.sync(writer.prefix)
            try:
                self._storage.move(writer.prefix, str(name))
            except FileExistsError:
                self._storage.delete(writer.key(layout.SUMS))
                name = name.next()
                continue
            return name

    def remove_abandoned(self) -> None:
        """Removes every folder whose writer is dead."""
        for token in list(self._storage.folders(layout.PARTIAL)):
            if token_is_dead(token):
                self._storage.delete_all(f"{layout.PARTIAL}/{token}")

    def trash(self, name: SetName, now: datetime) -> None:
        """Moves a set to the trash."""
        try:
            self._storage.move(str(name), layout.trash_key(name, now))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._make_room()
            self._storage.move(str(name), layout.trash_key(name, now))

    def _make_room(self) -> None:
        """Removes folders of ours that are empty: the trash is a folder, too, and has no room of its own on a full disk."""
        for folder in (layout.STAGING, layout.PARTIAL):
            if not any(True for _ in (*self._storage.folders(folder), *self._storage.list(folder))):
                self._storage.delete_all(folder)

    def trashed(self) -> Sequence[Trashed]:
        """The folders in the trash."""
        folders = [f"{layout.TRASH}/{folder}" for folder in self._storage.folders(layout.TRASH)]
        return [Trashed(*found, key) for key in folders if (found := layout.trashed_in(key))]

    def place(self, found: Trashed) -> str:
        """Its folder in the trash."""
        return found.key

    def undelete(self, found: Trashed) -> None:
        """Moves a set back."""
        self._storage.move(found.key, str(found.name))

    def removing(self, found: Sequence[Trashed]) -> None:
        """Nothing else knows of them."""

    def removed(self) -> None:
        """Nothing is left of them."""

    def remove(self, found: Trashed) -> None:
        """Removes a set from the trash."""
        self._storage.delete_all(found.key)
        self._storage.delete_all(layout.marks_prefix(found.name))
