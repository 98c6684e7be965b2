"""The promise that every repository keeps; `recoup.testing.repository_contract` is the same promise as tests.

A set exists when its manifest does. Parts go in first, the manifest last, in one step; what a killed run leaves is never a set.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import MAXYEAR, datetime
from hashlib import sha256
from typing import Literal, Protocol, runtime_checkable

from recoup.model.manifest import Manifest, StoredFile, StoredPart
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import Attributes, Content, Member, Part
from recoup.model.reports import Damage
from recoup.model.sharing import Reclaim, Sent
from recoup.model.structs import Struct

LockMode = Literal["backup", "shared", "exclusive", "claim"]
"""`backup`: shared, but one at a time for each stack. `shared`: reads. `exclusive`: prune and delete. `claim`: a name is given
out, which is in the way of nothing else."""


class Lock(Struct):
    """A lock that somebody holds.

    Attributes:
        id: its name in the repository.
        mode: see `LockMode`.
        verb: what the holder does.
        stack: whose.
        host: where the holder runs.
        pid: its process number there.
        since: when it was taken (UTC).
        refreshed: when the holder last said that it lives (UTC).
        stale: True when the holder is certainly dead, or has been silent for thirty minutes.
    """

    id: str
    mode: LockMode
    verb: str
    stack: str
    host: str
    pid: int
    since: datetime
    refreshed: datetime
    stale: bool


def locked(until: datetime) -> str:
    """Why a set stays that its storage keeps by force.

    Args:
        until: until when (UTC); the last moment there is stands for a hold without an end.
    """
    if until.year == MAXYEAR:
        return "held by the storage, without an end (legal hold)"
    return f"locked by the storage until {until.isoformat(sep=' ', timespec='seconds')}"


class KeyProof(Struct):
    """What was proven of a repository's keys.

    Attributes:
        repository: its name.
        method: the format, `gpg` or `age`.
        recipients: public keys or fingerprints; empty for a passphrase.
        opens: True when a probe was encrypted and opened again; False when this host can only encrypt.
        newest: the newest encrypted set, when its key was opened, too; empty when there is none, or nothing to open it with.
    """

    repository: str
    method: str
    recipients: tuple[str, ...]
    opens: bool
    newest: str = ""


class Sink(Protocol):
    """One byte stream being stored."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends bytes."""
        ...

    def hole(self, length: int, /) -> None:
        """Appends `length` zero bytes that need not be stored."""
        ...

    def adopt(self, content: Content, /) -> bool:
        """Stores the whole content without passing it through us (reflink, rename of a staged copy, or sharing the copy
        of an earlier set that is the same); False when it cannot, then nothing was stored and `write` is next."""
        ...

    def abort(self) -> None:
        """Discards what was written. Harmless after the end."""
        ...


class StreamSink(Sink, Protocol):
    """A stream part being stored."""

    def finish(self) -> StoredPart:
        """Ends it and says what was stored."""
        ...


class MemberSink(Sink, Protocol):
    """A tree's file being stored."""

    def finish(self, *, changed: bool = False) -> int:
        """Ends it and returns its plain bytes.

        Args:
            changed: it changed while it was read, twice; recorded in the member list.
        """
        ...


class TreeSink(Protocol):
    """A tree being stored, member by member."""

    def file(self, member: Member) -> MemberSink:
        """Begins a file. An aborted one may be begun again under the same name."""
        ...

    def add(self, member: Member) -> None:
        """Adds a folder, symbolic link or hard link."""
        ...

    def finish(self) -> StoredPart:
        """Ends the tree and says what was stored."""
        ...

    def abort(self) -> None:
        """Discards the tree. Harmless after the end."""
        ...


class SetWriter(Protocol):
    """A set being written. Leaving its context without `commit` removes it."""

    @property
    def name(self) -> SetName:
        """The name that it will have."""
        ...

    def stream(self, source: str, name: str, size: int | None, *, once: bool = False) -> StreamSink:
        """Begins a stream part.

        Args:
            source: whose.
            name: of the part.
            size: bytes where known.
            once: what equals the copy in an earlier set of the stack need not be stored again.

        Raises:
            RefusedError: `once` is not possible here.
        """
        ...

    def tree(self, source: str, name: str, *, once: bool = False) -> TreeSink:
        """Begins a tree part; `once` as for a stream, file by file."""
        ...

    def discard(self, source: str) -> None:
        """Removes everything stored of a source: it failed half way."""
        ...

    def commit(self, manifest: Manifest) -> None:
        """Makes all parts durable, then the manifest appear. From here on the set exists."""
        ...


