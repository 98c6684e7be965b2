"""Sets taken out as plain repositories: what arrives, what is never written over, what is left of an export that fails."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

import recoup
from recoup.errors import DamagedError, NoSpaceError, RefusedError, UsageError
from recoup.model.events import Event
from recoup.system.host import holder_token
from sealing_keys import age_key
from unit.app.small_application import SOURCES, Opened, made, opening

CONFIG = SOURCES + "  packed: {path: packed, compression: zstd, pack: tar.zst, keep: {last: 9}}\n"
LATER = SOURCES + "  far: {path: far, pack: tree}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    return made(folder, CONFIG)


@pytest.fixture
def news() -> list[Any]:
    return []


@pytest.fixture
def opened(root: Path, news: list[Any]) -> Opened:
    make = opening(root, news)
    make().create_repositories()
    make().backup(note="the first")
    return make


@pytest.mark.parametrize("layout", ["dedup", "sealed"])
def test_of_an_encrypted_set_an_open_one_comes_out_and_the_plan_says_so(
    root: Path, tmp_path: Path, layout: str
) -> None:
    public, identity = age_key(root)
    places = {
        "dedup": f"{{path: kept, layout: dedup, recipients: [{public}], identity_file: {identity}}}",
        "sealed": f"{{path: kept, encrypt: {{age: {{recipients: [{public}], identity_file: {identity}}}}}}}",
    }
    (root / "recoup.yaml").write_text(f"{SOURCES}  main: {places[layout]}\n")
    stack = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
    stack.create_repositories()
    stack.backup()
    plan = stack.plan_export("latest", str(tmp_path / "out"))
    assert plan.was_sealed
    stack.export(plan)
    exported = contents(tmp_path / "out")
    assert exported["uploads/note"] == (root / "data/uploads/note").read_bytes()
    [info] = recoup.open(environ={}, cwd=tmp_path, repository=str(tmp_path / "out")).sets()
    [given] = stack.sets()
    assert info.manifest is not None
    assert given.manifest is not None
    assert info.manifest.sealing is None
    assert info.manifest.id == given.manifest.id
    assert info.manifest.sources["chat"].parts[0].content_sha256


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, bytes]:
    """The files of the only set in a plain repository."""
    [found] = folder.glob("backup_*")
    return {name: (found / name).read_bytes() for name in below(found) if "manifest" not in name and "SUMS" not in name}


def test_a_folder_becomes_a_repository_from_which_the_set_restores(opened: Opened, root: Path, tmp_path: Path) -> None:
    opened().pin("latest", "audit")
    report = opened().export(to=str(tmp_path / "out" / "set"))
    out = tmp_path / "out" / "set"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"set"}
    exported = contents(out)
    assert exported["chat/chat.db"] == (root / "data/chat.db").read_bytes()
    assert exported["uploads/note"] == (root / "data/uploads/note").read_bytes()
    taken = opened(str(out))
    [info] = taken.sets()
    assert (info.name, info.standing.pinned, info.manifest and info.manifest.note) == (report.set, True, "the first")
    assert [one.damage for one in taken.verify()] == [()]
    done = recoup.open(environ={}, cwd=tmp_path, repository=str(out)).restore(target=str(tmp_path / "back"))
    assert done.exit_code == 0
    assert (tmp_path / "back/uploads/note").read_bytes() == (root / "data/uploads/note").read_bytes()


def test_an_empty_folder_is_taken_and_a_repository_gets_a_second_set(opened: Opened, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first = opened().export(to=str(out))
    opened().backup()
    second = opened().export(to=str(out))
    assert [info.name for info in opened(str(out)).sets()] == [first.exported_as, second.exported_as]
    with pytest.raises(RefusedError, match="already"):
        opened().export(to=str(out))


def test_a_folder_with_something_else_in_it_stays_as_it_is(opened: Opened, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter").write_text("mine")
    with pytest.raises(RefusedError, match="neither empty nor a plain repository"):
        opened().export(to=str(out))
    assert below(out) == {"letter"}


@pytest.mark.parametrize("where", ["file", "output"])
def test_a_tar_holds_the_same_repository(opened: Opened, root: Path, tmp_path: Path, where: str) -> None:
    output = io.BytesIO()
    to = "-" if where == "output" else str(tmp_path / "set.tar")
    opened().export(to=to, output=output)
    if where == "file":
        assert {path.name for path in tmp_path.iterdir()} == {"app", "set.tar"}
        assert (tmp_path / "set.tar").stat().st_mode & 0o777 == 0o600
        output = io.BytesIO((tmp_path / "set.tar").read_bytes())
    output.seek(0)
    with tarfile.open(fileobj=output, mode="r:") as tar:
        assert {info.uname for info in tar} == {""}
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert [one.damage for one in opened(str(tmp_path / "unpacked")).verify()] == [()]
    assert contents(tmp_path / "unpacked")["chat/chat.db"] == (root / "data/chat.db").read_bytes()


def test_a_tar_that_is_there_is_not_written_over(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_text("mine")
    with pytest.raises(RefusedError, match="there already"):
        opened().plan_export("latest", str(tmp_path / "set.tar"))
    assert (tmp_path / "set.tar").read_text() == "mine"


def test_a_tar_that_appears_meanwhile_is_not_written_over(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = opened().plan_export("latest", str(tmp_path / "set.tar"))
    (tmp_path / "set.tar").write_text("mine")
    with pytest.raises(RefusedError, match="there already"):
        opened().export(plan)
    assert (tmp_path / "set.tar").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"app", "set.tar"}


def test_a_compressed_archive_is_not_promised(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not compressed"):
        opened().plan_export("latest", str(tmp_path / "set.tar.gz"))


@pytest.mark.parametrize("to", ["out", "out.tar", "-"])
def test_of_a_damaged_set_nothing_is_left(opened: Opened, root: Path, tmp_path: Path, to: str) -> None:
    [stored] = (root / "packed").glob("backup_*/uploads/*.tar.zst")
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    output = io.BytesIO()
    with pytest.raises(DamagedError, match="nothing was exported"):
        opened().export(to=to if to == "-" else str(tmp_path / to), output=output)
    assert output.getvalue() == b""
    assert {path.name for path in tmp_path.iterdir()} == {"app"}


def test_where_another_repository_has_a_copy_the_error_says_so(root: Path, tmp_path: Path) -> None:
    (root / "recoup.yaml").write_text(LATER.replace("far: {path: far", "near: {path: near}\n  far: {path: far"))
    stack = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
    stack.create_repositories()
    stack.backup()
    [stored] = (root / "near").glob("backup_*/uploads/note")
    stored.write_text("other")
    with pytest.raises(DamagedError) as caught:
        stack.export(to=str(tmp_path / "out"))
    assert caught.value.hint == "There is another copy: -r far."


@pytest.mark.parametrize("to", ["out", "out.tar"])
def test_an_interrupted_export_leaves_nothing(
    opened: Opened, tmp_path: Path, news: list[Any], to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link" if to == "out.tar" else "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        opened().export(to=str(tmp_path / to))
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"app"}
    assert not [one for one in news if isinstance(one, Event) and one.name == "set_exported"]


def test_what_a_killed_export_left_is_removed_by_the_next_one(opened: Opened, tmp_path: Path) -> None:
    host, boot, _, _, last = holder_token().split("-")
    dead = tmp_path / f".out.exporting-{host}-{boot}-4194305-1-{last}"  # a number that no process gets
    dead.mkdir()
    opened().export(to=str(tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"app", "out"}


def test_too_little_room_is_told_before_anything_is_written(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recoup.storage.local.LocalStorage.free_bytes", lambda _: 10)
    with pytest.raises(NoSpaceError):
        opened().export(to=str(tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"app"}
