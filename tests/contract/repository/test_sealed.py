"""The promise of a repository, kept when every file is encrypted."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recoup.errors import DamagedError, RefusedError, WrongKeyError
from recoup.model.manifest import Manifest, StoredPart
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.repository._base import Repository, Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.sealing._base import Sealing
from recoup.repository.sealing.age import AgeSealing
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
    tree_contents,
)
from sealing_keys import PASSPHRASE, WAYS, age_key, private, sealing


def opened(
    root: Path, how: Sealing | None, pack: str = "tar.zst", compression: str = "zstd", *, manifest: bool = False
) -> PlainRepository:
    storage, clock = LocalStorage(root), SystemClock()
    return open_repository("r", storage, pack, compression, None, clock, how, seal_manifest=manifest)  # type: ignore[arg-type]


class TestAge(RepositoryContract):
    way, pack, compression, seal_manifest = "age", "tar.zst", "zstd", False

    @pytest.fixture
    def repository(self, tmp_path: Path) -> Repository:
        how = sealing(self.way, tmp_path / "keys")
        return opened(tmp_path / "repository", how, self.pack, self.compression, manifest=self.seal_manifest)

    @pytest.fixture
    def damage(self, tmp_path: Path) -> Callable[[SetName, StoredPart], None]:
        return lambda name, part: flip_byte(tmp_path / "repository" / str(name) / part.path)


class TestAgeWithItsManifest(TestAge):
    pack, compression, seal_manifest = "tree", "none", True


class TestAgeWithoutRenames(TestAge):
    """On a storage like an object store, the manifest encrypted, too."""

    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage(moves=False)

    @pytest.fixture
    def repository(self, tmp_path: Path, storage: MemoryStorage) -> Repository:
        how = sealing(self.way, tmp_path / "keys")
        return open_repository("r", storage, "tar", "none", None, SystemClock(), how, seal_manifest=True)

    @pytest.fixture
    def damage(self, storage: MemoryStorage) -> Callable[[SetName, StoredPart], None]:
        def flip(name: SetName, part: StoredPart) -> None:
            data = bytearray(storage.get(f"{name}/{part.path}"))
            data[len(data) // 2] ^= 1
            storage.put(f"{name}/{part.path}", bytes(data))

        return flip


class TestGpgWithARecipient(TestAge):
    way, seal_manifest = "gpg-recipient", True


def flip_byte(path: Path, position: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 0x10
    path.write_bytes(data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture(params=WAYS)
def how(request: pytest.FixtureRequest, tmp_path: Path) -> Sealing:
    return sealing(request.param, tmp_path / "keys")


def made(root: Path, how: Sealing, *, manifest: bool = False) -> PlainRepository:
    repository = opened(root, how, manifest=manifest)
    repository.create()
    return repository


SECRET = "the api key is hunter2"


def add_secret(repository: PlainRepository) -> Manifest:
    """A set whose contents, facts and digests would give a secret away."""
    with repository.begin(NOW) as writer:
        part = store(writer, "db", StreamPart("main.db", Given(SECRET.encode()), None))
        record = record_of(part)
        assert record.facts
        facts = replace(record.facts, values={"table keys": {"rows": 1, "digest": SECRET, "whole": True}})
        writer.commit(manifest_of(writer.name, {"db": replace(record, facts=facts)}))
        name = writer.name
    return repository.manifest(name)


def everything_in(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def test_sha256sum_checks_an_encrypted_set_without_a_key(root: Path, how: Sealing) -> None:
    for manifest in (False, True):
        name = add_set(made(root / str(manifest), how, manifest=manifest)).name
        folder = root / str(manifest) / name
        done = subprocess.run(
            ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert set(done.stdout.decode().replace(": OK", "").splitlines()) == files - {"SHA256SUMS"}
        encrypted = {path for path in files if path.endswith(f".{how.method}")}
        assert files - encrypted == {"manifest.json", "SHA256SUMS"}


def test_gpg_alone_opens_every_file_with_the_passphrase(tmp_path: Path, root: Path) -> None:
    how = sealing("gpg-passphrase", tmp_path / "keys")
    manifest = add_set(made(root, how))
    home = tmp_path / "home"
    home.mkdir(mode=0o700)

    def by_hand(path: str) -> bytes:
        given = ["--batch", "--homedir", str(home), "--pinentry-mode", "loopback", "--passphrase", PASSPHRASE]
        file = root / manifest.name / path
        return subprocess.run(["gpg", *given, "--decrypt", str(file)], capture_output=True, check=True).stdout

    def unpacked(path: str) -> bytes:
        return subprocess.run(["zstd", "-dc"], input=by_hand(path), capture_output=True, check=True).stdout

    [stream], [tree] = manifest.sources["db"].parts, manifest.sources["tree"].parts
    assert (stream.path, tree.path) == ("db/main.db.zst.gpg", "tree/tree.tar.zst.gpg")
    assert unpacked(stream.path) == b"database"
    target = tmp_path / "by hand"
    target.mkdir()
    subprocess.run(["tar", "x", "-C", target], input=unpacked(tree.path), check=True)
    assert (target / "deep/er/large.bin").read_bytes() == LARGE
    assert tree.members
    assert len(by_hand(tree.members.path).splitlines()) == tree.members.count
    assert json.loads(by_hand("sealed.json.gpg"))["format"] == "recoup-sealed"


def test_no_digest_and_no_text_of_a_secret_stands_open(root: Path, how: Sealing) -> None:
    import hashlib

    for manifest in (False, True):
        place = root / str(manifest)
        repository = made(place, how, manifest=manifest)
        found = add_secret(repository)
        stored = everything_in(place)
        assert SECRET.encode() not in stored
        assert hashlib.sha256(SECRET.encode()).hexdigest().encode() not in stored
        [part] = found.sources["db"].parts
        assert part.content_sha256 == ""
        assert len(part.content_hmac) == 64
        facts = repository.whole(found).sources["db"].facts
        assert facts
        assert facts.values["table keys"]["digest"] == SECRET
        assert facts.probes
        open_facts = found.sources["db"].facts
        assert open_facts
        assert dict(open_facts.values["table keys"]) == {"rows": 1, "whole": True}
        assert open_facts.probes == ()


def test_two_sets_of_equal_bytes_have_other_keyed_digests(root: Path, how: Sealing) -> None:
    repository = made(root, how)
    digests = {add_secret(repository).sources["db"].parts[0].content_hmac for _ in range(2)}
    assert len(digests) == 2


def test_an_encrypted_manifest_leaves_a_header_that_says_how_to_open_it(root: Path, how: Sealing) -> None:
    name = add_set(made(root, how, manifest=True)).name
    header = json.loads((root / name / "manifest.json").read_text())
    assert header.keys() == {"format", "version", "method", "recipients", "manifest"}
    assert header["method"] == how.method
    assert tuple(header["recipients"]) == how.recipients
    assert header["manifest"]["path"] == f"manifest.json.{how.method}"


@pytest.mark.parametrize("way", ["age", "gpg-recipient"])
@pytest.mark.parametrize("manifest", [False, True])
def test_a_host_with_public_keys_alone_backs_up_and_verifies_and_opens_nothing(
    tmp_path: Path, root: Path, way: str, *, manifest: bool
) -> None:
    whole = sealing(way, tmp_path / "keys")
    public = replace(whole, identity_file=None)
    repository = made(root, public, manifest=manifest)
    stored = add_set(repository)
    name = name_of(stored)
    verification = repository.verify(name, Subset())
    assert list(verification) == []
    assert verification.bytes == verification.total_bytes > len(LARGE)
    with pytest.raises(WrongKeyError) as caught:
        stream_bytes(repository.fetch(name, "db", stored.sources["db"].parts[0]))
    assert "identity_file" in caught.value.hint
    with pytest.raises(WrongKeyError):
        repository.whole(repository.manifest(name))
    elsewhere = opened(root, whole, manifest=manifest)
    assert elsewhere.can_open(name)
    assert stream_bytes(elsewhere.fetch(name, "db", stored.sources["db"].parts[0])) == b"database"


@pytest.mark.parametrize("way", ["age", "gpg-recipient"])
@pytest.mark.parametrize("manifest", [False, True])
def test_without_a_key_every_flipped_byte_and_missing_file_is_found(
    tmp_path: Path, root: Path, way: str, *, manifest: bool
) -> None:
    public = sealing(way, tmp_path / "keys", can_open=False)
    repository = made(root, public, manifest=manifest)
    name = name_of(add_secret(repository)) if not manifest else name_of(add_set(repository))
    folder = root / str(name)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        before = path.read_bytes()
        for position in {0, len(before) // 2, len(before) - 1}:
            flip_byte(path, position)
            assert list(repository.verify(name, Subset())), f"{path.name} at {position}"
            path.write_bytes(before)
        path.unlink()
        assert list(repository.verify(name, Subset())), f"{path.name} missing"
        path.write_bytes(before)
    (folder / "more").write_bytes(b"x")
    assert [found.kind for found in repository.verify(name, Subset())] == ["extra"]


def test_a_wrong_key_is_said_and_not_taken_for_damage(tmp_path: Path, root: Path, how: Sealing) -> None:
    stored = add_set(made(root, how))
    name = name_of(stored)
    other = {"age": "age", "gpg": "gpg-passphrase"}[how.method]
    wrong = opened(root, sealing(other, tmp_path / "others"))
    if how.method == "gpg":
        private(tmp_path / "others" / "passphrase", "wrong\n")
    [stream], [tree] = stored.sources["db"].parts, stored.sources["tree"].parts
    for attempt in (
        lambda: stream_bytes(wrong.fetch(name, "db", stream)),
        lambda: tree_contents(wrong.fetch(name, "tree", tree)),
        lambda: wrong.whole(wrong.manifest(name)),
        lambda: list(wrong.verify(name, Subset())),
    ):
        with pytest.raises(WrongKeyError) as caught:
            attempt()
        assert caught.value.exit_code == 12
        assert caught.value.hint


def test_damage_is_said_and_not_taken_for_a_wrong_key(root: Path, how: Sealing) -> None:
    repository = made(root, how)
    stored = add_set(repository, data=LARGE)
    [part] = stored.sources["db"].parts
    path = root / stored.name / part.path
    before = path.read_bytes()
    for position in (0, 40, len(before) // 2, len(before) - 1):
        flip_byte(path, position)
        with pytest.raises(DamagedError):
            stream_bytes(repository.fetch(name_of(stored), "db", part))
        path.write_bytes(before)
    path.write_bytes(before[:30])
    with pytest.raises(DamagedError):
        stream_bytes(repository.fetch(name_of(stored), "db", part))


def test_content_under_another_sets_key_does_not_pass(root: Path, tmp_path: Path) -> None:
    how = sealing("age", tmp_path / "keys")
    repository = made(root, how)
    first, second = (add_set(repository, data=data) for data in (b"one", b"two"))
    part = first.sources["db"].parts[0]
    swapped = replace(second.sources["db"].parts[0], content_hmac=part.content_hmac)
    with pytest.raises(DamagedError):
        stream_bytes(repository.fetch(name_of(second), "db", swapped))


def test_open_and_encrypted_sets_stand_in_one_repository(root: Path, how: Sealing) -> None:
    plain = opened(root, None, "tree", "none")
    plain.create()
    first = name_of(add_set(plain))
    both = opened(root, how)
    second = name_of(add_set(both))
    for name in (first, second):
        manifest = both.manifest(name)
        assert list(both.verify(name, Subset())) == []
        assert stream_bytes(both.fetch(name, "db", manifest.sources["db"].parts[0])) == b"database"
        found = tree_contents(both.fetch(name, "tree", manifest.sources["tree"].parts[0]))
        assert found["zeros"][1] == FILES["zeros"]
    assert plain.can_open(first)
    assert not plain.can_open(second)
    assert list(plain.verify(second, Subset())) == []
    with pytest.raises(WrongKeyError, match=how.method):
        stream_bytes(plain.fetch(second, "db", both.manifest(second).sources["db"].parts[0]))


def test_a_file_on_the_same_disk_is_never_taken_over_as_it_is(tmp_path: Path, root: Path, how: Sealing) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(SECRET.encode())
    with made(root, how).begin(NOW) as writer:
        content = Given(SECRET.encode(), staged, disposable=True)
        sink = writer.stream("db", "main.db", None)
        assert not sink.adopt(content)
        sink.abort()
    assert staged.read_bytes() == SECRET.encode()
    assert SECRET.encode() not in everything_in(root)


def test_large_files_wait_for_their_archive_outside_of_the_repository(tmp_path: Path, root: Path) -> None:
    import os

    from recoup.model.part import Attributes, Member

    how, spool = sealing("age", tmp_path / "keys"), tmp_path / "spool"
    spool.mkdir(mode=0o700)
    repository = open_repository("r", LocalStorage(root), "tar", "none", None, SystemClock(), how, spool=spool)
    repository.create()
    with repository.begin(NOW) as writer:
        sink = writer.tree("tree", ".").file(Member("big", "file", Attributes(0o600, 0), 0))
        for _ in range(10):
            sink.write(bytes(1024 * 1024))
        held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]
        sink.abort()
    assert [path for path in held if path.startswith(str(spool))]
    assert list(spool.iterdir()) == []


def _is_link(fd: str) -> bool:
    import os

    return os.path.islink(f"/proc/self/fd/{fd}")


def test_a_damaged_header_is_refused_and_leads_nowhere(tmp_path: Path, root: Path) -> None:
    repository = made(root, sealing("age", tmp_path / "keys"), manifest=True)
    name = name_of(add_set(repository))
    path = root / str(name) / "manifest.json"
    whole = json.loads(path.read_text())
    away = {**whole["manifest"], "path": "../../secret"}
    for change in ({"version": 2}, {"method": "rot13"}, {"manifest": None}, {"manifest": away}, {"recipients": 3}):
        path.write_text(json.dumps({**whole, **change}))
        fresh = opened(root, sealing("age", tmp_path / "keys"), manifest=True)
        with pytest.raises(RefusedError):
            fresh.manifest(name)


def test_before_anything_is_written_the_keys_are_proven(tmp_path: Path, root: Path) -> None:
    public, _ = age_key(tmp_path)
    how = sealing("age", tmp_path / "keys")
    made(root, how)
    before = everything_in(root)
    mismatched = AgeSealing((public,), tmp_path / "keys" / "identity")
    with pytest.raises(WrongKeyError), opened(root, mismatched).begin(NOW):
        pass
    assert everything_in(root) == before
    assert not (root / ".partial").exists()
