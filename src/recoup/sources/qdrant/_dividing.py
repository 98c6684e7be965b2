"""A capture that falls into pieces, for several machines at the same time: what the pieces are, and what is noted of each.

A piece is a shard where each shard has a snapshot of its own, else a collection. All is decided where the pieces are made; a
machine takes one by the same tries and checks as every capture. The note has what the collection's record needs (`_joining`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from recoup.errors import SourceError
from recoup.model.events import Event, Level
from recoup.model.facts import Value
from recoup.model.manifest import Finding
from recoup.model.names import shown
from recoup.model.part import Part
from recoup.model.structs import Struct
from recoup.model.wire import decoded, encoded
from recoup.sources._base import Site
from recoup.sources.qdrant._capture import ServerCapture, decide, still_there
from recoup.sources.qdrant._collected import Collected
from recoup.sources.qdrant._counting import Seen
from recoup.sources.qdrant._inventory import Collection, Inventory, choose
from recoup.sources.qdrant._items import Only
from recoup.sources.qdrant._leftovers import take_back
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._record import CollectionRecord, Method, ShardKey


class Piece(Struct):
    """What one machine takes.

    Attributes:
        name: for people, like no other's.
        collection: whose.
        shard: number of the one shard that is wanted; None for the whole collection.
        methods: for the first try, the second, ...
        seed: of random choices: the same for all pieces, as it salts the digests of samples.
        there: names of all collections when the pieces were made; in the first piece alone.
    """

    name: str
    collection: str
    shard: int | None
    methods: tuple[Method, ...]
    seed: int
    there: tuple[str, ...] = ()

    @property
    def only(self) -> Only:
        """What is to be taken of the collection."""
        return Only(self.shard, self.methods)

    @property
    def what(self) -> str:
        """What it is called in findings."""
        name = f"collection {shown(self.collection)}"
        return name if self.shard is None else f"{name} shard {self.shard}"


class CollectionNote(Struct):
    """What is known of a piece's collection besides its parts.

    Attributes:
        record: with the shards of this piece alone; of a single shard without probes, which would know no neighbours elsewhere.
        shards: number and key of every shard that the collection had.
        told: False when the server could not tell all of it.
        values: facts.
        counted: whether it is whole and was opened, so that its count can be compared with the live collection's.
        seen: counts of the live collection around the freeze; None when it could not be counted.
    """

    record: CollectionRecord
    shards: tuple[tuple[int, ShardKey | None], ...]
    told: bool
    values: Mapping[str, Mapping[str, Value]]
    counted: bool
    seen: Seen | None


class Note(Struct):
    """What is known of a piece.

    Attributes:
        engine: the server and its version.
        collection: None when nothing of it could be taken; the findings say why.
        findings: what is missing or doubtful.
    """

    engine: str
    collection: CollectionNote | None
    findings: tuple[Finding, ...]


def divide(options: Options, site: Site, inventory: Inventory) -> list[Piece]:
    """The pieces; none where everything has to stand still together, as it does with `quiesce`.

    Args:
        options: the settings.
        site: seed, and whether other sources are part of the same cut.
        inventory: of the server.

    Raises:
        EmptySourceError: a pattern matches nothing.
        SourceError: the key lacks a right, or nobody answers.
    """
    if options.quiesce is not None:
        return []
    names = choose(inventory.names, options.collections, allow_empty=options.allow_empty, aliases=inventory.aliases)
    collections, gone = still_there(names, inventory)
    if gone and not collections:
        raise SourceError(f"{gone[0].item} {gone[0].message}", "Run the backup again.")
    decided = decide(options, inventory, collections, shared=site.shared)
    made = [
        Piece("", collection.name, shard, methods, site.seed)
        for collection, methods in zip(collections, decided, strict=True)
        for shard in _shards(collection, methods[0])
    ]
    made[:1] = [replace(piece, there=inventory.names) for piece in made[:1]]
    return list(_named(made))


def _shards(collection: Collection, method: Method) -> Iterable[int | None]:
    """The numbers to take one by one; None alone where the collection is taken as a whole."""
    if method in ("stream", "stored") and len(collection.shards) > 1:
        return [shard.id for shard in collection.shards]
    return [None]


def _named(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """With names that differ: `docs shard 3` can be a collection's own name, too."""
    taken: set[str] = set()
    for piece in pieces:
        name = piece.what.removeprefix("collection ")
        while name in taken:
            name += " (another one)"
        taken.add(name)
        yield replace(piece, name=name)


class PieceCapture:
    """A piece that stands still."""

    def __init__(self, capture: ServerCapture, piece: Piece) -> None:
        self._capture, self._piece = capture, piece
        self._collected: Collected | None = None

    def parts(self) -> Iterator[Part]:
        """What holds the points; none where the piece could not be taken, which its note tells."""
        for collected in self._capture.collected():
            self._collected = collected
            yield from collected.snapshots()

    def note(self) -> Mapping[str, Any]:
        """Its `Note` as JSON values."""
        collection = self._noted(self._collected) if self._collected else None
        note: Mapping[str, Any] = encoded(Note, Note(self._capture.engine, collection, tuple(self._capture.findings())))
        return note

    def _noted(self, collected: Collected) -> CollectionNote:
        collection, record = collected.collection, collected.record
        if self._piece.shard is not None:
            record = replace(record, probes=(), seed=None)
        return CollectionNote(
            record,
            tuple((shard.id, shard.key) for shard in collection.shards),
            collection.told,
            collected.values,
            collected.counted,
            self._capture.seen(collection.name),
        )


def tidy(inventory: Inventory, site: Site) -> None:
    """Deletes what a killed run of this machine left on the server: nobody else knows of it."""
    for sentence in take_back({node.server.url: node.server for node in inventory.nodes}):
        site.emit(Event("restore_recovered", site.clock.now(), f"{site.name}: {sentence}", Level.WARNING))


def piece_of(values: Mapping[str, Any]) -> Piece:
    """A piece from JSON values."""
    piece: Piece = decoded(Piece, values)
    return piece


def values_of(piece: Piece) -> Mapping[str, Any]:
    """A piece as JSON values."""
    values: Mapping[str, Any] = encoded(Piece, piece)
    return values
