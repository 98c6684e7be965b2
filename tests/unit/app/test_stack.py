"""The Python API on a small real stack: what a program that embeds Recoup gets."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import recoup
from recoup.errors import (
    ConfigError,
    ExitCode,
    LockedError,
    NoRepositoryError,
    NoSuchSetError,
    RefusedError,
    RestoreError,
    UsageError,
)
from recoup.model.events import Event, Progress
from recoup.system.clock import SystemClock

CONFIG = """
version: 1
stack: small
sources:
  chat: {kind: sqlite, path: data/chat.db}
  storage: {kind: files, path: data/storage}
  env: {kind: files, path: .env, optional: true}
repositories:
  local: {path: backups, keep: {last: 2}}
"""


class MovingClock(SystemClock):
    """The machine's clock, put forward by a test."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data/storage/deep").mkdir(parents=True)
    (tmp_path / "data/storage/deep/file").write_text("old")
    (tmp_path / "recoup.yaml").write_text(CONFIG)
    write_chat(tmp_path, "old")
    return tmp_path


@pytest.fixture
def opened(root: Path, clock: MovingClock) -> Callable[..., recoup.Stack]:
    def make(**arguments: object) -> recoup.Stack:
        return recoup.open(root / "recoup.yaml", environ={}, cwd=root, clock=clock, **arguments)

    make().create_repositories()
    return make


@pytest.fixture
def stack(opened: Callable[..., recoup.Stack]) -> recoup.Stack:
    return opened()


def write_chat(root: Path, text: str) -> None:
    database = sqlite3.connect(root / "data/chat.db")
    database.execute("create table if not exists messages (text)")
    database.execute("delete from messages")
    database.execute("insert into messages values (?)", (text,))
    database.commit()
    database.close()


def read_chat(path: Path) -> str:
    database = sqlite3.connect(path)
    [[text]] = database.execute("select text from messages")
    database.close()
    return str(text)


def harm(root: Path) -> None:
    write_chat(root, "new")
    (root / "data/storage/deep/file").write_text("new")


@pytest.mark.requirement("SR-15", "DM-14")
def test_a_stack_is_backed_up_proven_harmed_and_put_back(stack: recoup.Stack, root: Path) -> None:
    report = stack.backup(tags={"why": "test"}, note="before the harm")
    assert report.exit_code == ExitCode.OK
    assert report.manifest is not None
    assert report.manifest.sources["env"].outcome == "absent"
    assert stack.drill().passed
    assert not any(r.damage for r in stack.verify())
    harm(root)
    restored = stack.restore(text="latest", in_place=True)
    assert restored.exit_code == ExitCode.OK
    assert read_chat(root / "data/chat.db") == "old"
    assert (root / "data/storage/deep/file").read_text() == "old"
    kept = {source.source: Path(source.kept) for source in restored.sources}
    assert read_chat(kept["chat"]) == "new"
    assert (kept["storage"] / "deep/file").read_text() == "new"
    [info] = stack.sets(tags={"why": "test"})
    assert info.standing.proven is not None
    assert stack.sets(tags={"why": "other"}) == []


@pytest.mark.requirement("CI-7")
def test_plans_change_nothing(stack: recoup.Stack, root: Path) -> None:
    stack.backup()
    before = {p: p.lstat().st_mtime_ns for p in root.rglob("*")}
    stack.plan_backup()
    stack.plan_restore(in_place=True)
    stack.plan_restore()
    stack.plan_drill()
    stack.plan_prune()
    assert {p: p.lstat().st_mtime_ns for p in root.rglob("*")} == before


@pytest.mark.requirement("CI-7", "DM-14")
def test_a_restore_goes_into_a_new_folder_and_never_over_one(stack: recoup.Stack, root: Path) -> None:
    manifest = stack.backup().manifest
    assert manifest is not None
    assert stack.restore().exit_code == ExitCode.OK
    folder = root / f"restored_{manifest.name}"
    assert read_chat(folder / "chat/chat.db") == "old"
    (folder / "storage/deep/file").write_text("mine")
    with pytest.raises(RestoreError, match="is there already"):
        stack.restore()
    assert (folder / "storage/deep/file").read_text() == "mine"
    (folder / "storage/extra").write_text("extra")
    assert stack.restore(overwrite="never").exit_code == ExitCode.OK
    assert (folder / "storage/deep/file").read_text() == "mine"
    assert stack.restore(overwrite="always", delete=True).exit_code == ExitCode.OK
    assert (folder / "storage/deep/file").read_text() == "old"
    assert not (folder / "storage/extra").exists()


