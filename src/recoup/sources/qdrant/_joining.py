"""The capture that pieces of several machines make together: the records, facts and findings of collections, from their notes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from recoup.model.facts import Bracket, Facts, Probe, Value
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.model.wire import decoded
from recoup.sources._point_ids import MODULUS
from recoup.sources._staged import StagedBytes
from recoup.sources.qdrant._capture import came_and_went, interval, nothing_taken, told
from recoup.sources.qdrant._described import recorded, subject
from recoup.sources.qdrant._dividing import CollectionNote, Note, Piece, piece_of
from recoup.sources.qdrant._record import CollectionRecord, encode, record_part

_SHAPING = ("vectors", "sparse_vectors", "shard_number", "sharding_method")
"""Parameters that every shard of a collection has to share."""


@dataclass
class _Gathered:
    """The pieces of one collection, as far as they were taken."""

    pieces: list[Piece] = field(default_factory=list)
    notes: list[CollectionNote] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, piece: Piece, note: Mapping[str, Any] | str) -> str:
        """Takes in what was noted of a piece; returns the engine that it names."""
        self.pieces.append(piece)
        if isinstance(note, str):
            self.findings.append(Finding("unreadable", piece.what, note))
            return ""
        read: Note = decoded(Note, note)
        self.notes += [read.collection] if read.collection else []
        self.findings += [one for one in read.findings if not self._knows(one)]
        return read.engine

    def _knows(self, finding: Finding) -> bool:
        """Whether another piece said so. That segments could not be compared is said once of a collection."""
        same = finding.what == "unchecked" and any(one.what == finding.what for one in self.findings)
        return same or finding in self.findings

    @property
    def all_noted(self) -> bool:
        return len(self.notes) == len(self.pieces)

    @property
    def in_the_set(self) -> bool:
        """Whether something of it was taken, or nothing could be tried, as no shard has a copy."""
        return self.all_noted or any(note.record.shards for note in self.notes)


class JoinedCapture:
    """Collections whose pieces were taken elsewhere.

    Args:
        pieces: all of them.
        notes: for each its note, or why it could not be taken.
        now: names of the collections that there are by now.
        moment: for a capture that took nothing.

    Raises:
        SourceError: no collection could be taken.
    """

    def __init__(
        self,
        pieces: Sequence[Mapping[str, Any]],
        notes: Sequence[Mapping[str, Any] | str],
        now: Iterable[str] | None,
        moment: datetime,
    ) -> None:
        read = [piece_of(piece) for piece in pieces]
        gathered: dict[str, _Gathered] = {}
        engines = [
            gathered.setdefault(piece.collection, _Gathered()).add(piece, note)
            for piece, note in zip(read, notes, strict=True)
        ]
        self.engine = next(filter(None, engines), "qdrant")
        self._moment, self._seed = moment, read[0].seed if read else None
        self._joined = [_Joined(one) for one in gathered.values() if one.in_the_set]
        self._findings = [finding for one in gathered.values() for finding in one.findings]
        self._findings += [finding for one in self._joined for finding in one.changes()]
        if now is not None and read:
            self._findings += came_and_went(read[0].there, now)
        if read and not self._joined:
            raise nothing_taken(self._findings)

    @property
    def frozen(self) -> Frozen:
        """From the first freeze's beginning to the last one's end."""
        return interval((one.record for one in self._joined), self._moment)

    @property
    def method(self) -> str:
        """How, and what that guarantees."""
        return told(one.record for one in self._joined)

    def parts(self) -> Iterator[Part]:
        """The record of each collection: all else was in the pieces."""
        for one in self._joined:
            data = encode(one.record)
            yield StreamPart(record_part(one.record.name), StagedBytes(data), size=len(data))

    def facts(self) -> Facts:
        """Of each collection and shard, as a whole capture has them; probes only of what was one piece."""
        values = {about: of for one in self._joined for about, of in one.values().items()}
        probes: tuple[Probe, ...] = tuple(probe for one in self._joined for probe in one.record.probes)
        return Facts(values, probes, self._seed if values else None)

    def findings(self) -> Iterable[Finding]:
        """What is missing or doubtful."""
        return tuple(self._findings)

    def brackets(self) -> tuple[Bracket, ...]:
        """The exact counts of the live collections around the freezes, of those that were taken whole and opened."""
        return tuple(bracket for one in self._joined if (bracket := one.bracket()) is not None)


class _Joined:
    """One collection, put together."""

    def __init__(self, gathered: _Gathered) -> None:
        self._gathered = gathered
        self._taken = [note for note in gathered.notes if note.record.shards] or gathered.notes
        self._telling = [note for note in self._taken if note.told] or self._taken
        self.record = self._record()

    def _record(self) -> CollectionRecord:
        """As the server told of it at the first piece, with the shards of all."""
        shards = sorted((shard for note in self._taken for shard in note.record.shards), key=lambda shard: shard.id)
        return replace(self._telling[0].record, method=self._taken[0].record.method, shards=tuple(shards))

    @property
    def _about(self) -> str:
        return subject(self.record.name)

    def values(self) -> dict[str, Mapping[str, Value]]:
        """The facts: of shards as they are, of the collection added up, where every shard that was taken could be opened."""
        values = {about: of for note in self._taken for about, of in note.values.items()}
        own = [note.values.get(self._about, {}) for note in self._taken]
        opened = all("points" in one for one in own)
        values[self._about] = {**(_added(own) if opened else {}), **recorded(self.record)}
        return values

    def bracket(self) -> Bracket | None:
        """The lowest and highest count around all freezes; None where not all of the collection can be compared with it.

        Shards were frozen one after the other. While points only come, or only go, what was frozen lies between the first and the
        last count. Where they come and go, it may lack all that went and still have nothing of what came, and the reverse.
        """
        seen = [note.seen for note in self._in_time() if note.counted and note.seen]
        if not self._gathered.all_noted or len(seen) < len(self._gathered.notes):
            return None
        low, high = min(one.low for one in seen), max(one.high for one in seen)
        gaps = [between for between in self._gaps() if len(seen) > 1]
        up = sum(one.up for one in seen) + sum(max(gap, 0) for gap in gaps)
        down = sum(one.down for one in seen) + sum(max(-gap, 0) for gap in gaps)
        if len(seen) > 1 and up and down:
            low, high = min(low, max(0, seen[0].first - down)), max(high, seen[0].first + up)
        return Bracket(self._about, "points", low, high)

    def _in_time(self) -> list[CollectionNote]:
        """The notes in the order of their freezes."""
        return sorted(self._gathered.notes, key=lambda note: [shard.first for shard in note.record.shards])

    def _gaps(self) -> Iterator[int]:
        """By how much the count changed between two freezes that did not overlap."""
        for one, following in pairwise(self._in_time()):
            ended = max((shard.last for shard in one.record.shards), default=None)
            begun = min((shard.first for shard in following.record.shards), default=None)
            if one.seen and following.seen and ended and begun and ended <= begun:
                yield following.seen.first - one.seen.last

    def changes(self) -> Iterator[Finding]:
        """What was not the same at every piece."""
        item = f"collection {shown(self.record.name)}"
        if self._resharded():
            yield Finding("changed", item, "its shards were changed while the backup ran: it may lack some of them")
        records = [note.record for note in self._telling]
        first = records[0]
        if any(_shape(one) != _shape(first) for one in records):
            yield Finding("changed", item, "its vectors or shards were configured anew while the backup ran")
        elif any(one.config != first.config for one in records):
            yield _harmless(item, "its configuration")
        if any(one.payload_schema != first.payload_schema for one in records) and self._telling[0].told:
            yield _harmless(item, "its payload indexes")
        if any(one.aliases != first.aliases for one in records):
            yield _harmless(item, "its aliases")

    def _resharded(self) -> bool:
        """Whether pieces saw other shards than there are pieces for, or than each other."""
        wanted = {piece.shard for piece in self._gathered.pieces}
        if None in wanted:
            return False
        views = {note.shards for note in self._gathered.notes}
        return len(views) > 1 or any({number for number, _ in view} != wanted for view in views)


def _harmless(item: str, what: str) -> Finding:
    return Finding(
        "changed", item, f"{what} changed while the backup ran: the set has the earlier state", harmless=True
    )


def _shape(record: CollectionRecord) -> list[Any]:
    params = record.config.get("params")
    return [params.get(name) for name in _SHAPING] if isinstance(params, Mapping) else []


def _added(ones: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """The values of a collection, from those of its shards, each of which was described as a collection of its own."""
    names = dict.fromkeys(name for one in ones for name in one)
    return {name: _sum(name, [one[name] for one in ones if name in one]) for name in names}


def _sum(name: str, values: Sequence[Value]) -> Value:
    if name == "points" or name.startswith("points with "):
        return sum(int(value or 0) for value in values)
    if name == "ids":
        return f"{sum(int(str(value), 16) for value in values) % MODULUS:064x}"
    if name == "index finds neighbours":
        return all(values)
    return values[-1]
