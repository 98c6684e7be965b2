"""Golden repositories: stored once by the version that brought the format in, to be opened by all that come later.

`python -m unit.repository.dedup.golden NAME FOLDER`, with `tests` in the path of modules, makes one anew. What is in
`tests/golden/dedup` is never replaced, only added to.
"""

import io
import sys
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import blake3
import numpy as np

from recoup.model.manifest import StoredPart
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, StreamPart
from recoup.repository._base import Repository, SetWriter, Sink
from recoup.repository.dedup.damaged import write_damaged
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.dedup.writers import let_in
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, manifest_of, record_of, stream_bytes

FOLDER = Path(__file__).parents[3] / "golden" / "dedup"
KEY_FILE, PASSPHRASE = b"the key file of the golden repositories, which keep nothing secret\n", b"four golden keys"
LIGHT = ("main.db", "archive.tar", "hole")
HOLE = 65_536  # zero bytes from which on a test stores them as a hole
Piece = bytes | int  # an int: so many zero bytes that are known as a hole
Tree = tuple[Member | tuple[Member, bytes], ...]


def noise(seed: int, size: int) -> bytes:
    """Bytes that nothing makes smaller, the same in every version of everything."""
    return blake3.blake3(seed.to_bytes(8, "big")).digest(size)


def rows(seed: int, size: int, kind: type[np.float16 | np.float32]) -> bytes:
    """Numbers between 1 and 2 whose exponents are alike, as those of embeddings are."""
    raw = np.frombuffer(noise(seed, size * 4), np.uint32)
    return (1 + (raw >> 9) / 2**23).astype(kind).tobytes()


def text(lines: int, changed: int = -1) -> bytes:
    """Lines that compress well; one of them may be another one."""
    return b"".join(b"%08d a line of a dump%s\n" % (n, b", changed" * (n == changed)) for n in range(lines))


