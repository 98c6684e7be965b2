"""What is in a set, listed and taken out piece by piece, from every layout."""

import functools
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recoup
from recoup.errors import DamagedError, ExitCode, RefusedError, RestoreError, UsageError, WrongKeyError
from recoup.model.manifest import decode
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.reading import Chunks
from sealing_keys import age_key
from unit.app.small_application import SOURCES, made

LAYOUTS = {
    "tree": "{path: kept}",
    "packed": "{path: kept, compression: zstd, pack: tar.zst}",
    "sealed": "{path: kept, encrypt: {age: {recipients: [PUBLIC], identity_file: identity}}, encrypt_manifest: true}",
    "keyed": "{path: kept, layout: keyed, key: '{database}/{date}.db'}",
    "dedup": "{path: kept, layout: dedup, key_file: secret}",
}
BLOB = os.urandom(1_200_000)
SMALL = b"segment " * 100

Opened = Callable[..., recoup.Stack]


def tar_of(files: dict[str, bytes], **settings: Any) -> bytes:
    """A tar with a folder, files, and links to the first of these."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **settings) as tar:
        folder = tarfile.TarInfo("segments")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
        for name, kind in {"same": tarfile.LNKTYPE, "way": tarfile.SYMTYPE}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, next(iter(files))
            tar.addfile(info)
    return out.getvalue()


INNER = tar_of({"./segments/a.bin": SMALL, "wal/0": BLOB[:1_000_001]}, format=tarfile.GNU_FORMAT)
SNAPSHOT = tar_of({"config.json": b"{}", "0/segments.tar": INNER, "big": BLOB, "0/last": b"end"})


def application(folder: Path, layout: str) -> Path:
    config = SOURCES.replace("repositories:", "  snap: {kind: files, path: data/shard.snapshot}\nrepositories:")
    public, _ = age_key(folder)
    made(folder, f"{config}  main: {LAYOUTS[layout].replace('PUBLIC', public)}\n")
    (folder / "secret").write_bytes(os.urandom(32))
    (folder / "secret").chmod(0o600)
    (folder / "data/shard.snapshot").write_bytes(SNAPSHOT)
    (folder / "data/uploads/deep").mkdir()
    (folder / "data/uploads/deep/backup.tar").write_bytes(SNAPSHOT)
    (folder / "data/uploads/deep/report").write_bytes(BLOB)
    os.link(folder / "data/uploads/deep/report", folder / "data/uploads/zz")
    stack = recoup.open(folder / "recoup.yaml", environ={"HOME": str(folder)}, cwd=folder)
    stack.create_repositories()
    assert stack.backup().exit_code == ExitCode.OK
    return folder


@pytest.fixture(scope="module")
def applications(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An application with one set for each layout, which nobody changes."""
    made = functools.cache(lambda layout: application(tmp_path_factory.mktemp(layout), layout))
    return made


