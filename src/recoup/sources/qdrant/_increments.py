"""What an earlier set holds of each shard, so that only what changed since has to come; and why it is not used, where it is not.

What an earlier snapshot is good for is decided here, before anything stands still: by what its record says and by what the server
lists now. Each is given out once, so that whatever is tried again is taken in full.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recoup.errors import RecoupError, SourceError
from recoup.model.events import Event, Level
from recoup.model.names import shown
from recoup.model.part import StreamPart
from recoup.model.structs import Struct
from recoup.sources._base import Past, Recall, Site
from recoup.sources.qdrant._gathering import read_record
from recoup.sources.qdrant._manifests import DoubtfulError, Manifest, newer, restricted, versions_of
from recoup.sources.qdrant._merging import Base
from recoup.sources.qdrant._record import RECORD, CollectionRecord, IncrementRecord, ShardRecord
from recoup.sources.qdrant._shard_tar import ShardContents

NOT_LISTED = "the server does not tell which files it has (the key may not ask, or it is older than 1.14.1)"
"""Why nothing can be built on."""


class PastShard(Struct):
    """An earlier snapshot of a shard.

    Attributes:
        set: name of the set that has it.
        part: the snapshot.
        shard: what its record says of it.
        increment: the same, of what can be built on it.
    """

    set: str
    part: StreamPart
    shard: ShardRecord
    increment: IncrementRecord

    @property
    def base(self) -> Base:
        """What it holds."""
        return Base(self.increment.manifest, {name: one.files for name, one in self.shard.segments.items()})

    def grown(self, manifest: Manifest, segments: Mapping[str, Mapping[str, int]]) -> IncrementRecord:
        """What the one after it is to the next.

        Args:
            manifest: of its segments.
            segments: segment id to its files.
        """
        return IncrementRecord(restricted(manifest, segments), self.increment.full, self.increment.merges + 1)


class TakenFrom(Struct):
    """A shard that is asked for.

    Attributes:
        collection: its collection's name.
        shard: its number.
        url: of the node that is asked, without credentials.
        peer: that node's id; None where it tells none.
    """

    collection: str
    shard: int
    url: str
    peer: int | None

    @property
    def what(self) -> str:
        """What it is called in messages."""
        return f"collection {shown(self.collection)} shard {self.shard}"


@dataclass
class Increments:
    """What there is to build on, for one capture. May be used by several threads.

    Args:
        site: news.
        version: of the server.
        full_every: a snapshot that would be the so many-th after a full one is full.
        past: what an earlier set holds; None where there is none.
        why: the reason for that.
    """

    site: Site
    version: str
    full_every: int
    past: Past | None
    why: str = ""
    _records: dict[str, CollectionRecord] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        try:
            for name, part in self.past.parts.items() if self.past else ():
                if name.endswith(f"/{RECORD}"):
                    record = read_record(part)
                    self._records[record.name] = record
        except (RecoupError, OSError) as error:
            self.past, self.why = None, f"the earlier set cannot be read: {error}"

    def take(self, shard: TakenFrom, listed: Manifest | None) -> PastShard | None:
        """The earlier snapshot to build on, where that is safe; else says why a full one is taken. Asked again, there is none.

        Args:
            shard: what is asked for now.
            listed: what the server says of its files now; None where it does not.
        """
        with self._lock:
            if shard.what in self._asked:
                return None
            self._asked.add(shard.what)
        try:
            return self._found(shard, listed)
        except DoubtfulError as error:
            self.tell_full(shard.what, error.message, Level.INFO)
            return None

    def _found(self, wanted: TakenFrom, listed: Manifest | None) -> PastShard:
        if self.past is None:
            raise DoubtfulError(self.why)
        record = self._records.get(wanted.collection)
        if record is None:
            raise DoubtfulError(f"{self.past.set} has no such collection")
        shard = next((one for one in record.shards if one.id == wanted.shard), None)
        part = self.past.parts.get(shard.part) if shard else None
        if shard is None or part is None or shard.increment is None:
            raise DoubtfulError(f"{self.past.set} does not have what it could be built on")
        self._require_same(record, shard, wanted)
        if shard.increment.merges + 1 >= self.full_every:
            raise DoubtfulError(f"every {self.full_every}. is, by `full_every`")
        require_successor(listed, shard.increment.manifest)
        return PastShard(self.past.set, part, shard, shard.increment)

    def _require_same(self, record: CollectionRecord, shard: ShardRecord, wanted: TakenFrom) -> None:
        if record.method != "stream":
            raise DoubtfulError(f"that of {self._set} was taken by another method, {record.method}")
        if record.server != self.version:
            raise DoubtfulError(f"the server was of version {record.server} at {self._set}")
        if (shard.node, shard.peer) != (wanted.url, wanted.peer):
            raise DoubtfulError(f"that of {self._set} was taken from another node")

    @property
    def _set(self) -> str:
        return self.past.set if self.past else ""

    def begun(self, listed: Manifest | None, held: ShardContents, moment: datetime) -> IncrementRecord | None:
        """What can be built on a full snapshot.

        Args:
            listed: what the server said of the shard's files before it was taken; None where it did not.
            held: what the snapshot holds.
            moment: when it was taken.
        """
        try:
            return None if listed is None else IncrementRecord(restricted(listed, held.segments), moment)
        except DoubtfulError:
            return None  # the next one is full, too, and says so

    def tell_full(self, item: str, reason: str, level: Level = Level.WARNING) -> None:
        """Says why a full snapshot is taken."""
        site = self.site
        fields = {"source": site.name, "item": item, "reason": reason}
        text = f"{site.name}: {item} is taken in full: {reason}"
        site.emit(Event("shard_taken_in_full", site.clock.now(), text, level, fields=fields))

    def tell_merged(self, item: str, came: int, size: int) -> None:
        """Says what a merge has spared.

        Args:
            item: the shard.
            came: bytes that came from the server.
            size: bytes of the snapshot.
        """
        site = self.site
        fields = {"source": site.name, "item": item, "earlier": self._set, "came": came, "bytes": size}
        text = f"{site.name}: of {item}, {came:,} of {size:,} bytes came; the others are those of {self._set}"
        site.emit(Event("shard_merged", site.clock.now(), text, Level.INFO, fields=fields))


def require_successor(listed: Manifest | None, known: Manifest) -> None:
    """Demands that a shard, as the server lists it now, can be what became of an earlier one.

    Args:
        listed: what the server says of its files now.
        known: what it said of them then.

    Raises:
        DoubtfulError: it tells nothing, has none of the segments any more, or went back to an earlier state.
    """
    if listed is None:
        raise DoubtfulError(NOT_LISTED)
    common = listed.keys() & known.keys()
    if not common:
        raise DoubtfulError("the server has none of the earlier segments any more")
    for segment in common:
        now, before = versions_of(listed, segment), versions_of(known, segment)
        for name in now.files:
            newer(now, before, name)  # raises for what is older


def recalled(site: Site, version: str, full_every: int, recall: Recall) -> Increments:
    """What there is to build on.

    Args:
        site: news.
        version: of the server.
        full_every: see `Increments`.
        recall: looks for it.
    """
    try:
        return Increments(site, version, full_every, recall())
    except (RecoupError, OSError) as error:
        return Increments(site, version, full_every, None, str(error))


def mistrusted() -> Past:
    """What is recalled where a capture was doubted and is taken once more.

    Raises:
        SourceError: always.
    """
    raise SourceError("the first capture of this run was doubted")
