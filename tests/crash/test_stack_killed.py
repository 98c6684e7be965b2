"""Whole runs of a small stack killed at file operations: the next run finds what was there, or what was to be, and tidies up."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.killing import kill_points
from recoup.app import Stack, open_stack

CONFIG = """
version: 1
stack: small
sources:
  chat: {kind: sqlite, path: data/chat.db}
  storage: {kind: files, path: data/storage}
repositories:
  local: {path: backups, keep: {last: 2}}
"""


def make_stack(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    (root / "data/storage/one").mkdir(parents=True)
    (root / "recoup.yaml").write_text(CONFIG)
    write_state(root, "old")
    opened(root).create_repositories()


def write_state(root: Path, text: str) -> None:
    (root / "data/storage/one/file").write_text(text)
    database = sqlite3.connect(root / "data/chat.db")
    database.execute("create table if not exists messages (text)")
    database.execute("delete from messages")
    database.execute("insert into messages values (?)", (text,))
    database.commit()
    database.close()


def read_state(root: Path) -> tuple[str, str]:
    database = sqlite3.connect(root / "data/chat.db")
    [[text]] = database.execute("select text from messages")
    database.close()
    return (root / "data/storage/one/file").read_text(), text


def opened(root: Path) -> Stack:
    return open_stack([root / "recoup.yaml"], environ={}, cwd=root)


def leftovers(root: Path) -> list[str]:
    repository = root / "backups"
    hidden = [p for f in (".partial", ".trash", ".locks", ".tmp", ".staging") for p in (repository / f).rglob("*")]
    beside = [p for p in (root / "data").rglob("*") if "restor" in p.name and ".before-restore-" not in p.name]
    return [str(p.relative_to(root)) for p in (*hidden, *beside)]


def intact_sets(root: Path) -> list[str]:
    stack = opened(root)
    infos = stack.sets()
    assert all(info.manifest and info.manifest.outcome == "complete" for info in infos)
    assert not infos or all(not report.damage for report in stack.verify())
    return [info.name for info in infos]


@pytest.mark.requirement("DM-12")
@pytest.mark.slow
def test_a_backup_of_a_stack_killed_anywhere_leaves_no_false_set(tmp_path: Path) -> None:
    root = tmp_path / "stack"

    def prepare() -> Callable[[], object]:
        make_stack(root)
        return lambda: opened(root).backup()

    for _ in kill_points(prepare, step=3):
        names = intact_sets(root)
        report = opened(root).backup()
        assert report.exit_code == 0
        assert len(intact_sets(root)) == len(names) + 1
        assert leftovers(root) == []


@pytest.mark.requirement("DM-8", "DM-12")
@pytest.mark.slow
def test_a_prune_killed_anywhere_loses_no_set_that_is_kept_and_is_finished_later(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    template = tmp_path / "template"
    make_stack(template)
    for _ in range(4):
        opened(template).backup()
    names = intact_sets(template)

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)
        return lambda: opened(root).prune()

    for _ in kill_points(prepare, step=2):
        assert intact_sets(root)[-2:] == names[-2:]
        opened(root).prune()
        assert intact_sets(root) == names[-2:]
        assert leftovers(root) == []


@pytest.mark.requirement("DM-14", "DM-12")
@pytest.mark.slow
def test_a_restore_in_place_killed_anywhere_leaves_each_store_old_or_new(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    template = tmp_path / "template"
    make_stack(template)
    opened(template).backup()
    write_state(template, "new")

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)
        return lambda: opened(root).restore(text="latest", in_place=True)

    for _ in kill_points(prepare, step=4):
        assert opened(root).restore(text="latest", in_place=True).exit_code == 0
        assert read_state(root) == ("old", "old")
        assert leftovers(root) == []
        kept = list((root / "data").glob("*.before-restore-*"))
        assert kept