@pytest.fixture(params=[name for name in LAYOUTS if name != "keyed"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(applications: Callable[[str], Path], layout: str) -> Path:
    return applications(layout)


@pytest.fixture
def opened(home: Path) -> Opened:
    return lambda: recoup.open(home / "recoup.yaml", environ={"HOME": str(home)}, cwd=home)


def listed(stack: recoup.Stack, path: str = "") -> dict[str, tuple[str, int]]:
    return {entry.path: (entry.kind, entry.bytes) for entry in stack.entries("latest", path)}


def read(stack: recoup.Stack, path: str, first: int = 0, last: int | None = None) -> bytes:
    return b"".join(stack.read("latest", path, first, last))


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_everything_is_listed_by_paths_that_lead_to_it(opened: Opened) -> None:
    stack = opened()
    parts = listed(stack)
    assert parts["snap/shard.snapshot"] == ("stream", len(SNAPSHOT))
    assert parts["uploads"][0] == "tree"
    assert set(parts) == {"chat/chat.db", "snap/shard.snapshot", "uploads"}
    uploads = listed(stack, "uploads")
    assert uploads["uploads/deep/report"] == ("file", len(BLOB))
    assert uploads["uploads/zz"] == ("hardlink", 0)
    assert set(listed(stack, "uploads/deep")) == {
        "uploads/deep",
        "uploads/deep/report",
        "uploads/deep/backup.tar",
    }
    inside = listed(stack, "snap/shard.snapshot")
    assert inside["snap/shard.snapshot"] == ("stream", len(SNAPSHOT))
    assert inside["snap/shard.snapshot/big"] == ("file", len(BLOB))
    assert inside["snap/shard.snapshot/way"] == ("symlink", 0)
    nested = {"segments", "segments/a.bin", "wal/0", "same", "way"}
    for archive in ("snap/shard.snapshot", "uploads/deep/backup.tar"):
        assert set(listed(stack, f"{archive}/0/segments.tar")) == {
            f"{archive}/0/segments.tar",
            *(f"{archive}/0/segments.tar/{name}" for name in nested),
        }
        assert listed(stack, f"{archive}/0/segments.tar/wal") == {
            f"{archive}/0/segments.tar/wal/0": ("file", 1_000_001)
        }


def test_any_file_is_read_whole_or_in_part(opened: Opened, home: Path) -> None:
    stack = opened()
    files = {
        "chat/chat.db": (home / "data/chat.db").read_bytes(),
        "snap/shard.snapshot": SNAPSHOT,
        "snap/shard.snapshot/big": BLOB,
        "snap/shard.snapshot/0/segments.tar": INNER,
        "snap/shard.snapshot/0/segments.tar/segments/a.bin": SMALL,
        "snap/shard.snapshot/0/segments.tar/wal/0": BLOB[:1_000_001],
        "uploads/deep/report": BLOB,
        "uploads/deep/backup.tar/0/segments.tar/wal/0": BLOB[:1_000_001],
    }
    for path, content in files.items():
        assert read(stack, path) == content, path
        middle = len(content) // 2
        assert read(stack, path, middle, middle + 99) == content[middle : middle + 100], path
        assert read(stack, path, len(content) - 5) == content[-5:], path
        assert read(stack, path, 0, len(content) * 2) == content, path


@pytest.mark.parametrize("layout", ["keyed"], indirect=True)
def test_a_keyed_repository_is_looked_into_by_the_same_paths(opened: Opened) -> None:
    assert listed(opened(), "snap/shard.snapshot/0/segments.tar/wal")
    assert read(opened(), "uploads/deep/report", 5, 9) == BLOB[5:10]


def test_what_is_no_file_or_not_there_is_told(opened: Opened) -> None:
    stack = opened()
    for path, message in {
        "nothing": "nothing",
        "snap/other": "there is no snap/other",
        "uploads/missing": "there is no uploads/missing",
        "uploads/../chat": "there is no",
        "snap/shard.snapshot/missing": "there is no snap/shard.snapshot/missing",
        "snap/shard.snapshot/0": "no file but a folder",
        "snap/shard.snapshot/segments": "no file but a folder",
        "snap/shard.snapshot/same": "a link to snap/shard.snapshot/config.json",
        "snap/shard.snapshot/way": "a link to config.json",
        "snap/shard.snapshot/config.json/x": "config.json is no archive",
        "chat/chat.db/x": "chat.db is no archive",
        "uploads/deep": "no file but a folder",
        "uploads": "no file but a folder",
        "uploads/zz": "a link to uploads/deep/report",
    }.items():
        with pytest.raises(UsageError, match=message):
            read(stack, path)
    with pytest.raises(UsageError, match=f"has {len(BLOB):,} bytes"):
        read(stack, "snap/shard.snapshot/big", len(BLOB))


def test_only_what_a_path_names_is_restored(opened: Opened, home: Path, tmp_path: Path) -> None:
    stack = opened()
    paths = [
        "snap/shard.snapshot/0/segments.tar/wal/0",
        "uploads/deep/report",
        "chat",
        "snap/shard.snapshot/config.json",
    ]
    report = stack.restore(paths=paths, target=str(tmp_path / "out"))
    assert report.exit_code == ExitCode.OK
    assert {name for name in below(tmp_path / "out") if (tmp_path / "out" / name).is_file()} == {
        "chat/chat.db",
        "snap/shard.snapshot/0/segments.tar/wal/0",
        "snap/shard.snapshot/config.json",
        "uploads/deep/report",
    }
    assert (tmp_path / "out/snap/shard.snapshot/0/segments.tar/wal/0").read_bytes() == BLOB[:1_000_001]
    assert (tmp_path / "out/uploads/deep/report").read_bytes() == BLOB
    assert not list((home / "kept/marks").rglob("*.json"))


def test_a_folder_is_restored_with_all_below_it(opened: Opened, tmp_path: Path) -> None:
    opened().restore(paths=["/uploads/deep/"], target=str(tmp_path / "out"))
    opened().restore(paths=["snap/shard.snapshot/0/segments.tar"], target=str(tmp_path / "two"))
    assert below(tmp_path / "out/uploads") == {"deep", "deep/report", "deep/backup.tar"}
    assert (tmp_path / "two/snap/shard.snapshot/0/segments.tar").read_bytes() == INNER
    opened().restore(paths=["snap/shard.snapshot/0/segments.tar/segments"], target=str(tmp_path / "three"))
    assert (tmp_path / "three/snap/shard.snapshot/0/segments.tar/segments/a.bin").read_bytes() == SMALL


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["snap/shard.snapshot/missing"], "there is no snap/shard.snapshot/missing"),
        (["uploads/zz"], "a hard link to uploads/deep/report"),
        (["uploads/deep/report", "uploads/missing"], "there is no uploads/missing"),
    ],
)
def test_what_cannot_be_restored_leaves_nothing(opened: Opened, tmp_path: Path, paths: list[str], message: str) -> None:
    report = opened().restore(paths=paths, target=str(tmp_path / "out"))
    assert report.exit_code != ExitCode.OK
    assert message in report.sources[0].error
    assert not (tmp_path / "out").exists()


