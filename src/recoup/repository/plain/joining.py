"""Several machines write one set: each stores parts under its final prefix, the one that holds the claim accepts and commits.

A machine may be given up while it still works, and its part be done again by another one. So that the two never write one key,
the first to come takes a part's path by a small object that is put if it is absent; whoever comes later uses a path of its own.
"""

import secrets
from typing import NoReturn

from recoup.errors import RefusedError, StorageError
from recoup.model.manifest import Manifest
from recoup.model.names import SetName
from recoup.repository._base import Ticket
from recoup.repository.plain import claims, layout
from recoup.repository.plain.folder import SetFolder, Style
from recoup.repository.plain.sinks import PlainStreamSink
from recoup.storage._base import Storage


def require_shareable(storage: Storage, style: Style) -> None:
    """Demands a repository in which several machines can write one set.

    Raises:
        RefusedError: it is a folder, or it encrypts.
    """
    if storage.properties.moves:
        raise RefusedError(
            f"workers cannot write to {storage.location}: it is a folder of one machine",
            "Back up to a repository on object storage (-r NAME), and `recoup copy` the set here; or take execution.dask away.",
        )
    if style.sealing is not None:
        raise RefusedError(
            f"workers cannot write to {storage.location}: its sets are encrypted, and a set's key never leaves this machine",
            "Use a repository with server-side encryption (sse) for captures by workers, or take execution.dask away.",
        )


class JoinedSetWriter(SetFolder):
    """Stores parts of a set that another machine has begun.

    Args:
        storage: where.
        style: how parts are stored.
        ticket: from the machine that began it.

    Raises:
        RefusedError: several machines cannot write here.
        StorageError: the set is not being written any more.
    """

    def __init__(self, storage: Storage, style: Style, ticket: Ticket) -> None:
        require_shareable(storage, style)
        name = SetName.parse(ticket.set)
        if name is None:
            raise RefusedError(f"{ticket.set!r} is not the name of a set")
        super().__init__(storage, str(name), style)
        self._name, self._claim = name, ticket.token
        self._own, self._paths = secrets.token_hex(4), list[str]()
        self.require_wanted()

    @property
    def name(self) -> SetName:
        """The set's name."""
        return self._name

    def require_wanted(self) -> None:
        """Asks whether the set is still being written; raises StorageError when it is not."""
        if not claims.is_claimed_by(self.storage, self._name, self._claim):
            raise StorageError(f"nobody writes {self._name} at {self.storage.location} any more: the run was ended")

    def discard_own(self) -> None:
        """Removes what was stored here."""
        for source in list(self._sums):
            for path in self.stored_paths(source):
                self.storage.delete(self.key(path))
        for taken in self._paths:
            self.storage.delete(taken)

    def stream_path(self, source: str, name: str, suffix: str) -> str:
        """The part's path, for whoever comes first; later ones get a path of their own."""
        path = super().stream_path(source, name, suffix)
        taken = f"{layout.takers_prefix(self._name)}/{path}"
        if self.storage.properties.put_if_absent:
            try:
                self.storage.put(taken, self._own.encode(), if_absent=True)
            except FileExistsError:
                if self.storage.get(taken) != self._own.encode():  # else the answer to the first try was lost
                    return super().stream_path(source, f"{name}.{self._own}", suffix)
            self._paths.append(taken)
            return path
        return super().stream_path(source, f"{name}.{self._own}", suffix)

    def stream(self, source: str, name: str, size: int | None, *, once: bool = False) -> PlainStreamSink:  # noqa: ARG002
        """Begins a stream part.

        Raises:
            RefusedError: it is to be stored once, which takes a look at earlier sets.
        """
        if once:
            raise RefusedError(f"source {source}: workers cannot store anything once")
        return PlainStreamSink(self, source, name, self.style)

    def tree(self, source: str, name: str, *, once: bool = False) -> NoReturn:  # noqa: ARG002
        """Refused: what workers take are streams."""
        raise RefusedError(f"source {source}: workers store streams, {name} is a folder")

    def commit(self, manifest: Manifest) -> NoReturn:
        """Refused: the machine that began the set commits it."""
        raise RefusedError(f"{manifest.name} is committed where it was begun")
