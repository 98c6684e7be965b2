"""The Python API for applications with an event loop, on a small real stack."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

import recoup
from recoup.errors import ConfigError, InterruptedRunError, LockedError, NoSuchSetError, RecoupError, UsageError
from recoup.model.events import Event, Progress

CONFIG = """
version: 1
stack: small
sources:
  chat: {kind: sqlite, path: data/chat.db}
  storage: {kind: files, path: data/storage}
repositories:
  local: {path: backups, keep: {last: 2}}
"""
LARGE = 300_000_000
"""Bytes of a file: enough that its backup takes a while."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data/storage").mkdir(parents=True)
    (tmp_path / "data/storage/note").write_text("old")
    (tmp_path / "recoup.yaml").write_text(CONFIG)
    with closing(sqlite3.connect(tmp_path / "data/chat.db")) as database, database:
        database.execute("create table messages (text)")
        database.executemany("insert into messages values (?)", [("hello",), ("world",)])
    opened(tmp_path).create_repositories()
    return tmp_path


def opened(root: Path) -> recoup.Stack:
    return recoup.open(root / "recoup.yaml", cwd=root)


def on(root: Path, act: Callable[[recoup.AsyncStack], Awaitable[object]], **arguments: object) -> object:
    """Runs something with a stack to its end."""

    async def main() -> object:
        async with recoup.aopen(root / "recoup.yaml", cwd=root, **arguments) as stack:  # type: ignore[arg-type]
            return await act(stack)

    return asyncio.run(main())


@pytest.mark.requirement("CO-4")
def test_every_verb_answers_what_the_plain_one_answers(root: Path) -> None:
    async def act(stack: recoup.AsyncStack) -> None:
        assert stack.about.sources == ("chat", "storage")
        assert stack.about.repositories == ("local",)
        plan = await stack.plan_backup()
        assert [row.source for row in plan.rows] == ["chat", "storage"]
        made = await stack.backup(tags={"why": "test"}, note="by an event loop")
        assert made.manifest is not None
        assert made.exit_code == 0
        name = made.manifest.name
        assert (await stack.show(name)).manifest == made.manifest == opened(root).show().manifest
        assert await stack.sets(tags={"why": "test"}) == opened(root).sets()
        assert await stack.sets(tags={"why": "other"}) == []
        drilled = await stack.drill()
        assert drilled.passed
        assert [report.damage for report in await stack.verify()] == [()]
        assert (await stack.drill_recovery()).passed
        assert (await stack.status()).exit_code == 0
        told, here = (await stack.doctor()).findings, opened(root).doctor().findings
        assert [
            (f.subject, f.message.partition(";")[0]) for f in told
        ] == [  # behind it stands how much room there is now
            (f.subject, f.message.partition(";")[0]) for f in here
        ]
        assert await stack.pin(name, "look") == await stack.unpin(name) == await stack.note(name, "n") == name
        assert (await stack.prune()).kept == (name,)
        assert await stack.recover() == []
        assert await stack.create_repositories() == {}
        assert await stack.present("chat")

    on(root, act)


@pytest.mark.requirement("CO-4")
def test_a_restore_is_planned_and_done(root: Path) -> None:
    opened(root).backup()
    (root / "data/storage/note").write_text("new")

    async def act(stack: recoup.AsyncStack) -> None:
        (row,) = await stack.plan_restore("latest", ["storage"], in_place=True)
        assert row.source == "storage"
        assert (root / "data/storage/note").read_text() == "new"
        report = await stack.restore("latest", ["storage"], in_place=True)
        assert report.exit_code == 0

    on(root, act)
    assert (root / "data/storage/note").read_text() == "old"


