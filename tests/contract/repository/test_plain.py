import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recoup.errors import DamagedError, LockedError, RefusedError
from recoup.model.manifest import StoredPart
from recoup.model.names import SetName
from recoup.repository._base import Repository, Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.storage.object_store import ObjectStorage, Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import (
    FILES,
    NOW,
    RepositoryContract,
    add_set,
    name_of,
    stream_bytes,
    tree_contents,
)
from s3_server.buckets import Bucket


class TestPlainTree(RepositoryContract):
    pack = "tree"
    compression = "none"

    @pytest.fixture
    def repository(self, tmp_path: Path) -> Repository:
        storage = LocalStorage(tmp_path / "repository")
        return open_repository("r", storage, self.pack, self.compression, None, SystemClock())  # type: ignore[arg-type]

    @pytest.fixture
    def damage(self, tmp_path: Path) -> Callable[[SetName, StoredPart], None]:
        def flip(name: SetName, part: StoredPart) -> None:
            flip_byte(tmp_path / "repository" / str(name) / part.path)

        return flip


class TestPlainTar(TestPlainTree):
    pack = "tar"


class TestPlainTarZstd(TestPlainTree):
    pack = "tar.zst"
    compression = "zstd"


class TestPlainTarGzip(TestPlainTree):
    pack = "tar.gz"
    compression = "gzip"