class Ticket(Struct):
    """What another machine needs to store parts in a set that is being written. No secret: it opens nothing.

    Attributes:
        set: its name.
        token: of the claim to that name; whoever finds another one there stops.
    """

    set: str
    token: str


@runtime_checkable
class SharedWriter(SetWriter, Protocol):
    """A set that several machines write. They store parts, this one accepts them and commits."""

    def ticket(self) -> Ticket:
        """For the others.

        Raises:
            RefusedError: this repository does not allow it.
        """
        ...

    def take_over(self, source: str, part: StoredPart) -> None:
        """Accepts a part that another machine has stored.

        Raises:
            DamagedError: it is not there, or has another size.
        """
        ...

    def settle(self, source: str, parts: Sequence[StoredPart]) -> None:
        """Says which parts a source has, in the manifest's order, and removes everything else that is stored of it: what
        machines left that died or came too late."""
        ...


@runtime_checkable
class JoinedWriter(SetWriter, Protocol):
    """A set that another machine began and will commit."""

    def require_wanted(self) -> None:
        """Asks whether the set is still being written.

        Raises:
            StorageError: its writer has given it up, or completed it without us.
        """
        ...

    def discard_own(self) -> None:
        """Removes what was stored here: nobody will accept it."""
        ...


class Sharing(Protocol):
    """How the sets of a repository share their content, at one moment."""

    def alone(self, names: Collection[SetName], *, trashed: bool = False) -> int:
        """Bytes that only these sets use.

        Args:
            names: of the sets.
            trashed: whether those of that name in the trash are meant.
        """
        ...

    def reclaim(self, names: Collection[SetName], *, at_once: bool = False) -> Reclaim:
        """What a prune would free, if these sets were gone for good.

        Args:
            names: of the sets.
            at_once: whether it does without the grace time, and empties the trash.
        """
        ...


class Listed(Protocol):
    """One member of a tree, as its list has it."""

    @property
    def name(self) -> str:
        """Relative path in the tree; `.` is the tree itself."""
        ...

    @property
    def kind(self) -> str:
        """`file`, `folder`, `symlink` or `hardlink`."""
        ...

    @property
    def attributes(self) -> Attributes | None:
        """Mode and time; None for a hard link."""
        ...

    @property
    def bytes(self) -> int:
        """Of a file."""
        ...

    @property
    def sha256(self) -> str:
        """Of a file, hex; empty where the list does not have it."""
        ...

    @property
    def link(self) -> str:
        """Of a symbolic or hard link."""
        ...


class ChunkSum(Struct):
    """Chunks of a repository that stores equal ones once.

    Attributes:
        chunks: how many.
        bytes: what they hold, plain.
        stored_bytes: what they take.
        missing: how many more there should be, which no index names: what needs them is lost.
    """

    chunks: int
    bytes: int
    stored_bytes: int
    missing: int = 0


@runtime_checkable
class Chunked(Protocol):
    """A repository that stores equal chunks once, whichever sets have them."""

    def chunks_of(self, names: Sequence[SetName], without: Sequence[SetName] = ()) -> ChunkSum:
        """The chunks that some sets use and others do not, each counted once.

        Args:
            names: of the sets that use them.
            without: of the others.

        Raises:
            RecoupError: a set cannot be read.
        """
        ...

    def all_bytes(self) -> int:
        """Bytes of everything that lies in the repository."""
        ...


class Replication(Protocol):
    """Copies sets between two repositories with the same keys: what is stored is taken over as it lies there."""

    def amount(self, names: Sequence[SetName]) -> Sent:
        """About what would be sent for sets of the one that the other lacks.

        Raises:
            RecoupError: a set cannot be read.
        """
        ...

    def copy(
        self, name: SetName, room: Callable[[int], None], advance: Callable[[int, int], None]
    ) -> tuple[SetName, Sent]:
        """Copies a set; returns its name in the other repository, and what was sent.

        Args:
            name: of the set. The caller holds locks of both repositories.
            room: is called once with the bytes that it will take, before anything is stored; raises when they do not fit.
            advance: is told, now and then, how many bytes were sent, and of how many.

        Raises:
            DamagedError: what is stored of it is damaged; it does not appear.
            StorageError: the other repository cannot be written.
        """
        ...