def test_sets_are_stored_twice_copied_and_repaired(root: Path) -> None:
    (root / "recoup.yaml").write_text(f"{CONFIG}  second: {{path: second}}\n")

    async def act(stack: recoup.AsyncStack) -> str:
        assert list(await stack.create_repositories()) == ["second"]
        both = await stack.backup(to=["local", "second"])
        assert [copy.error for copy in both.repositories] == ["", ""]
        assert [target.repository for target in (await stack.plan_backup(to=["second"])).targets] == ["second"]
        assert both.manifest is not None
        return both.manifest.name

    name = str(on(root, act))
    (root / "backups" / name / "storage/note").write_text("harmed")

    async def mend(stack: recoup.AsyncStack) -> None:
        copied = await stack.copy(to="second", sets=[name])
        assert [one.there for one in copied.sets] == [True]
        [report] = await stack.repair(helper="second", sets=[name])
        assert (report.repaired, report.left) == (("storage/note",), ())

    on(root, mend, repository="local")
    assert (root / "backups" / name / "storage/note").read_text() == "old"


def test_sets_are_compared_measured_and_taken_out(root: Path, tmp_path: Path) -> None:
    async def act(stack: recoup.AsyncStack) -> None:
        await stack.backup()
        report = await stack.backup()
        assert report.manifest is not None
        changes = await stack.diff("oldest", report.manifest.name)
        assert {part.change for part in changes.parts} == {"same"}
        [sums] = await stack.stats()
        assert sums.sets[-1].set == report.manifest.name
        exported = await stack.export(set=report.manifest.name, to=str(tmp_path / "out"))
        assert (tmp_path / "out" / exported.exported_as / "storage/note").read_text() == "old"
        done = await stack.restore(paths=["storage/note"], target=str(tmp_path / "look"))
        assert done.exit_code == 0

    on(root, act)
    assert (tmp_path / "look/storage/note").read_text() == "old"


def test_news_come_to_a_coroutine_function_in_their_order(root: Path) -> None:
    heard: list[recoup.Event | recoup.Progress] = []

    async def hear(news: recoup.Event | recoup.Progress) -> None:
        await asyncio.sleep(0)
        heard.append(news)

    on(root, lambda stack: stack.backup(), emit=hear)
    assert [news.name for news in heard if isinstance(news, Event)] == ["backup_created"]
    assert {news.work for news in heard if isinstance(news, Progress) and news.finished} >= {"backup chat"}
    assert isinstance(heard[-1], Event)


def test_a_listener_that_fails_ends_the_call(root: Path) -> None:
    def hear(news: recoup.Event | recoup.Progress) -> None:
        raise ZeroDivisionError(str(news))

    with pytest.raises(ZeroDivisionError):
        on(root, lambda stack: stack.backup(), emit=hear)


def test_errors_are_those_of_the_plain_verbs(root: Path) -> None:
    with pytest.raises(NoSuchSetError) as told:
        on(root, lambda stack: stack.show("latest"))
    with pytest.raises(NoSuchSetError) as plain:
        opened(root).show("latest")
    assert (told.value.message, told.value.hint) == (plain.value.message, plain.value.hint)
    with pytest.raises(UsageError, match="no source other"):
        on(root, lambda stack: stack.backup(sources=["other"]))
    with opened(root).repository.lock("exclusive", "prune", "small", 0.0), pytest.raises(LockedError):
        on(root, lambda stack: stack.backup())