class TestPlainInMemory(TestPlainTree):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()

    @pytest.fixture
    def repository(self, storage: MemoryStorage) -> Repository:
        return open_repository("r", storage, "tree", "none", None, SystemClock())

    @pytest.fixture
    def damage(self, storage: MemoryStorage) -> Callable[[SetName, StoredPart], None]:
        def flip(name: SetName, part: StoredPart) -> None:
            data = bytearray(storage.get(f"{name}/{part.path}"))
            data[len(data) // 2] ^= 1
            storage.put(f"{name}/{part.path}", bytes(data))

        return flip


class TestPlainWithoutRenames(TestPlainInMemory):
    """A storage like an object store."""

    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage(moves=False)


class TestPlainWithoutConditionalPut(TestPlainInMemory):
    """An object store that overwrites whatever is there."""

    @pytest.fixture
    def storage(self) -> MemoryStorage:
        storage = MemoryStorage(moves=False)
        storage.properties = replace(storage.properties, put_if_absent=False)
        return storage


@pytest.mark.requirement("CO-14")
class TestPlainOnS3(TestPlainInMemory):
    """A real server."""

    @pytest.fixture
    def storage(self, bucket: Bucket) -> ObjectStorage:
        return connect(f"{bucket.url}/backups", Options.model_validate(bucket.options))


def flip_byte(path: Path, position: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 0x10
    path.write_bytes(data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


def opened(root: Path, pack: str = "tree", compression: str = "none") -> PlainRepository:
    storage = LocalStorage(root)
    return open_repository("r", storage, pack, compression, None, SystemClock())  # type: ignore[arg-type]


@pytest.fixture(params=[("tree", "none"), ("tar", "none"), ("tar.zst", "zstd"), ("tar.gz", "gzip")], ids=lambda p: p[0])
def repository(request: pytest.FixtureRequest, root: Path) -> PlainRepository:
    made = opened(root, *request.param)
    made.create()
    return made


@pytest.mark.requirement("CI-6", "CI-11")
def test_sha256sum_checks_a_set_without_recoup(repository: PlainRepository, root: Path) -> None:
    name = name_of(add_set(repository))
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=root / str(name), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    flip_byte(root / str(name) / "manifest.json")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=root / str(name), capture_output=True, check=False)
    assert done.returncode == 1


@pytest.mark.requirement("DM-14", "CI-11")
def test_standard_programs_open_what_was_packed(repository: PlainRepository, root: Path, tmp_path: Path) -> None:
    manifest = add_set(repository)
    folder = root / manifest.name
    [stream], [tree] = manifest.sources["db"].parts, manifest.sources["tree"].parts
    opener = {"none": ["cat"], "zstd": ["zstd", "-dc"], "gzip": ["gzip", "-dc"]}[stream.compression]
    assert subprocess.run([*opener, folder / stream.path], capture_output=True, check=True).stdout == b"database"
    out = tmp_path / "out"
    out.mkdir()
    if tree.pack == "tree":
        subprocess.run(["cp", "-a", f"{folder / tree.path}/.", out], check=True)
    else:
        subprocess.run(["tar", "-xf", folder / tree.path, "-C", out], check=True)
    for text, data in FILES.items():
        assert (out / text).read_bytes() == data
    assert os.readlink(out / "away") == "../../../etc/passwd"
    assert (out / "deep/nothing here").is_dir()


def stored_files(root: Path, name: SetName) -> list[Path]:
    return sorted(p for p in (root / str(name)).rglob("*") if p.is_file() and not p.is_symlink())


@pytest.mark.requirement("CI-6", "SR-14")
def test_one_flipped_byte_in_any_stored_file_is_found(repository: PlainRepository, root: Path) -> None:
    name = name_of(add_set(repository))
    files = stored_files(root, name)
    assert len(files) >= 5
    for path in files:
        original = path.read_bytes()
        for position in {0, len(original) // 2, len(original) - 1} if original else set():
            flip_byte(path, position)
            damage = list(repository.verify(name, Subset()))
            assert damage, f"{path.name} at {position}"
            path.write_bytes(original)
    assert list(repository.verify(name, Subset())) == []


@pytest.mark.requirement("CI-6")
def test_a_missing_a_cut_and_an_extra_file_are_found_and_named(repository: PlainRepository, root: Path) -> None:
    name = name_of(add_set(repository))
    for path in stored_files(root, name):
        original, relative = path.read_bytes(), str(path.relative_to(root / str(name)))
        path.unlink()
        assert [d.kind for d in repository.verify(name, Subset()) if d.item == relative] == ["missing"]
        if original:
            path.write_bytes(original[:-1])
            kinds = {d.kind for d in repository.verify(name, Subset())}
            assert kinds & {"size", "manifest", "changed"}, relative
        path.write_bytes(original)
    extra = root / str(name) / "db" / "extra"
    extra.write_bytes(b"")
    assert [(d.kind, d.item) for d in repository.verify(name, Subset())] == [("extra", "db/extra")]
    extra.unlink()
    extra.symlink_to("/etc/passwd")
    assert [(d.kind, d.item) for d in repository.verify(name, Subset())] == [("link", "db/extra")]


def test_a_link_that_was_bent_is_found(root: Path) -> None:
    repository = opened(root)
    repository.create()
    name = name_of(add_set(repository))
    link = root / str(name) / "tree" / "link"
    link.unlink()
    link.symlink_to("/etc")
    assert {d.kind for d in repository.verify(name, Subset())} == {"link"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=99), "version 99"),
        (lambda m: m.update(format="other"), "not a manifest"),
        (lambda m: m["sources"]["db"]["parts"][0].update(path="../../escape"), "unsafe name"),
        (lambda m: m["sources"]["db"]["parts"][0].update(path="/etc/passwd"), "unsafe name"),
        (lambda m: m["sources"]["tree"]["parts"][0]["members"].update(path="a/../../b"), "unsafe name"),
        (lambda m: m["sources"]["db"]["parts"][0].pop("sha256"), "sha256"),
        (lambda m: m.pop("sources"), "sources"),
    ],
)
def test_a_hostile_or_unknown_manifest_is_refused_and_says_why(
    root: Path, change: Callable[[dict[str, object]], None], message: str
) -> None:
    repository = opened(root)
    repository.create()
    name = name_of(add_set(repository))
    path = root / str(name) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(RefusedError, match=message) as caught:
        repository.manifest(name)
    assert caught.value.exit_code == 13
    assert any(d.item == "manifest.json" for d in repository.verify(name, Subset()))


