import hashlib
import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.errors import NoSuchSetError, RefusedError, WrongKeyError
from recoup.model.events import ignore
from recoup.model.manifest import Compression, Manifest, Pack, StoredPart
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.operations import copy, repair, selection
from recoup.repository._base import Repository, Subset
from recoup.repository.keyed.repository import KeyedRepository
from recoup.repository.keyed.template import parse
from recoup.repository.opening import Shape, open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.sealing._base import Sealing
from recoup.storage._base import Storage
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import (
    FILES,
    LARGE,
    NOW,
    Given,
    RepositoryContract,
    add_set,
    manifest_of,
    name_of,
    record_of,
    store,
    stream_bytes,
)
from sealing_keys import sealing

CLOUDOPS = ("{user_id}/snapshots/{collection}/{date}.snapshot", {"user_id": "user-123"})
FIRST = "backup_20261121_020000"
HOME = "user-123/snapshots/_recoup"
OF_DB = ("{source}/{database}_{date}.db", dict[str, str]())
OF_TREE = ("{folder}_{date:%Y%m%d_%H%M%S}.tar.gz", dict[str, str]())


def keyed(
    storage: Storage,
    key: tuple[str, dict[str, str]] = CLOUDOPS,
    pack: Pack = "tree",
    compression: Compression = "none",
    *,
    adopts: bool = False,
    how: Sealing | None = None,
    seal_manifest: bool = False,
) -> KeyedRepository:
    shape = Shape(parse(*key), adopts)
    opened = open_repository(
        "r", storage, pack, compression, None, SystemClock(), how, shape=shape, seal_manifest=seal_manifest
    )
    assert isinstance(opened, KeyedRepository)
    return opened


class TestKeyedInAFolder(RepositoryContract):
    """The stream is an artefact, the tree is not."""

    @pytest.fixture
    def repository(self, tmp_path: Path) -> Repository:
        return keyed(LocalStorage(tmp_path), OF_DB)

    @pytest.fixture
    def damage(self, tmp_path: Path) -> Callable[[SetName, StoredPart], None]:
        def flip(name: SetName, part: StoredPart) -> None:
            assert part.path == f".root/db/main_{name.time:%Y-%m-%dT%H-%M-%S}.db"
            flip_byte(tmp_path / part.path.removeprefix(".root/"))

        return flip