@runtime_checkable
class Replica(Protocol):
    """A repository that can have the keys of another one."""

    def create_like(self, other: "Repository") -> None:
        """Makes an empty repository with the keys of another one.

        Raises:
            RefusedError: there is one, or something else lies there, or the other one has no keys that it could have.
            WrongKeyError: this host cannot read the other one.
        """
        ...

    def replication(self, origin: "Repository") -> Replication | None:
        """What copies sets of another repository; None where the two do not have the same keys, and sets are stored anew.

        Raises:
            WrongKeyError: one of the two cannot be opened.
        """
        ...


class Overview(Protocol):
    """All sets as they were at one moment, found with few requests."""

    def expect_all(self) -> None:
        """Is told that every set will be asked for: what takes a request for each may be asked for at once."""
        ...

    @property
    def names(self) -> Sequence[SetName]:
        """Names of all sets, oldest first."""
        ...

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims. Raises as `Repository.manifest` does."""
        ...

    def marks(self, name: SetName) -> Sequence[Mark]:
        """What was learned about a set, in no promised order."""
        ...


class Mending(Protocol):
    """A stored set, file by file: what is damaged of it can be replaced by what another repository has."""

    def raw(self, path: str) -> Iterator[bytes]:
        """The bytes of a file as they lie there.

        Raises:
            DamagedError: it is missing or cannot be read.
        """
        ...

    def beside(self) -> list[StoredFile]:
        """The files of an encrypted set that are no parts."""
        ...

    def listed(self, part: StoredPart) -> Iterator[bytes]:
        """A tree's member list, opened where it is encrypted and checked; it is the same whatever the tree's pack."""
        ...

    def files(self, part: StoredPart) -> Iterator[tuple[str, StoredFile]]:
        """The files of a tree that is stored as one: name in the tree, and what the member list says of each."""
        ...

    def as_stored(self, part: StoredPart, fetched: Part) -> Iterator[bytes]:
        """A part, fetched from another repository, as this set has it stored: compressed, packed.

        Raises:
            RefusedError: it is encrypted, which gives other bytes each time.
        """
        ...

    def replace(self, file: StoredFile, chunks: Iterator[bytes]) -> None:
        """Puts a file in the place of the one that is there; only if the bytes are those that the set wants.

        Raises:
            DamagedError: they are not; what is there is as it was.
        """
        ...

    def wanted_manifest(self) -> str:
        """The SHA-256 that the manifest's file has to have by the set's checksums; empty where that cannot be told."""
        ...

    def write_sums(self) -> None:
        """Makes the set's checksums anew from its manifest."""
        ...


class Healing(Protocol):
    """Mends the sets of a repository that stores chunks. Whoever does holds the exclusive lock."""

    def rebuild_index(self) -> tuple[list[str], list[str]]:
        """Makes anew what says where chunks lie; returns the files that were written, and what is in the way, in sentences."""
        ...

    def mend_pack(self, name: SetName, path: str) -> None:
        """Makes anew what stands around the sound chunks of a file that a set shares with others.

        Args:
            name: of the set.
            path: of the file.

        Raises:
            DamagedError: that does not give what was stored; what is there is as it was.
        """
        ...

    def raw(self, name: SetName, path: str) -> bytes:
        """A file of a set as it lies there. Raises DamagedError when it is missing."""
        ...

    def put_back(self, name: SetName, path: str, data: bytes) -> None:
        """Puts a file of a set in its place, if it is what was stored.

        Raises:
            RefusedError, DamagedError: it is not; what is there is as it was.
        """
        ...

    def listed(self, name: SetName, part: StoredPart) -> Content | None:
        """The member list of a tree as it is stored; None for a stream."""
        ...

    def heal(self, name: SetName, part: StoredPart, fetch: Callable[[], Part], listed: Content | None) -> int:
        """Puts back what is missing of a part; returns how many chunks.

        Args:
            name: of the set.
            part: of it.
            fetch: gives the same part from another repository, each time it is asked.
            listed: its member list as the other one has it stored; None where that is of another form.

        Raises:
            RecoupError: it cannot be done.
        """
        ...


