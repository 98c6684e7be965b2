import os
import stat
from pathlib import Path

import pytest

from recoup.errors import UnsafePathError
from recoup.storage._base import Storage
from recoup.storage.local import LocalStorage
from recoup.testing.storage_contract import StorageContract


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "root")


@pytest.mark.requirement("SR-14")
def test_files_are_0600_and_folders_0700_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        storage = LocalStorage(tmp_path / "root")
        storage.put("a/b/small", b"x")
        writer = storage.writer("c/large")
        writer.write(b"y")
        writer.commit()
        staged = tmp_path / "staged"
        staged.write_bytes(b"z")
        staged.chmod(0o666)
        assert storage.adopt("d/adopted", staged, move=True)
    finally:
        os.umask(before)
    for path in (tmp_path / "root").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.requirement("DM-10")
def test_nothing_is_written_or_read_through_a_link_inside_the_root(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    storage = LocalStorage(root)
    for act in (
        lambda: storage.put("link/new", b""),
        lambda: storage.writer("link/new"),
        lambda: storage.get("link/secret"),
        lambda: storage.delete("link/secret"),
    ):
        with pytest.raises(UnsafePathError):
            act()
    with pytest.raises(OSError, match="symbolic"):
        storage.get("file")
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]


def test_a_listing_shows_links_and_does_not_follow_them(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.make_link("folder/link", "../../etc")
    assert [(o.key, o.link) for o in storage.list()] == [("folder/link", "../../etc")]


@pytest.mark.parametrize(("prefix", "one_call"), [("packs/ab/one.pack", True), ("packs/ab", False)])
def test_what_is_made_durable_is_synced_with_every_folder_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, one_call: bool
) -> None:
    storage, synced, fsync = LocalStorage(tmp_path / "r"), set[int](), os.fsync

    def note(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    if not one_call:
        monkeypatch.setattr("recoup.storage.local.sync_filesystem", lambda _folder: False)
    writer = storage.writer("packs/ab/one.pack", hidden=True)
    writer.write(b"content")
    writer.commit()
    monkeypatch.setattr(os, "fsync", note)
    storage.sync(prefix)
    durable = [tmp_path / "r" / name for name in ("packs/ab/one.pack", "packs/ab", "packs", "")]
    assert {path.stat().st_ino for path in durable} <= synced