def archive(day: int) -> bytes:
    """A tar with large members, small ones, and a tar inside."""

    def tar(files: Mapping[str, bytes]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                made.addfile(entry, io.BytesIO(data))
        return out.getvalue()

    inner = tar({"segment/rows": text(4000, day), "segment/empty": b""})
    return tar({"small": b"small", "shard.tar": inner, "large": text(5000), f"day {day}": b"x" * 70_000})


def streams(day: int) -> dict[str, tuple[Piece, ...]]:
    """The streams of a day."""
    fresh = bytearray(noise(1, 90_000))
    fresh[40_000 : 40_000 + 300 * day] = noise(day, 300 * day)
    return {
        "main.db": (text(6000, day), 1_000_000, text(10)),
        "rows32.bin": (rows(2, 20_000, np.float32),),
        "rows16.bin": (rows(3, 40_000, np.float16),),
        "noise.bin": (bytes(fresh),),
        "archive.tar": (archive(day),),
        "empty": (),
        "hole": (5_000_000,),
    }


def tree(day: int) -> Tree:
    """A tree with every kind of member."""
    attributes = Attributes(0o640, 1_700_000_000_123_456_789, {"user.note": b"\0\xff"})
    sparse = bytes(300_000) + text(100) + bytes(700_000) + noise(7, 1000)
    files = {
        "CURRENT": b"snapshot-%d" % day,
        "deep/er/copy": bytes(noise(1, 90_000)),
        "empty": b"",
        "sparse": sparse,
        "\udcff\udcfe not utf-8": b"odd name",
        "new\nline \\ back": b"odder name",
    }
    return (
        Member(".", "folder", Attributes(0o750, 5)),
        Member("deep", "folder", attributes),
        Member("deep/er", "folder", attributes),
        Member("deep/nothing here", "folder", attributes),
        *((Member(name, "file", attributes, len(data)), data) for name, data in files.items()),
        Member("link", "symlink", attributes, link="deep/er"),
        Member("same", "hardlink", link="CURRENT"),
    )


def pieces(data: bytes) -> Iterator[Piece]:
    """Bytes, and long rows of zeros as holes."""
    blocks = (data[at : at + 4096] for at in range(0, len(data), 4096))
    for is_zero, found in groupby(blocks, lambda block: not any(block)):
        joined = b"".join(found)
        yield len(joined) if is_zero and len(joined) >= HOLE else joined


def plain(given: Iterable[Piece]) -> bytes:
    """What pieces are when they are read."""
    return b"".join(bytes(piece) if isinstance(piece, int) else piece for piece in given)


def put(sink: Sink, given: Iterable[Piece]) -> None:
    """Hands pieces over."""
    for piece in given:
        if isinstance(piece, int):
            sink.hole(piece)
        else:
            sink.write(piece)


def store_stream(writer: SetWriter, source: str, name: str, given: Iterable[Piece]) -> StoredPart:
    """Stores a stream."""
    sink = writer.stream(source, name, None)
    put(sink, given)
    return sink.finish()


def store_tree(writer: SetWriter, source: str, members: Tree) -> StoredPart:
    """Stores a tree."""
    sink = writer.tree(source, ".")
    for member in members:
        if isinstance(member, Member):
            sink.add(member)
            continue
        file = sink.file(member[0])
        put(file, pieces(member[1]))
        file.finish()
    return sink.finish()


def add_day(repository: DedupRepository, day: int, chosen: Collection[str] = ()) -> str:
    """Stores the set of a day: all of it, or some streams only."""
    moment = NOW + timedelta(days=day)
    with repository.begin(moment) as writer:
        wanted = {name: given for name, given in streams(day).items() if not chosen or name in chosen}
        records = {"db": record_of(*(store_stream(writer, "db", name, given) for name, given in wanted.items()))}
        if not chosen:
            records["tree"] = record_of(store_tree(writer, "tree", tree(day)))
        writer.commit(manifest_of(writer.name, records, moment))
        return str(writer.name)


def kept(day: int, chosen: Collection[str] = ()) -> dict[str, object]:
    """What restoring a day's set has to yield: bytes by the paths of streams, and the members of the tree."""
    found: dict[str, object] = {
        f"db/{name}": plain(given) for name, given in streams(day).items() if not chosen or name in chosen
    }
    if not chosen:
        listed = (given if isinstance(given, tuple) else (given, b"") for given in tree(day))
        found["tree"] = [(one.name, one.kind, one.attributes, one.link, data) for one, data in listed]
    return found


def restored(repository: Repository, name: SetName) -> dict[str, object]:
    """What a set yields, in the shape of `kept`."""
    found: dict[str, object] = {}
    for source, record in repository.manifest(name).sources.items():
        for part in record.parts:
            given = repository.fetch(name, source, part)
            found[part.path] = stream_bytes(given) if isinstance(given, StreamPart) else list(_listed(given.members))
    return found


def _listed(members: Iterable[Member]) -> Iterator[tuple[object, ...]]:
    for one in members:
        data = b"" if one.content is None else stream_bytes(StreamPart("", one.content, None))
        yield one.name, one.kind, one.attributes, one.link, data


def opened(
    root: Path, secrets: Path, *, writer: bool = False, passphrase: bool = False, at_once: bool = False
) -> DedupRepository:
    """A golden repository.

    Args:
        root: where it is.
        secrets: folder for the files that hold its secrets.
        writer: open it as the host that may only add sets.
        passphrase: whether it gets a slot for the passphrase, when it is made; that takes a moment.
        at_once: prune without grace, and leave nothing unused.
    """
    key, phrase, only_adds = secrets / "key", secrets / "passphrase", secrets / "writer"
    key.write_bytes(KEY_FILE)
    phrase.write_bytes(PASSPHRASE)
    options = DedupOptions(password_file=phrase if passphrase else None, key_file=key)
    if at_once:
        options = replace(options, grace=timedelta(), max_unused=0.0)
    if writer:
        options = DedupOptions(writer_key_file=only_adds)
    return DedupRepository("golden", LocalStorage(root), options, SystemClock(), None)


def make_days(root: Path, secrets: Path) -> None:
    """Two days of every kind of content, the second one stored as differences from the first."""
    opened(root, secrets, passphrase=True).create()
    for day in (0, 1):
        add_day(opened(root, secrets), day)


def make_hosts(root: Path, secrets: Path) -> None:
    """A set of the owner, and one of a host that may only add sets."""
    owner = opened(root, secrets, passphrase=True)
    owner.create()
    add_day(owner, 0, LIGHT)
    let_in(LocalStorage(root), owner.keys, secrets / "writer", "web-1", NOW)
    add_day(opened(root, secrets, writer=True), 1, LIGHT)


def make_pruned(root: Path, secrets: Path) -> None:
    """What is left of three sets, one of them of another host, after a prune that moved chunks; one chunk is told as damaged."""
    make_hosts(root, secrets)
    owner = opened(root, secrets, at_once=True)
    add_day(owner, 2, LIGHT)
    owner.delete([owner.names()[0]])
    index = opened(root, secrets).index()
    pack = min(index.packs)
    write_damaged(LocalStorage(root), owner.keys, NOW, [(pack, index.of_pack(pack)[0].row.id)])


MAKERS = {"days-1": make_days, "hosts-1": make_hosts, "pruned-1": make_pruned}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[2]).parent)