class TestKeyedLikeAnObjectStore(RepositoryContract):
    """The tree is an artefact, the stream is not."""

    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage(moves=False)

    @pytest.fixture
    def repository(self, storage: MemoryStorage) -> Repository:
        return keyed(storage, OF_TREE, "tar.gz", "gzip")

    @pytest.fixture
    def damage(self, storage: MemoryStorage) -> Callable[[SetName, StoredPart], None]:
        def flip(name: SetName, part: StoredPart) -> None:
            data = bytearray(storage.get(f"_recoup/{name}/{part.path}"))
            data[len(data) // 2] ^= 1
            storage.put(f"_recoup/{name}/{part.path}", bytes(data))

        return flip


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.fixture(params=["folder", "objects"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path / "bucket") if request.param == "folder" else MemoryStorage(moves=False)


@pytest.fixture
def repository(storage: Storage) -> KeyedRepository:
    made = keyed(storage)
    made.create()
    return made


def parts_of(*collections: str) -> list[StreamPart]:
    """As a Qdrant server yields them by the method `collection`."""
    parts = []
    for name in collections:
        record, snapshot = f"record of {name}".encode(), f"snapshot of {name}".encode()
        parts.append(StreamPart(f"{name}/collection.json", Given(record), len(record)))
        parts.append(StreamPart(f"{name}/{name}-2026-11-21-02-00-00.snapshot", Given(snapshot), len(snapshot)))
    return parts


def add_collections(
    repository: Repository, *collections: str, hours: float = 0, sources: tuple[str, ...] = ("vectors",)
) -> Manifest:
    moment = NOW + timedelta(hours=hours)
    with repository.begin(moment) as writer:
        records = {
            source: record_of(*(store(writer, source, part) for part in parts_of(*collections))) for source in sources
        }
        writer.commit(manifest_of(writer.name, records, moment))
        return repository.manifest(writer.name)


def keys(storage: Storage) -> set[str]:
    return {found.key for found in storage.list()}


@pytest.mark.requirement("CO-7", "CO-5")
def test_artefacts_have_their_own_keys_and_the_rest_lies_beside(repository: KeyedRepository, storage: Storage) -> None:
    manifest = add_collections(repository, "chat_history", "aws_estate")
    chat = "user-123/snapshots/chat_history/2026-11-21T02-00-00.snapshot"
    estate = "user-123/snapshots/aws_estate/2026-11-21T02-00-00.snapshot"
    assert storage.get(chat) == b"snapshot of chat_history"
    assert storage.get(f"{HOME}/{manifest.name}/vectors/chat_history/collection.json") == b"record of chat_history"
    assert {key for key in keys(storage) if not key.startswith(f"{HOME}/")} == {chat, estate}
    first, second = repository.artefacts(manifest)
    assert (first.key, first.part, first.bytes) == (chat, "chat_history", 24)
    assert first.time == NOW.replace(microsecond=0)
    assert second.location == f"{repository.location}/{estate}"
    assert list(repository.verify(name_of(manifest), Subset())) == []


@pytest.mark.requirement("CO-7")
def test_a_restored_collection_keeps_the_keys_that_it_had(repository: KeyedRepository, storage: Storage) -> None:
    restored = "docs__restore_20261121_010000"
    manifest = add_collections(repository, restored)
    assert storage.get("user-123/snapshots/docs/2026-11-21T02-00-00.snapshot") == f"snapshot of {restored}".encode()
    assert list(storage.list(f"{HOME}/{manifest.name}/vectors/{restored}"))
    add_collections(repository, "docs", restored, hours=1)
    assert storage.get("user-123/snapshots/docs/2026-11-21T03-00-00.snapshot") == b"snapshot of docs"
    assert storage.get(f"user-123/snapshots/{restored}/2026-11-21T03-00-00.snapshot")
    for name in repository.names():
        assert list(repository.verify(name, Subset())) == []


def test_a_second_set_within_a_second_has_keys_of_its_own(repository: KeyedRepository, storage: Storage) -> None:
    for _ in range(2):
        add_collections(repository, "docs")
    assert storage.get("user-123/snapshots/docs/2026-11-21T02-00-00.snapshot") == b"snapshot of docs"
    assert storage.get("user-123/snapshots/docs/2026-11-21T02-00-00_2.snapshot") == b"snapshot of docs"
    assert repository.foreign() == []


def test_artefacts_of_a_run_that_failed_are_gone(repository: KeyedRepository, storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), repository.begin(NOW) as writer:
        for part in parts_of("docs"):
            store(writer, "vectors", part)
        assert "user-123/snapshots/docs/2026-11-21T02-00-00.snapshot" in keys(storage)
        raise ZeroDivisionError
    assert not [key for key in keys(storage) if "docs" in key]
    assert repository.names() == []


def test_artefacts_of_a_discarded_source_are_gone_and_their_keys_free(
    repository: KeyedRepository, storage: Storage
) -> None:
    with repository.begin(NOW) as writer:
        for part in parts_of("docs"):
            store(writer, "vectors", part)
        writer.discard("vectors")
        assert not [key for key in keys(storage) if key.endswith(".snapshot")]
        records = {"vectors": record_of(*(store(writer, "vectors", part) for part in parts_of("docs")))}
        writer.commit(manifest_of(writer.name, records))
        name = writer.name
    assert list(repository.verify(name, Subset())) == []


def test_two_sources_with_a_collection_of_one_name_do_not_write_over_each_other(
    repository: KeyedRepository, storage: Storage
) -> None:
    with pytest.raises(RefusedError, match="is there already") as caught:
        add_collections(repository, "docs", sources=("one", "two"))
    assert "{source}" in caught.value.hint
    apart = keyed(storage, ("{source}/{collection}/{date}.snapshot", {}))
    apart.create()
    manifest = add_collections(apart, "docs", sources=("one", "two"))
    assert [one.key[:10] for one in apart.artefacts(manifest)] == ["one/docs/2", "two/docs/2"]


def test_another_tools_artefact_is_never_written_over(repository: KeyedRepository, storage: Storage) -> None:
    key = "user-123/snapshots/docs/2026-11-21T02-00-00.snapshot"
    storage.put(key, b"precious")
    with pytest.raises(RefusedError, match="another tool"):
        add_collections(repository, "docs")
    assert storage.get(key) == b"precious"
    assert repository.names() == []
    assert [one.key for one in repository.foreign()] == [key]


def test_deleting_a_set_takes_its_artefacts_and_nobody_elses(repository: KeyedRepository, storage: Storage) -> None:
    other = "user-123/snapshots/docs/2026-11-20T02-00-00.snapshot"
    storage.put(other, b"of another tool")
    first, second = (add_collections(repository, "docs", hours=hours) for hours in (0, 1))
    repository.delete([name_of(first)])
    left = {key for key in keys(storage) if not key.startswith(f"{HOME}/")}
    assert left == {other, "user-123/snapshots/docs/2026-11-21T03-00-00.snapshot"}
    assert list(repository.verify(name_of(second), Subset())) == []
    assert not [key for key in keys(storage) if first.name in key]


def test_a_set_in_the_trash_keeps_its_artefacts_and_they_are_not_foreign(repository: KeyedRepository) -> None:
    manifest = add_collections(repository, "docs")
    repository.delete([name_of(manifest)], keep_days=1)
    assert repository.names() == []
    assert repository.foreign() == []
    repository.undelete(name_of(manifest))
    assert list(repository.verify(name_of(manifest), Subset())) == []


def test_a_missing_and_a_changed_artefact_are_found(repository: KeyedRepository, storage: Storage) -> None:
    manifest = add_collections(repository, "docs", "notes")
    storage.put("user-123/snapshots/docs/2026-11-21T02-00-00.snapshot", b"snapshot of dogs")
    storage.delete("user-123/snapshots/notes/2026-11-21T02-00-00.snapshot")
    kinds = {damage.item.split("/")[3]: damage.kind for damage in repository.verify(name_of(manifest), Subset())}
    assert kinds == {"docs": "changed", "notes": "missing"}


@pytest.mark.requirement("CI-6")
def test_sha256sum_checks_a_set_from_the_repositorys_place(tmp_path: Path) -> None:
    repository = keyed(LocalStorage(tmp_path))
    repository.create()
    manifest = add_collections(repository, "docs")
    check = ["sha256sum", "-c", "--strict", f"{HOME}/{manifest.name}/SHA256SUMS"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    flip_byte(tmp_path / "user-123/snapshots/docs/2026-11-21T02-00-00.snapshot")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_a_tree_that_is_one_archive_is_an_artefact(tmp_path: Path) -> None:
    repository = keyed(LocalStorage(tmp_path), OF_TREE, "tar.gz")
    repository.create()
    manifest = add_set(repository)
    [artefact] = repository.artefacts(manifest)
    assert artefact.key == "tree_20261121_020000.tar.gz"
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / artefact.key, "-C", out], check=True)
    assert (out / "deep/er/large.bin").read_bytes() == FILES["deep/er/large.bin"]
    assert list(repository.verify(name_of(manifest), Subset())) == []


def test_compression_and_encryption_put_their_suffixes_behind(storage: Storage, tmp_path: Path) -> None:
    repository = keyed(storage, compression="zstd", how=sealing("age", tmp_path / "keys"))
    repository.create()
    manifest = add_collections(repository, "docs")
    [artefact] = repository.artefacts(manifest)
    assert artefact.key == "user-123/snapshots/docs/2026-11-21T02-00-00.snapshot.zst.age"
    assert list(repository.verify(name_of(manifest), Subset())) == []
    [_, snapshot] = manifest.sources["vectors"].parts
    assert stream_bytes(repository.fetch(name_of(manifest), "vectors", snapshot)) == b"snapshot of docs"


def test_a_host_without_a_key_verifies_artefacts_by_the_sums(storage: Storage, tmp_path: Path) -> None:
    how = sealing("age", tmp_path / "keys")
    repository = keyed(storage, how=how, seal_manifest=True)
    repository.create()
    name = name_of(add_collections(repository, "docs"))
    blind = keyed(storage, how=sealing("age", tmp_path / "others", can_open=False), seal_manifest=True)
    assert list(blind.verify(name, Subset())) == []
    key = "user-123/snapshots/docs/2026-11-21T02-00-00.snapshot.age"
    storage.put(key, storage.get(key)[:-1] + b"?")
    assert [(damage.item, damage.kind) for damage in blind.verify(name, Subset())] == [(f".root/{key}", "changed")]


def test_a_set_is_copied_into_another_layout_and_back(storage: Storage, tmp_path: Path) -> None:
    first, clock = keyed(storage), SystemClock()
    first.create()
    given = add_collections(first, "docs", "notes")
    plain = open_repository("plain", LocalStorage(tmp_path / "plain"), "tree", "zstd", None, clock)
    again = keyed(LocalStorage(tmp_path / "again"))
    for origin, target in ((first, plain), (plain, again)):
        target.create()
        planned = copy.plan(selection.listing(origin, clock.now()), origin, target, 1.1, clock)
        assert copy.run(planned, copy.Way(origin, target, clock, ignore)).exit_code == 0
        assert list(target.verify(name_of(given), Subset())) == []
    came = again.manifest(name_of(given))
    assert came.sources == given.sources
    assert [one.key for one in again.artefacts(came)] == [one.key for one in first.artefacts(given)]


@pytest.mark.parametrize("lost", ["user-123/snapshots/docs/2026-11-21T02-00-00.snapshot", f"{HOME}/{FIRST}/SHA256SUMS"])
def test_what_is_damaged_is_mended_by_a_copy_of_another_layout(storage: Storage, tmp_path: Path, lost: str) -> None:
    broken, clock = keyed(storage), SystemClock()
    helper = open_repository("plain", LocalStorage(tmp_path / "plain"), "tree", "none", None, clock)
    for one in (broken, helper):
        one.create()
    name = name_of(add_collections(broken, "docs"))
    planned = copy.plan(selection.listing(broken, clock.now()), broken, helper, 1.1, clock)
    copy.run(planned, copy.Way(broken, helper, clock, ignore))
    before = {key: storage.get(key) for key in keys(storage)}
    storage.put(lost, b"damaged")
    sides = repair.Sides(broken, helper, clock, ignore)
    [row] = repair.plan([name], sides)
    assert row.damage
    assert repair.run(row, sides).exit_code == 0
    assert list(broken.verify(name, Subset())) == []
    assert {key: storage.get(key) for key in before} == before


def test_a_damaged_manifest_is_mended_by_a_copy_of_the_same_layout(storage: Storage, tmp_path: Path) -> None:
    broken, helper, clock = keyed(storage), keyed(LocalStorage(tmp_path / "helper")), SystemClock()
    for one in (broken, helper):
        one.create()
    name = name_of(add_collections(broken, "docs"))
    planned = copy.plan(selection.listing(broken, clock.now()), broken, helper, 1.1, clock)
    copy.run(planned, copy.Way(broken, helper, clock, ignore))
    storage.put(f"{HOME}/{name}/manifest.json", b"damaged")
    sides = repair.Sides(broken, helper, clock, ignore)
    [row] = repair.plan([name], sides)
    assert repair.run(row, sides).exit_code == 0
    assert list(broken.verify(name, Subset())) == []


def test_an_artefact_is_never_seen_before_it_is_whole(tmp_path: Path) -> None:
    repository = keyed(LocalStorage(tmp_path))
    repository.create()
    with repository.begin(NOW) as writer:
        sink = writer.stream("vectors", "docs/docs-2026-11-21-02-00-00.snapshot", None)
        sink.write(LARGE)
        assert not list(tmp_path.glob("user-123/snapshots/docs/*"))
        sink.abort()
    assert not list(tmp_path.glob("user-123/snapshots/docs/*"))


class TestForeign:
    """Artefacts that other tools put there."""

    OLD = "user-123/snapshots/docs/2026-10-01T02-00-00.snapshot"

    def test_they_are_listed_and_ours_and_other_files_are_not(
        self, repository: KeyedRepository, storage: Storage
    ) -> None:
        add_collections(repository, "docs")
        for key in (
            self.OLD,
            "user-123/snapshots/docs/notes.txt",
            "user-9/snapshots/docs/2026-10-01T02-00-00.snapshot",
        ):
            storage.put(key, b"12345")
        storage.put("user-123/snapshots/docs/2026-09-01T02-00-00.snapshot.gz", b"")
        gz, plain = repository.foreign()
        assert (plain.key, plain.part, plain.bytes, f"{plain.time:%Y-%m-%d %H}") == (
            self.OLD,
            "docs",
            5,
            "2026-10-01 02",
        )
        assert gz.key.endswith("2026-09-01T02-00-00.snapshot.gz")

    @pytest.mark.parametrize("suffix", ["", ".zst", ".gz"])
    def test_they_are_read_as_their_names_say(self, repository: KeyedRepository, storage: Storage, suffix: str) -> None:
        packed = {"": ["cat"], ".zst": ["zstd", "-c"], ".gz": ["gzip", "-c"]}[suffix]
        storage.put(self.OLD + suffix, subprocess.run(packed, input=LARGE, capture_output=True, check=True).stdout)
        [artefact] = repository.foreign()
        part = repository.read_foreign(artefact)
        assert part.name == "docs.snapshot"
        assert stream_bytes(part) == LARGE

    def test_an_encrypted_one_wants_a_key(self, repository: KeyedRepository, storage: Storage) -> None:
        storage.put(self.OLD + ".age", b"?")
        [artefact] = repository.foreign()
        with pytest.raises(WrongKeyError, match="encrypted by age"):
            repository.read_foreign(artefact)

    def test_they_are_removed_only_where_they_are_adopted(self, repository: KeyedRepository, storage: Storage) -> None:
        storage.put(self.OLD, b"1")
        [artefact] = repository.foreign()
        with pytest.raises(RefusedError, match="does not remove"):
            repository.delete_foreign([artefact])
        adopting = keyed(storage, adopts=True)
        [ours] = repository.artefacts(add_collections(repository, "docs"))
        with pytest.raises(RefusedError, match="no other tool's"):
            adopting.delete_foreign([artefact, ours])
        assert self.OLD in keys(storage)
        adopting.delete_foreign([artefact])
        assert self.OLD not in keys(storage)

    def test_a_key_that_is_none_cannot_be_read(self, repository: KeyedRepository, storage: Storage) -> None:
        storage.put(self.OLD, b"1")
        [artefact] = repository.foreign()
        moved = keyed(storage, ("{collection}/{date}.dump", {}))
        with pytest.raises(NoSuchSetError):
            moved.read_foreign(artefact)


def test_a_bucket_with_files_in_it_becomes_a_repository_and_keeps_them(storage: Storage) -> None:
    storage.put("user-123/snapshots/docs/2026-10-01T02-00-00.snapshot", b"1")
    storage.put("thesis.tex", b"precious")
    repository = keyed(storage)
    repository.create()
    add_collections(repository, "docs")
    assert storage.get("thesis.tex") == b"precious"


def test_one_place_is_not_two_repositories(storage: Storage) -> None:
    open_repository("r", storage, "tree", "none", None, SystemClock()).create()
    with pytest.raises(RefusedError, match="layout 'sets'"):
        keyed(storage).create()


def test_a_place_of_another_layout_is_said_to_be_one(tmp_path: Path) -> None:
    repository = keyed(LocalStorage(tmp_path))
    repository.create()
    plain = open_repository("r", LocalStorage(tmp_path / HOME), "tree", "none", None, SystemClock())
    assert type(plain) is PlainRepository
    with pytest.raises(RefusedError, match="layout 'keyed'") as caught:
        plain.check()
    assert "`layout: keyed`" in caught.value.hint
    assert "`key: user-123/snapshots/{collection}/{date}.snapshot`" in caught.value.hint


def test_what_a_killed_run_left_is_removed_with_its_artefacts(tmp_path: Path) -> None:
    repository = keyed(LocalStorage(tmp_path))
    repository.create()
    pid = os.fork()
    if pid == 0:
        with repository.begin(NOW) as writer:
            for part in parts_of("docs", "notes"):
                store(writer, "vectors", part)
            os._exit(9)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.glob("user-123/snapshots/*/*.snapshot"))) == 2
    assert repository.names() == []
    assert repository.foreign() == []
    manifest = add_collections(repository, "docs", hours=1)
    left = [path.name for path in tmp_path.glob("user-123/snapshots/*/*.snapshot")]
    assert left == ["2026-11-21T03-00-00.snapshot"]
    assert list(repository.verify(name_of(manifest), Subset())) == []
    assert hashlib.sha256(b"snapshot of docs").hexdigest() == manifest.sources["vectors"].parts[1].sha256
