"""The scratch twin of a drill: a set's collections opened without a server, in a folder of their own."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recoup.errors import DamagedError, SourceError
from recoup.model.facts import Facts, Probe, Value
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.sources._base import Capture, Existing, Placement, Site, Source, SourceOptions
from recoup.sources.qdrant._described import describe, recorded, subject
from recoup.sources.qdrant._gathering import Gathering, read_record
from recoup.sources.qdrant._opened import Engine, allocated
from recoup.sources.qdrant._record import POINTS, RECORD
from recoup.system.atomicfile import create_private, make_private_folder
from recoup.system.tempdirs import remove_tree

_PIECE = 1 << 20  # bytes read at once


@dataclass
class _Collection:
    """A collection being restored."""

    gathered: Gathering
    folder: Path


class QdrantTwin:
    """Collections in a folder, which the engine opens when it is asked for facts; nobody else can use them.

    Args:
        options: the settings of the source whose twin it is.
        site: of the source.
        folder: an empty folder of our own.
    """

    exact = False

    def __init__(self, options: SourceOptions, site: Site, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self._site = site
        self._collections: dict[str, _Collection] = {}

    def check(self) -> None:
        """A twin can always be read."""

    def present(self) -> bool:
        """Whether something was restored into it."""
        return bool(self._collections)

    def estimate(self) -> int:
        """Bytes that it takes."""
        return allocated(self.folder)

    def settings(self) -> Mapping[str, Any]:
        """None of its own."""
        return {}

    def capture(self) -> contextlib.AbstractContextManager[Capture]:
        """Never: a twin has no server that could freeze it.

        Raises:
            SourceError: always.
        """
        raise SourceError(
            "the scratch copy of a drill cannot be backed up", "Back up the server that it was taken from."
        )

    def recover(self) -> tuple[str, ...]:
        """Nothing: a twin goes as a whole."""
        return ()

    def existing(self) -> Existing:
        """The folder."""
        return Existing(str(self.folder), self.present(), f"{len(self._collections)} collections", "It is filled.")

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:  # noqa: ARG002 - it has none
        """Unpacks the parts, each checked on the way.

        Raises:
            DamagedError: the stored bytes are wrong, or not what was captured.
            RefusedError: a snapshot is unsafe.
            NoSpaceError: the disk is full.
        """
        for part in parts:
            if not isinstance(part, StreamPart):
                raise DamagedError(f"{shown(part.name)} in the set is not a file")
            self._add(part)
        for one in self._collections.values():
            self._require_recorded(one.gathered)
        return Placement(str(self.folder))

    def _add(self, part: StreamPart) -> None:
        place, _, name = part.name.rpartition("/")
        if name == RECORD:
            self._begin(place, part)
        elif place not in self._collections:
            raise DamagedError(f"{shown(part.name)} comes without the {RECORD} of its collection")
        elif name == POINTS:
            self._add_points(self._collections[place], part)
        else:
            gathered = self._collections[place].gathered
            with part.content.open() as reader:
                gathered.add_snapshot(part.name, reader, gathered.shard_of(part.name))

    def _begin(self, place: str, part: StreamPart) -> None:
        record = read_record(part)
        folder = self.folder / f"{len(self._collections)}"
        make_private_folder(folder)
        self._collections[place] = _Collection(Gathering(folder, record.name, record), folder)

    def _add_points(self, collection: _Collection, part: StreamPart) -> None:
        path = collection.folder / POINTS
        with os.fdopen(create_private(path), "wb") as file, part.content.open() as reader:
            while data := reader.read(_PIECE):
                file.write(data)
        collection.gathered.add_points(path)
        path.unlink()

    def _require_recorded(self, gathered: Gathering) -> None:
        for shard in gathered.lacking:
            raise DamagedError(f"the set lacks shard {shard} of {shown(gathered.collection)}")

    def facts(self) -> Facts:
        """What the restored collections show.

        Raises:
            DamagedError: the engine cannot read a shard, or dies of it.
            LimitError: the engine needed more than it may take.
            UnreadableError: the engine is too old or too new for them.
        """
        values: dict[str, Mapping[str, Value]] = {}
        probes: list[Probe] = []
        with Engine() as engine:
            for one in self._collections.values():
                record = one.gathered.record
                if record is None:
                    continue
                found = describe(record.name, one.gathered.folders, self._site.seed, engine=engine)
                about = subject(record.name)
                values |= found.values
                values[about] = {**found.values[about], **recorded(record)}
                probes += found.probes
        return Facts(values, tuple(probes), self._site.seed if values else None)

    def scratch(self, folder: Path) -> contextlib.AbstractContextManager[Source]:
        """Another twin."""
        return scratch(self.options, self._site, folder)


@contextlib.contextmanager
def scratch(options: SourceOptions, site: Site, folder: Path) -> Iterator[Source]:
    """An empty twin inside `folder`; leaving removes it."""
    inner = Path(tempfile.mkdtemp(prefix="qdrant-", dir=folder))
    try:
        yield QdrantTwin(options, site, inner)
    finally:
        remove_tree(inner)
