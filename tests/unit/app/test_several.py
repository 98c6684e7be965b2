"""A stack with two repositories: each cut in both, and what happens when one of them is damaged or gone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recoup.errors import ExitCode, NoRepositoryError, RecoupError, UsageError
from recoup.model.events import Event
from unit.app.small_application import SOURCES, Opened, made, opening

CONFIG = (
    SOURCES
    + """\
  near: {path: near, keep: {last: 1}}
  far: {path: far, compression: zstd, pack: tar.zst, keep: {last: 3}}
"""
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made(tmp_path, CONFIG)


@pytest.fixture
def news() -> list[Any]:
    return []


@pytest.fixture
def opened(root: Path, news: list[Any]) -> Opened:
    make = opening(root, news)
    make().create_repositories()
    return make


def told(news: list[Any], name: str) -> list[Event]:
    return [event for event in news if isinstance(event, Event) and event.name == name]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def the_set(folder: Path) -> Path:
    [found] = folder.glob("backup_*")
    return found


def test_without_a_choice_all_repositories_get_the_set_and_each_its_own_retention(opened: Opened) -> None:
    for _ in range(3):
        report = opened().backup(prune=True)
        assert report.exit_code == ExitCode.OK
    assert [len(opened(name).sets()) for name in ("near", "far")] == [1, 3]
    assert [len(copy.pruned) for copy in report.repositories] == [1, 0]
    assert {info.manifest.id for info in opened().sets() if info.manifest} >= {report.manifest and report.manifest.id}


@pytest.mark.parametrize("to", [["far"], ["all"], ["near", "far"]])
def test_only_the_repositories_named_get_the_set(opened: Opened, to: list[str]) -> None:
    report = opened().backup(to=to)
    assert [copy.repository for copy in report.repositories] == (["near", "far"] if to == ["all"] else to)
    assert len(opened("near").sets()) == (to != ["far"])


def test_a_repository_chosen_and_another_named_contradict_each_other(opened: Opened) -> None:
    with pytest.raises(UsageError):
        opened("near").backup(to=["far"])
    with pytest.raises(UsageError):
        opened().backup(to=["elsewhere"])


def test_the_plan_has_a_line_for_each_repository_and_a_missing_one_is_named(opened: Opened, root: Path) -> None:
    shutil.rmtree(root / "near")
    plan = opened().plan_backup()
    assert [bool(target.problem) for target in plan.targets] == [True, False]
    assert plan.free_bytes == plan.targets[1].free_bytes
    report = opened().backup()
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [copy.code for copy in report.failed] == [ExitCode.NO_REPOSITORY]
    assert not (root / "near").exists()
    shutil.rmtree(root / "far")
    with pytest.raises(NoRepositoryError):
        opened().backup()


def test_a_prune_that_fails_in_one_repository_is_told_and_the_other_is_pruned(
    opened: Opened, news: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recoup.app.PRUNE_WAIT", 0.1)
    opened().backup()
    with opened("far").repository.lock("shared", "restore", "small"):
        report = opened().backup(prune=True)
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [bool(copy.prune_error) for copy in report.repositories] == [False, True]
    assert len(opened("near").sets()) == 1
    assert [event.fields["repository"] for event in told(news, "prune_failed")] == ["far"]


def test_copies_of_one_cut_are_listed_each_and_status_has_a_row_for_each(opened: Opened) -> None:
    opened().backup()
    assert [info.repository for info in opened().sets()] == ["near", "far"]
    report = opened().status()
    assert [(row.source, row.repository) for row in report.rows] == [
        ("chat", "near"),
        ("uploads", "near"),
        ("chat", "far"),
        ("uploads", "far"),
    ]
    assert report.exit_code == ExitCode.OK


def test_a_repository_that_is_gone_is_named_by_list_and_status(opened: Opened, root: Path) -> None:
    opened().backup()
    shutil.rmtree(root / "near")
    stack = opened()
    assert [info.repository for info in stack.sets()] == ["far"]
    assert "near" in stack.unread[0]
    report = stack.status()
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [row.repository for row in report.rows if row.problem] == ["near", "near"]
    shutil.rmtree(root / "far")
    with pytest.raises(NoRepositoryError):
        opened().sets()


def test_the_nearest_copy_is_restored(opened: Opened, root: Path) -> None:
    opened().backup()
    shutil.move(root / "far", root / "hidden")  # nobody asks for it
    (root / "hidden").rename(root / "far")
    report = opened().restore(target="back")
    assert report.exit_code == ExitCode.OK
    assert {source.repository for source in report.sources} == {"near"}
    assert all(source.fell_back == () for source in report.sources)


@pytest.mark.parametrize("in_place", [False, True], ids=["files", "in place"])
@pytest.mark.parametrize("victim", ["chat/chat.db", "uploads/note", "uploads.members.jsonl"])
def test_a_damaged_copy_is_taken_back_and_the_other_repositorys_restored(
    opened: Opened, root: Path, news: list[Any], victim: str, in_place: bool
) -> None:
    opened().backup()
    flip(the_set(root / "near") / victim)
    (root / "data/uploads/note").write_text("changed")
    source, other = ("chat", "uploads") if victim.startswith("chat") else ("uploads", "chat")
    report = opened().restore(in_place=True) if in_place else opened().restore(target="back")
    assert report.exit_code == ExitCode.OK
    by_name = {one.source: one for one in report.sources}
    assert (by_name[source].repository, by_name[other].repository) == ("far", "near")
    assert len(by_name[source].fell_back) == 1
    [event] = told(news, "restore_fell_back")
    assert source in event.message
    assert "far" in event.message
    assert told(news, "restore_failed") == []
    place = root / "data/uploads" if in_place else root / "back/uploads"
    assert (place / "note").read_text() == "note " * 100
    chat = root / "data/chat.db" if in_place else root / "back/chat/chat.db"
    assert chat.read_text() == "hello " * 20
    assert not list(root.rglob("*.restoring-*"))


def test_when_every_copy_is_damaged_nothing_is_restored(opened: Opened, root: Path, news: list[Any]) -> None:
    opened().backup()
    flip(the_set(root / "near") / "chat/chat.db")
    flip(the_set(root / "far") / "chat/chat.db.zst")
    report = opened().restore(sources=["chat"], target="back")
    assert report.exit_code == ExitCode.DAMAGED
    assert report.sources[0].error
    assert len(told(news, "restore_failed")) == 1
    assert not (root / "back").exists()


def test_a_newer_cut_that_only_one_repository_has_is_taken_from_there(opened: Opened) -> None:
    opened().backup()
    newer = opened("far").backup()
    report = opened().restore(target="back")
    assert newer.manifest is not None
    assert report.set == newer.manifest.name
    assert {source.repository for source in report.sources} == {"far"}


def test_a_repository_that_is_gone_does_not_stop_a_restore_and_is_told(
    opened: Opened, root: Path, news: list[Any]
) -> None:
    opened().backup()
    shutil.rmtree(root / "near")
    plan = opened().plan_restore(target="back")
    assert "near" in plan.notes[0]
    assert opened().restore(plan).exit_code == ExitCode.OK
    assert "near" in told(news, "restore_fell_back")[0].message


def test_an_unreadable_manifest_sends_to_the_other_copy(opened: Opened, root: Path) -> None:
    opened().backup()
    (the_set(root / "near") / "manifest.json").write_text("{")
    for text in ("latest", the_set(root / "near").name):
        assert opened().show(text).repository == "far"
        assert opened().restore(text=text, target=f"back {text}").exit_code == ExitCode.OK


def test_a_drill_of_a_damaged_copy_fails_and_drills_the_other(opened: Opened, root: Path, news: list[Any]) -> None:
    opened().backup()
    flip(the_set(root / "near") / "chat/chat.db")
    report = opened().drill()
    assert report.passed
    assert report.repository == "far"
    assert [earlier.repository for earlier in report.earlier] == ["near"]
    assert report.exit_code == ExitCode.DAMAGED
    assert len(told(news, "drill_fell_back")) == 1
    [near, far] = opened().sets()
    assert near.standing.failed_proof is not None
    assert far.standing.proven is not None


def test_a_drill_of_whole_copies_takes_the_nearest(opened: Opened) -> None:
    opened().backup()
    report = opened().drill()
    assert (report.repository, report.exit_code, report.earlier) == ("near", ExitCode.OK, ())
    whole = opened().drill_recovery()
    assert whole.exit_code == ExitCode.OK
    assert [one.repository for one in whole.drills] == ["near"]


def test_verify_looks_at_every_copy(opened: Opened, root: Path) -> None:
    opened().backup()
    flip(the_set(root / "far") / "chat/chat.db.zst")
    reports = opened().verify()
    assert {report.repository: len(report.damage) for report in reports} == {"near": 0, "far": 1}
    [name] = {info.name for info in opened().sets()}
    assert {report.repository for report in opened().verify(name)} == {"near", "far"}
    shutil.rmtree(root / "far")
    reports = opened().verify()
    assert [bool(report.damage) for report in reports] == [True, False]


def test_a_copy_goes_where_a_backup_could_not(opened: Opened, root: Path) -> None:
    opened().backup(to=["near"])
    stack = opened("near")
    assert [row.there for row in stack.plan_copy("far").rows] == [""]
    report = stack.copy(to="far")
    assert report.exit_code == ExitCode.OK
    assert opened().copy(origin="near", to="far").sets[0].there
    flip(the_set(root / "near") / "chat/chat.db")
    assert opened().restore(sources=["chat"], target="back").sources[0].repository == "far"
    with pytest.raises(UsageError):
        opened("near").plan_copy("near")


def test_verbs_that_change_one_repository_ask_which(opened: Opened) -> None:
    opened().backup()
    for verb in (
        lambda: opened().plan_prune(),
        lambda: opened().plan_delete(["latest"]),
        lambda: opened().pin("latest"),
    ):
        with pytest.raises(UsageError, match="several repositories"):
            verb()


def test_a_set_that_lies_under_another_name_elsewhere_is_the_same_cut(opened: Opened, root: Path) -> None:
    opened().backup(to=["near"])
    [set_here] = (root / "near").glob("backup_*")
    (root / "far" / set_here.name).mkdir()
    (root / "far" / set_here.name / "manifest.json").write_text("{}")
    opened().copy(origin="near", to="far")
    assert json.loads((root / "far" / f"{set_here.name}_2" / "manifest.json").read_text())["name"].endswith("_2")
    flip(set_here / "chat/chat.db")
    report = opened().restore(sources=["chat"], target="back")
    assert report.sources[0].repository == "far"
    assert report.exit_code == ExitCode.OK


def test_a_copy_that_cannot_be_locked_is_passed_over(opened: Opened) -> None:
    opened().backup()
    with opened("near").repository.lock("exclusive", "prune", "small"):
        report = opened().restore(target="back")
        with pytest.raises(RecoupError):
            opened("near").restore(target="again")
    assert {source.repository for source in report.sources} == {"far"}
    assert report.exit_code == ExitCode.OK
