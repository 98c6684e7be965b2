"""Backups into a dedup repository, killed at every file operation. Run by `crash.light`: one case kills many processes."""

import hashlib
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from crash.killing import kill_points
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, StreamPart, TreePart
from recoup.repository._base import Subset
from recoup.repository.dedup import storing
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store, stream_bytes

_PACK = 60_000  # bytes of a pack, so that a small backup has several
_STREAMS = {name: hashlib.shake_256(name.encode()).digest(66_000) for name in ("kept", "fresh", "fresher")}


class HurryingClock(SystemClock):
    """Five minutes go by between two looks, so that every pack is followed by a checkpoint."""

    def __init__(self) -> None:
        self._looks = count()

    def monotonic(self) -> float:
        return 300.0 * next(self._looks)


class LaterClock(SystemClock):
    """That of some days later."""

    def __init__(self, days: float) -> None:
        self._days = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self._days


def opened(root: Path, days: float = 0) -> DedupRepository:
    options = DedupOptions(key_file=root.parent / "key")
    clock = LaterClock(days) if days else HurryingClock()
    return DedupRepository("r", LocalStorage(root), options, clock, root.parent / "cache")


def add_set(root: Path, hours: int, *names: str) -> SetName:
    """A backup as `operations.backup` makes it."""
    repository, moment = opened(root), NOW + timedelta(hours=hours)
    attributes = Attributes(0o600, 0)
    members = [Member(".", "folder", attributes), Member("a", "file", attributes, 3, content=Given(b"abc"))]
    with repository.lock("backup", "backup", "stack"), repository.begin(moment) as writer:
        parts = [store(writer, "db", StreamPart(name, Given(_STREAMS[name]), None)) for name in names]
        tree = store(writer, "tree", TreePart(".", iter(members)))
        records = {"db": record_of(*parts), "tree": record_of(tree)}
        writer.commit(manifest_of(writer.name, records, moment))
        return writer.name


def require_sound(root: Path) -> list[str]:
    """Names of the sets; each of them verifies, and yields what was stored."""
    repository = opened(root)
    for name in repository.names():
        assert list(repository.verify(name, Subset())) == [], name
        for part in repository.manifest(name).sources["db"].parts:
            assert stream_bytes(repository.fetch(name, "db", part)) == _STREAMS[part.name]
    return [str(name) for name in repository.names()]


def require_no_chunk_twice(root: Path) -> None:
    """What an index file names was not stored again."""
    index = opened(root).index()
    assert not index.problems
    found = [(place.row.run, place.row.number) for pack in index.packs for place in index.of_pack(pack)]
    ids = {place.row.id for pack in index.packs for place in index.of_pack(pack)}
    assert len(ids) == len(found)


def leftovers(root: Path) -> list[str]:
    """What should not outlast the next run."""
    folders = (".partial", ".tmp", ".locks")
    hidden = [path for folder in folders for path in (root / folder).rglob("*")]
    return [str(path.relative_to(root)) for path in (*hidden, *root.rglob(".*.tmp"))]


def backup(folder: str) -> None:
    """A second backup that is killed anywhere."""
    root = Path(folder) / "repository"
    storing._PACK = _PACK
    (root.parent / "key").write_bytes(bytes(range(32)))
    first = root.parent / "first"
    opened(first).create()
    add_set(first, 0, "kept")

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(root.parent / "cache", ignore_errors=True)
        shutil.copytree(first, root)
        return lambda: add_set(root, 1, *_STREAMS)

    indexed, kills = set[int](), 0
    for _ in kill_points(prepare):
        kills += 1
        before = require_sound(root)
        assert before in (["backup_20261121_020000"], ["backup_20261121_020000", "backup_20261121_030000"])
        indexed.add(len(list((root / "index").iterdir())))
        add_set(root, 2, *_STREAMS)
        assert require_sound(root) == [*before, "backup_20261121_040000"]
        require_no_chunk_twice(root)
        assert leftovers(root) == []
    assert kills > 25
    assert len(indexed) >= 3, "no kill came between two checkpoints"


def prune(folder: str) -> None:
    """A prune that removes, rewrites and condemns packs, killed at every third place."""
    root = Path(folder) / "repository"
    (root.parent / "key").write_bytes(bytes(range(32)))
    first = root.parent / "first"
    opened(first).create()
    sets = [add_set(first, 0, "kept", "fresh"), add_set(first, 1, "fresh", "fresher"), add_set(first, 2, "fresher")]
    opened(first, 2).delete(sets[:1])

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(root.parent / "cache", ignore_errors=True)
        shutil.copytree(first, root)
        return lambda: opened(root, 4).delete(sets[1:2])

    kills, packs = 0, set[int]()
    for _ in kill_points(prepare, step=3):
        kills += 1
        names = require_sound(root)
        assert str(sets[2]) in names
        packs.add(len(list((root / "packs").rglob("*.pack"))))
        for days in (4, 6, 8):
            opened(root, days).delete(sets[1:2] if str(sets[1]) in require_sound(root) else [])
        assert require_sound(root) == [str(sets[2])]
        require_no_chunk_twice(root)
        index = opened(root).index()
        assert {ref.key for ref in index.packs} == {
            f"packs/{p.relative_to(root / 'packs')}" for p in root.rglob("*.pack")
        }
        assert opened(root).sharing().needs().kept.all()
        assert leftovers(root) == []
    assert kills > 8
    assert len(packs) > 1


def copy_all(origin: Path, root: Path) -> None:
    """What another repository with the same keys lacks, as `operations.copy` copies it."""
    left, right = opened(origin), opened(root)
    with right.lock("backup", "copy", "copy of stack"):
        replication = right.replication(left)
        assert replication is not None
        for name in left.names():
            if name not in right.names():
                replication.copy(name, lambda _needed: None, lambda _done, _total: None)


def copy(folder: str) -> None:
    """A copy to a repository with the same keys, killed at every ninth place."""
    root = Path(folder) / "repository"
    storing._PACK = _PACK
    (root.parent / "key").write_bytes(bytes(range(32)))
    main, first = root.parent / "main", root.parent / "first"
    opened(main).create()
    opened(first).create_like(opened(main))
    sets = [str(add_set(main, 0, "kept", "fresh")), str(add_set(main, 1, *_STREAMS))]
    packs = {path.name: path.read_bytes() for path in main.rglob("*.pack")}

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(root.parent / "cache", ignore_errors=True)
        shutil.copytree(first, root)
        return lambda: copy_all(main, root)

    kills, states = 0, set[tuple[int, int]]()
    for _ in kill_points(prepare, step=9):
        kills += 1
        before = require_sound(root)
        assert before == sets[: len(before)]
        states.add((len(before), len(list(root.rglob("*.pack")))))
        copy_all(main, root)
        assert require_sound(root) == sets
        require_no_chunk_twice(root)
        assert {path.name: path.read_bytes() for path in root.rglob("*.pack")} == packs
        assert leftovers(root) == []
    assert kills > 4
    assert len(states) > 2