@pytest.mark.requirement("CI-6", "DM-14")
@pytest.mark.parametrize("in_place", [True, False])
def test_damaged_bytes_are_never_put_in_place(stack: recoup.Stack, root: Path, in_place: bool) -> None:
    manifest = stack.backup().manifest
    assert manifest is not None
    harm(root)
    for path in (root / "backups" / manifest.name).rglob("*"):
        if path.name in ("chat.db", "file"):
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
    report = stack.restore(in_place=in_place)
    assert report.exit_code == ExitCode.DAMAGED
    assert all(source.error for source in report.sources)
    assert read_chat(root / "data/chat.db") == "new"
    assert (root / "data/storage/deep/file").read_text() == "new"
    folder = root / f"restored_{manifest.name}"
    assert not folder.exists() or list(folder.iterdir()) == []
    drill = stack.drill()
    assert drill.exit_code == ExitCode.DAMAGED
    assert all(source.error for source in drill.sources)


@pytest.mark.requirement("DM-8")
def test_latest_means_for_each_source_the_newest_good_copy(stack: recoup.Stack, root: Path, clock: MovingClock) -> None:
    first = stack.backup().manifest
    clock.ahead += timedelta(hours=1)
    write_chat(root, "newer")
    second = stack.backup(sources=["chat"]).manifest
    assert first is not None
    assert second is not None
    plan = stack.plan_restore()
    assert {row.source: row.set for row in plan.rows} == {"chat": second.name, "storage": first.name}


@pytest.mark.requirement("DM-8", "DM-12")
def test_prune_runs_only_after_a_complete_backup(
    opened: Callable[..., recoup.Stack], root: Path, clock: MovingClock
) -> None:
    stack = opened()
    for _ in range(4):
        clock.ahead += timedelta(hours=1)
        stack.backup(prune=True)
    assert len(stack.sets()) == 2
    clock.ahead += timedelta(hours=1)
    (root / "data/chat.db").unlink()
    news: list[object] = []
    report = opened(emit=news.append).backup(prune=True)
    assert report.exit_code == ExitCode.INCOMPLETE
    assert len(stack.sets()) == 3
    assert any(isinstance(n, Event) and n.name == "prune_skipped" for n in news)


def test_the_newest_complete_and_pinned_sets_are_not_deleted_without_force(
    stack: recoup.Stack, clock: MovingClock
) -> None:
    names = []
    for _ in range(3):
        clock.ahead += timedelta(hours=1)
        report = stack.backup()
        assert report.manifest is not None
        names.append(report.manifest.name)
    stack.pin(names[0], "audit")
    for protected in (names[0], names[2], "latest", "oldest"):
        with pytest.raises(RefusedError):
            stack.delete(stack.plan_delete([protected]))
    assert stack.delete(stack.plan_delete([names[1]])) == (names[1],)
    assert [info.name for info in stack.sets()] == [names[0], names[2]]


@pytest.mark.requirement("CI-12")
def test_two_backups_of_one_stack_do_not_overlap(opened: Callable[..., recoup.Stack]) -> None:
    stack = opened()
    with stack.repository.lock("backup", "backup", "small"), pytest.raises(LockedError) as caught:
        opened().backup()
    assert caught.value.exit_code == 11


def test_a_repository_is_never_made_by_a_backup(root: Path) -> None:
    stack = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
    with pytest.raises(NoRepositoryError):
        stack.backup()
    assert not (root / "backups").exists()


def test_verifying_nothing_is_not_a_success(stack: recoup.Stack) -> None:
    with pytest.raises(NoSuchSetError):
        stack.verify()
    with pytest.raises(NoSuchSetError):
        stack.drill()


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.backup(sources=["nothing"]),
        lambda s: s.drill(sources=["nothing"]),
        lambda s: s.restore(sources=["nothing"]),
        lambda s: s.restore(targets={"nothing": "x"}),
        lambda s: s.restore(sources=["storage"], targets={"chat": "x"}),
        lambda s: s.restore(in_place=True, target="x"),
        lambda s: s.restore(delete=True),
        lambda s: s.restore(options={"storage": {"nonsense": "1"}}, in_place=True),
        lambda s: s.restore(sources=["env"]),
        lambda s: s.show("backup_19"),
    ],
)
def test_what_makes_no_sense_is_said_and_not_done(
    stack: recoup.Stack, root: Path, act: Callable[[recoup.Stack], object]
) -> None:
    stack.backup()
    before = sorted(root.rglob("*"))
    with pytest.raises(UsageError) as caught:
        act(stack)
    assert caught.value.message
    assert sorted(root.rglob("*")) == before