def test_the_plan_says_what_is_not_yet_known(opened: Opened) -> None:
    whole, part = opened().plan_restore(paths=["chat", "uploads/deep/report"], target="out").rows
    assert (whole.source, whole.at_most, whole.steps) == ("chat", False, ())
    assert (part.at_most, part.steps) == (True, ("only deep/report",))
    assert part.bytes > len(BLOB)


def test_paths_do_not_go_with_what_they_contradict(opened: Opened, tmp_path: Path) -> None:
    stack = opened()
    for settings in ({"sources": ["chat"]}, {"in_place": True}, {"targets": {"chat": "x"}}):
        with pytest.raises(UsageError, match="--path restores files alone"):
            stack.plan_restore(paths=["chat"], **settings)
    with pytest.raises(UsageError, match="there is no chat/other"):
        stack.plan_restore(paths=["chat/other"])
    (tmp_path / "out/chat").mkdir(parents=True)
    (tmp_path / "out/chat/mine").write_text("mine")
    with pytest.raises(RestoreError, match="is there already"):
        stack.plan_restore(paths=["chat"], target=str(tmp_path / "out"))


@pytest.mark.parametrize("layout", ["tree", "packed", "sealed"], indirect=True)
def test_a_range_of_a_damaged_stream_is_not_passed_off_as_good(home: Path, tmp_path: Path) -> None:
    root = shutil.copytree(home, tmp_path / "app")
    [stored] = (root / "kept").glob("backup_*/snap/shard.snapshot*")
    data = bytearray(stored.read_bytes())
    data[-2000] ^= 1
    stored.write_bytes(data)
    stack = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
    for path in ("snap/shard.snapshot", "snap/shard.snapshot/config.json"):
        with pytest.raises(DamagedError):
            read(stack, path, 0, 1)