def test_a_wrong_configuration_is_told_at_the_door(tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: s\nsources: {a: {kind: none}}\n")
    with pytest.raises(ConfigError, match="none"):
        on(tmp_path, lambda stack: stack.sets())


def test_the_environment_of_the_caller_reaches_the_configuration_and_no_command_line(root: Path) -> None:
    (root / "recoup.yaml").write_text(CONFIG.replace("data/storage", '"${PLACE}"'))
    seen: list[str] = []

    async def act(stack: recoup.AsyncStack) -> object:
        running = asyncio.create_task(stack.backup())
        while not running.done():
            seen.extend(command_lines())
            await asyncio.sleep(0.01)
        return await running

    report = on(root, act, environ={"PLACE": "data/storage", "UNUSED": "a-secret-of-the-caller"})
    assert isinstance(report, recoup.BackupReport)
    assert report.exit_code == 0
    assert any("recoup.system.child" in line for line in seen)
    assert not any("a-secret-of-the-caller" in line for line in seen)


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def children_of(parent: int) -> list[int]:
    """Those that work for an asynchronous stack: the process of the tests has servers as well."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            rest = path.read_text().rpartition(")")[2]
            serves = b"recoup.system.child" in (path.parent / "cmdline").read_bytes()
            if serves and int(rest.split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


async def until_reading(work: "asyncio.Task[recoup.BackupReport]", heard: asyncio.Event) -> None:
    waiting = asyncio.create_task(heard.wait())
    await asyncio.wait({waiting, work}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert not work.done()


def large(root: Path) -> None:
    with (root / "data/storage/large").open("wb") as file:
        for _ in range(LARGE // 1_000_000):
            file.write(b"x" * 1_000_000)


@pytest.mark.requirement("CO-2")
def test_a_cancelled_backup_ends_its_child_and_leaves_nothing_listed(root: Path) -> None:
    large(root)
    heard = asyncio.Event()

    def hear(news: recoup.Event | recoup.Progress) -> None:
        if isinstance(news, Progress) and news.work == "backup storage":
            heard.set()

    async def act(stack: recoup.AsyncStack) -> None:
        work = asyncio.create_task(stack.backup())
        await until_reading(work, heard)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert children_of(os.getpid()) == []
        assert await stack.sets() == []
        (root / "data/storage/large").unlink()
        assert (await stack.backup()).exit_code == 0, "no lock is left"

    on(root, act, emit=hear)
    left = [path.name for path in (root / "backups").iterdir() if ".partial" in path.name and any(path.iterdir())]
    assert left == []


def test_leaving_the_block_ends_what_still_runs(root: Path) -> None:
    large(root)
    heard = asyncio.Event()

    async def main() -> None:
        async with recoup.aopen(root / "recoup.yaml", cwd=root, emit=lambda _news: heard.set()) as stack:
            work = asyncio.create_task(stack.backup())
            await until_reading(work, heard)
        with pytest.raises(InterruptedRunError, match="closed"):
            await work
        with pytest.raises(RecoupError, match="closed"):
            await stack.sets()

    asyncio.run(main())
    assert opened(root).sets() == []


def test_a_child_that_died_while_nobody_asked_is_replaced(root: Path) -> None:
    async def act(stack: recoup.AsyncStack) -> None:
        for _ in range(2):
            assert await stack.sets() == []
            [child] = children_of(os.getpid())
            os.kill(child, signal.SIGKILL)

    on(root, act)
    assert children_of(os.getpid()) == []


def test_calls_run_side_by_side(root: Path) -> None:
    async def act(stack: recoup.AsyncStack) -> None:
        made, listed, present = await asyncio.gather(stack.backup(), stack.sets(), stack.present("chat"))
        assert (made.exit_code, present) == (0, True)
        assert len(listed) in (0, 1)

    on(root, act)


def test_an_application_that_is_killed_takes_its_child_with_it(root: Path) -> None:
    large(root)
    application = subprocess.Popen(
        [sys.executable, "-c", APPLICATION], cwd=root, stdout=subprocess.PIPE, env={**os.environ, "MARK": str(root)}
    )
    assert application.stdout is not None
    assert application.stdout.readline() == b"reading\n"
    [child] = [pid for pid in marked(root) if pid != application.pid]
    application.kill()
    application.communicate()
    while child in marked(root):  # its clean-up takes a moment
        time.sleep(0.05)
    assert opened(root).sets() == []
    (root / "data/storage/large").unlink()
    assert opened(root).backup().exit_code == 0, "no lock is left"


APPLICATION = """
import asyncio, recoup
from recoup.model.events import Progress

def hear(news):
    if isinstance(news, Progress) and news.work == "backup storage":
        print("reading", flush=True)

async def main():
    async with recoup.aopen("recoup.yaml", emit=hear) as stack:
        await stack.backup()

asyncio.run(main())
"""


def marked(root: Path) -> list[int]:
    """The processes that the killed application is, or has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"MARK={root}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