def test_a_repository_alone_can_be_read_and_restored(stack: recoup.Stack, root: Path, tmp_path: Path) -> None:
    stack.backup()
    away = tmp_path / "elsewhere"
    away.mkdir()
    lone = recoup.open(repository=str(root / "backups"), environ={"HOME": str(away)}, cwd=away)
    assert len(lone.sets()) == 1
    assert lone.drill().passed
    assert lone.restore().exit_code == ExitCode.OK
    assert lone.restore(targets={"chat": str(away / "new/chat.db")}).exit_code == ExitCode.OK
    assert read_chat(away / "new/chat.db") == "old"
    with pytest.raises(ConfigError):
        lone.backup()


def test_a_restore_of_a_damaged_set_leaves_no_folder_behind(stack: recoup.Stack, root: Path) -> None:
    manifest = stack.backup(sources=["storage"]).manifest
    assert manifest is not None
    stored = root / "backups" / manifest.name / "storage" / "deep" / "file"
    stored.chmod(0o600)
    stored.write_text("odd")
    assert stack.restore(sources=["storage"]).exit_code == ExitCode.DAMAGED
    assert not (root / f"restored_{manifest.name}").exists()


def test_progress_and_events_reach_the_callback(opened: Callable[..., recoup.Stack]) -> None:
    news: list[object] = []
    opened(emit=news.append).backup()
    assert any(isinstance(n, Progress) and n.finished for n in news)
    assert any(isinstance(n, Event) and n.name == "backup_created" for n in news)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
def test_a_full_disk_under_the_events_does_not_end_the_work_and_is_said_once(root: Path) -> None:
    (root / "full.yaml").write_text(f"{CONFIG}events: {{jsonl: /dev/full, log: logs/run.log}}\n")
    news: list[object] = []
    stack = recoup.open(root / "full.yaml", environ={}, cwd=root, emit=news.append)
    stack.create_repositories()
    assert stack.backup().exit_code == ExitCode.OK
    (lost,) = [n for n in news if isinstance(n, Event) and n.name == "events_lost"]
    assert "No space left" in lost.message
    assert "stored, complete" in (root / "logs/run.log").read_text()


def test_importing_recoup_costs_an_application_next_to_nothing() -> None:
    code = "import sys, recoup; print(sorted(m for m in sys.modules if m in {'pydantic','yaml','duckdb','numpy','rich','typer'}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in recoup.__all__:
        assert getattr(recoup, name) is not None
    with pytest.raises(AttributeError):
        recoup.nothing  # noqa: B018 - asking is the test


@pytest.mark.requirement("DM-12")
def test_a_source_that_no_set_holds_is_said_and_makes_a_restore_incomplete(stack: recoup.Stack, root: Path) -> None:
    (root / "data/chat.db").rename(root / "data/away.db")
    assert stack.backup().exit_code == ExitCode.INCOMPLETE
    report = stack.restore()
    assert report.lost == ("chat",)
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [source.source for source in report.sources] == ["storage"]


def test_a_verified_set_that_lacks_a_source_is_called_incomplete(stack: recoup.Stack, root: Path) -> None:
    stack.backup()
    (root / "data/chat.db").rename(root / "data/away.db")
    stack.backup()
    assert {report.outcome: report.damage for report in stack.verify()} == {"incomplete": (), "complete": ()}


@pytest.mark.requirement("DM-8")
def test_two_stacks_in_one_repository_do_not_mix_at_latest(stack: recoup.Stack, root: Path, clock: MovingClock) -> None:
    ours = stack.backup().manifest
    assert ours is not None
    clock.ahead += timedelta(hours=1)
    (root / "other.yaml").write_text(CONFIG.replace("stack: small", "stack: other"))
    other = recoup.open(root / "other.yaml", environ={}, cwd=root, clock=clock)
    other.backup()
    assert {row.set for row in stack.plan_restore().rows} == {ours.name}
    assert stack.show("latest").name == ours.name
    assert len(stack.sets()) == 2


@pytest.mark.requirement("DM-8")
def test_a_damaged_mark_might_be_a_pin_so_the_set_stays(stack: recoup.Stack, root: Path, clock: MovingClock) -> None:
    first = stack.backup().manifest
    assert first is not None
    stack.pin(first.name, "audit")
    [mark] = (root / "backups/marks" / first.name).glob("*.json")
    mark.write_bytes(mark.read_bytes()[:20])
    for _ in range(4):
        clock.ahead += timedelta(hours=1)
        stack.backup()
    stack.prune()
    assert first.name in [info.name for info in stack.sets()]


def test_a_sources_newest_good_copy_is_not_deleted_without_force(stack: recoup.Stack, clock: MovingClock) -> None:
    whole = stack.backup().manifest
    clock.ahead += timedelta(hours=1)
    stack.backup(sources=["chat"])
    assert whole is not None
    with pytest.raises(RefusedError, match=whole.name):
        stack.delete(stack.plan_delete([whole.name]))
