"""Encrypted backups killed at sampled file operations: then no false set, nothing plain anywhere, nothing left over."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from crash.killing import kill_points
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, StreamPart, TreePart
from recoup.repository._base import Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.sealing._base import Sealing
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store, stream_bytes
from sealing_keys import sealing

SECRET = b"the planted secret 7d1f " * 500
LARGE = SECRET * 800  # more than an archive's member may hold in memory


def add_secret_set(repository: PlainRepository, hours: int) -> SetName:
    attributes = Attributes(0o600, 0)
    members = [Member("large", "file", attributes, len(LARGE), content=Given(LARGE))]
    with (
        repository.lock("backup", "backup", "stack"),
        repository.begin(NOW + timedelta(hours=hours)) as writer,
    ):
        stream = store(writer, "db", StreamPart("main.db", Given(SECRET), None))
        tree = store(writer, "tree", TreePart(".", iter(members)))
        writer.commit(manifest_of(writer.name, {"db": record_of(stream), "tree": record_of(tree)}))
        return writer.name


@pytest.mark.requirement("SR-13", "DM-12")
@pytest.mark.parametrize(("way", "manifest", "step"), [("age", True, 3), ("gpg-passphrase", False, 9)])
def test_an_encrypted_backup_killed_anywhere_leaves_no_false_set_and_nothing_plain(
    tmp_path: Path, way: str, manifest: bool, step: int
) -> None:
    root, spool = tmp_path / "repository", tmp_path / "spool"
    spool.mkdir()

    def opened(how: Sealing) -> PlainRepository:
        storage, clock = LocalStorage(root), SystemClock()
        return open_repository("r", storage, "tar", "none", None, clock, how, seal_manifest=manifest, spool=spool)

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(how)
        repository.create()
        add_secret_set(repository, 0)
        return lambda: add_secret_set(opened(how), 1)

    how = sealing(way, tmp_path / "keys")
    kills = 0
    for _ in kill_points(prepare, step=step):
        kills += 1
        assert list(spool.iterdir()) == []
        for path in root.rglob("*"):
            assert not path.is_file() or SECRET[:24] not in path.read_bytes(), path
        repository = opened(how)
        for name in repository.names():
            assert list(repository.verify(name, Subset())) == []
            part = repository.manifest(name).sources["db"].parts[0]
            assert stream_bytes(repository.fetch(name, "db", part)) == SECRET
        assert repository.names()[0] == SetName.at(NOW)
    assert kills > 3