def test_a_manifest_cut_at_any_byte_is_refused(root: Path) -> None:
    repository = opened(root)
    repository.create()
    name = name_of(add_set(repository))
    path = root / str(name) / "manifest.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 37):
        path.write_bytes(whole[:length])
        with pytest.raises(RefusedError):
            repository.manifest(name)


def test_an_unknown_repository_version_is_refused(root: Path) -> None:
    repository = opened(root)
    repository.create()
    path = root / "recoup-repository.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(RefusedError, match="version 2") as caught:
        repository.check()
    assert caught.value.exit_code == 13


def test_a_folder_with_other_files_does_not_become_a_repository(root: Path) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("precious")
    with pytest.raises(RefusedError, match="not empty"):
        opened(root).create()


def test_a_members_line_that_leads_outside_stops_the_restore(root: Path) -> None:
    repository = opened(root)
    repository.create()
    manifest = add_set(repository)
    [part] = manifest.sources["tree"].parts
    assert part.members is not None
    path = root / manifest.name / part.members.path
    path.write_bytes(path.read_bytes().replace(b'"CURRENT"', b'"../../x"'))
    with pytest.raises((DamagedError, RefusedError)):
        tree_contents(repository.fetch(name_of(manifest), "tree", part))


@pytest.mark.requirement("CI-12")
def test_a_lock_of_a_dead_process_is_stale_and_does_not_stop_anybody(root: Path) -> None:
    repository = opened(root)
    repository.create()
    child = subprocess.Popen(["true"])
    child.wait()
    with repository.lock("exclusive", "prune", "stack"):
        [path] = (root / ".locks").glob("*.json")
        record = json.loads(path.read_text())
    record["pid"], record["born"] = child.pid, ""
    path.write_text(json.dumps(record))
    [lock] = repository.locks()
    assert lock.stale
    with repository.lock("backup", "backup", "stack"):
        pass
    assert repository.locks() == []


@pytest.mark.requirement("CI-12")
def test_a_lock_of_another_machine_holds_until_it_was_silent_for_half_an_hour(root: Path) -> None:
    repository = opened(root)
    repository.create()
    with repository.lock("exclusive", "prune", "stack"):
        [path] = (root / ".locks").glob("*.json")
        record = json.loads(path.read_text())
    record["host"] = "elsewhere"
    path.write_text(json.dumps(record))
    with pytest.raises(LockedError, match="elsewhere"), repository.lock("shared", "list", "stack"):
        pass
    record["refreshed"] = "2026-01-01T00:00:00+00:00"
    path.write_text(json.dumps(record))
    with repository.lock("shared", "list", "stack"):
        pass


@pytest.mark.requirement("SR-14")
def test_everything_in_a_repository_is_private(repository: PlainRepository, root: Path) -> None:
    before = os.umask(0)
    try:
        add_set(repository)
    finally:
        os.umask(before)
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_compressed_parts_are_smaller_and_say_both_sizes(root: Path) -> None:
    repository = opened(root, "tree", "zstd")
    repository.create()
    data = b"the same sentence again and again. " * 10_000
    manifest = add_set(repository, data=data)
    [part] = manifest.sources["db"].parts
    assert part.bytes == len(data)
    assert part.stored_bytes == (root / manifest.name / part.path).stat().st_size < len(data) / 10
    assert part.path == "db/main.db.zst"
    assert stream_bytes(repository.fetch(name_of(manifest), "db", part)) == data


def test_a_repository_can_be_carried_elsewhere(root: Path, tmp_path: Path) -> None:
    repository = opened(root)
    repository.create()
    name = name_of(add_set(repository, NOW))
    moved = tmp_path / "moved"
    shutil.move(root, moved)
    assert list(opened(moved).verify(name, Subset())) == []