@runtime_checkable
class Healable(Protocol):
    """A repository whose sets are mended chunk by chunk."""

    def healing(self) -> Healing:
        """What does it.

        Raises:
            WrongKeyError: this host cannot read its sets.
        """
        ...


class Repository(Protocol):
    """Backup sets on a storage."""

    name: str

    @property
    def location(self) -> str:
        """Where it is, for people, without secrets."""
        ...

    @property
    def shares(self) -> bool:
        """Whether files that are stored once take their space once; where not, each set holds them in full."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether its bytes come over a network, on which they may be damaged."""
        ...

    def create(self) -> None:
        """Makes an empty repository.

        Raises:
            RefusedError: there is one, or something else lies there.
        """
        ...

    def check(self) -> None:
        """Looks whether it is there and readable.

        Raises:
            NoRepositoryError: it is not there.
            RefusedError: its format is unknown.
        """
        ...

    def names(self) -> Sequence[SetName]:
        """Names of all sets, oldest first."""
        ...

    def overview(self, *, copies: bool = True) -> Overview:
        """All sets at once.

        Args:
            copies: copies of manifests may stand for them, where there are some. They are never good enough to remove anything.
        """
        ...

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims.

        Raises:
            NoSuchSetError: there is no such set.
            RefusedError: its manifest is damaged or of an unknown version.
            WrongKeyError: its manifest is encrypted, and what is configured does not open it.
        """
        ...

    def whole(self, manifest: Manifest) -> Manifest:
        """A manifest with the facts that are encrypted in its set; that of an open set as it is.

        Raises:
            WrongKeyError: what is configured does not open them.
        """
        ...

    def can_open(self, name: SetName) -> bool:
        """Whether something is configured to read a set's parts with; True for an open set.

        Raises:
            RefusedError: its manifest is damaged or of an unknown version.
        """
        ...

    def prove_keys(self) -> KeyProof | None:
        """Encrypts a probe and opens it again, and opens the key of the newest encrypted set; None without encryption.

        Raises:
            WrongKeyError: what is configured does not fit together, cannot be read, or does not open that set.
            RecoupError: a program that it takes is not installed.
        """
        ...

    def marks(self, name: SetName) -> Sequence[Mark]:
        """What was learned about a set, in no promised order."""
        ...

    def marked(self) -> frozenset[SetName]:
        """Names of the sets that have marks, found at once."""
        ...

    def mark(self, name: SetName, mark: Mark) -> None:
        """Adds a mark, durably."""
        ...

    def begin(self, moment: datetime, stack: str = "") -> AbstractContextManager[SetWriter]:
        """Begins a set; removes what killed runs left first.

        Args:
            moment: when (UTC): its name.
            stack: whose earlier sets hold what is stored once.
        """
        ...

    def join(self, ticket: Ticket) -> JoinedWriter:
        """A set that another machine has begun here.

        Raises:
            RefusedError: this repository does not allow it.
            StorageError: the set is not being written any more.
        """
        ...

    def fetch(self, name: SetName, source: str, part: StoredPart) -> Part:
        """A stored part; reading it checks its bytes."""
        ...

    def listed(self, name: SetName, part: StoredPart) -> Iterator[Listed]:
        """The members of a stored tree, without their content.

        Raises:
            DamagedError: their list is not what was stored.
        """
        ...

    def verify(self, name: SetName, subset: "Subset", advance: Callable[[int], None] | None = None) -> "Verification":
        """Compares stored bytes with the manifest.

        Args:
            name: the set.
            subset: which part of the bytes to read.
            advance: is told, now and then, how many bytes were read so far.
        """
        ...

    def locked_until(self, name: SetName) -> datetime | None:
        """Until when (UTC) the storage itself refuses to give a set up; None where it does not."""
        ...

    def mending(self, name: SetName) -> Mending:
        """A set, file by file. Whoever replaces something holds an exclusive lock."""
        ...

    def delete(self, names: Sequence[SetName], *, keep_days: float = 0.0, at_once: bool = False) -> Reclaim | None:
        """Moves sets to the trash and empties it of what is older than `keep_days` (0: all); removes what killed runs left.

        Args:
            names: of the sets.
            keep_days: see above.
            at_once: content that sets shared, and that none uses any more, goes now instead of after a grace time. The caller
                holds the exclusive lock.

        Returns:
            What became of shared content; None where sets do not share any.

        Raises:
            NoSuchSetError: there is no such set; nothing was deleted.
            RefusedError: the storage keeps one of them by force, or this host may not delete: nothing was deleted. Or the sets
                went, and what they shared stays, since nobody can tell what the others use; the message says so.
        """
        ...

    def sharing(self) -> "Sharing | None":
        """How sets share their content now; None where each has its own, and its manifest says how much.

        Raises:
            RefusedError: a set cannot be read, so nobody knows what it uses, or this host reads none.
        """
        ...

    def trashed(self) -> Sequence[SetName]:
        """Names of the sets in the trash."""
        ...

    def trashed_bytes(self) -> int:
        """What the sets in the trash take that can be removed now."""
        ...

    def undelete(self, name: SetName) -> None:
        """Takes a set out of the trash.

        Raises:
            NoSuchSetError: it is not there.
        """
        ...

    def lock(self, mode: LockMode, verb: str, stack: str, wait: float = 0.0) -> AbstractContextManager[None]:
        """Holds a lock.

        Args:
            mode: see `LockMode`.
            verb: what for.
            stack: whose.
            wait: seconds to wait for one that is in the way.

        Raises:
            LockedError: one is in the way; names host, process and since when.
        """
        ...

    def locks(self) -> Sequence[Lock]:
        """All locks there are."""
        ...

    def unlock(self, *, force: bool = False) -> Sequence[Lock]:
        """Removes stale locks (with `force`: all) and returns those removed."""
        ...

    def free_bytes(self) -> int | None:
        """Bytes that can still be stored; None where unknown."""
        ...


class Subset(Struct):
    """Which part of a set's stored bytes to read: slice `number` of `of`; 1 of 1 is all. Names and sizes are always compared.

    Attributes:
        number: 1 to `of`.
        of: how many slices; files fall into them by a hash of their path, so that all slices together are everything.
        share: read this share of the files instead (0.0 to 1.0); None for slices. Files stand on a ring, by the same hash.
        begin: for `share`, where on the ring it begins (0.0 to 1.0): shares that follow each other read everything in a round.
        structure: read no content at all: only names, sizes, and what says which content there has to be.
        lane: 1 to `lanes`.
        lanes: among how many verifications the set is divided. Each looks at files of its own alone, the first one also at what
            lies there besides; all lanes together find and count what one verification does. Damage of what each of them has
            to read, such as the manifest, each of them finds.
    """

    number: int = 1
    of: int = 1
    share: float | None = None
    begin: float = 0.0
    structure: bool = False
    lane: int = 1
    lanes: int = 1

    @property
    def whole(self) -> bool:
        """Whether every byte is to be read."""
        return self.share is None and self.of == 1 and not self.structure

    def has(self, path: str) -> bool:
        """Whether the content of a file is to be read.

        Args:
            path: of the file; what is not UTF-8 in it, as `os.fsdecode` has it.
        """
        value = int.from_bytes(_hash(path)[:8], "big")
        if self.structure:
            return False
        if self.share is not None:
            return (value / 2**64 - self.begin) % 1.0 < self.share
        return value % self.of == self.number - 1

    def is_mine(self, path: str) -> bool:
        """Whether a file is of this lane."""
        return self.lanes == 1 or int.from_bytes(_hash(path)[8:16], "big") % self.lanes == self.lane - 1

    def divided(self, lanes: int) -> "tuple[Subset, ...]":
        """The same subset for several machines."""
        return tuple(replace(self, lane=number, lanes=lanes) for number in range(1, lanes + 1))


def _hash(path: str) -> bytes:
    return sha256(path.encode("utf-8", "surrogateescape")).digest()


class Verification(Protocol):
    """A verification under way: iterate for the damage; the counts grow meanwhile.

    Attributes:
        files: stored files looked at.
        bytes: stored bytes read.
        total_bytes: those of the set.
        unseen: what this host cannot look at, in words; empty when there is nothing of that kind.
    """

    files: int
    bytes: int
    total_bytes: int
    unseen: str

    def __iter__(self) -> Iterator[Damage]:
        """Yields damage as it is found."""
        ...