@pytest.mark.parametrize("layout", ["dedup"], indirect=True)
def test_of_a_dedup_repository_only_what_is_wanted_is_read(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    stored = Chunks.stored

    def counted(chunks: Chunks, pack: PackRef, offset: int, length: int) -> bytes:
        asked.append(length)
        return stored(chunks, pack, offset, length)

    monkeypatch.setattr(Chunks, "stored", counted)
    assert read(opened(), "snap/shard.snapshot/0/last") == b"end"
    assert 0 < sum(asked) < len(SNAPSHOT)
    assert read(opened(), "uploads/deep/report", 10, 20) == BLOB[10:21]


def test_a_manifest_is_given_out_as_it_is_stored_and_decrypted_where_it_is_encrypted(
    opened: Opened, home: Path, layout: str
) -> None:
    found = opened().manifest_file("latest")
    stored = (home / "kept" / found.set / "manifest.json").read_bytes()
    assert found.as_stored == (layout in ("tree", "packed"))
    assert (found.data == stored) == found.as_stored
    assert decode(found.data, "manifest.json") == opened().show("latest").manifest


def test_a_manifest_that_is_damaged_is_not_given_out(applications: Callable[[str], Path], tmp_path: Path) -> None:
    home = shutil.copytree(applications("tree"), tmp_path / "home", symlinks=True)
    stack = recoup.open(home / "recoup.yaml", environ={"HOME": str(home)}, cwd=home)
    path = home / "kept" / stack.show().name / "manifest.json"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RefusedError):
        stack.manifest_file(path.parent.name)


@pytest.fixture
def own(applications: Callable[[str], Path], tmp_path: Path) -> Path:
    """An application that a test may change."""
    return shutil.copytree(applications("tree"), tmp_path / "own")


def test_what_was_learned_of_a_set_is_told_the_newest_first(own: Path) -> None:
    stack = recoup.open(own / "recoup.yaml", cwd=own)
    assert stack.marks(stack.show()) == ()
    stack.pin("latest", "before the move")
    stack.note("latest", "looked at")
    newest, pinned = stack.marks(stack.show())
    assert (newest.kind, newest.fields["text"]) == ("note", "looked at")
    assert (pinned.kind, pinned.fields["reason"]) == ("pin", "before the move")


def test_the_trash_is_listed_and_a_repository_that_is_away_is_told(own: Path) -> None:
    config = (own / "recoup.yaml").read_text().replace("{path: kept}", "{path: kept, trash_days: 3}")
    (own / "recoup.yaml").write_text(config)
    stack = recoup.open(own / "recoup.yaml", cwd=own)
    assert stack.trashed() == {"main": ()}
    (name,) = stack.delete(stack.plan_delete(["latest"]), force=True)
    assert stack.trashed() == {"main": (name,)}
    assert stack.unread == ()
    (own / "recoup.yaml").write_text(f"{config}  away: {{path: not-there}}\n")
    beside = recoup.open(own / "recoup.yaml", cwd=own)
    assert beside.trashed() == {"main": (name,)}
    assert "the trash of away cannot be read" in beside.unread[0]


def test_a_manifest_is_read_whole_or_not_at_all(applications: Callable[[str], Path], tmp_path: Path) -> None:
    home = shutil.copytree(applications("sealed"), tmp_path / "sealed")
    stack = recoup.open(home / "recoup.yaml", cwd=home)
    assert stack.manifest("oldest").name == stack.show().name
    (home / "identity").write_text((age_key(tmp_path)[1]).read_text())
    with pytest.raises(WrongKeyError):
        recoup.open(home / "recoup.yaml", cwd=home).manifest()
