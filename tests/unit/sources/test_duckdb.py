"""DuckDB files: copies of living ones are exact, damaged and hostile ones are refused, and nobody's lock is touched."""

import contextlib
import dataclasses
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recoup import errors
from recoup.model.events import News, Progress
from recoup.model.facts import Facts
from recoup.model.part import Part, StreamPart
from recoup.sources import _duckdb_blocks as blocks
from recoup.sources._base import Site, Source
from recoup.sources._staged import StagedFile
from recoup.sources.duckdb import Options, RestoreOptions, capture_duckdb, connect
from recoup.system import mounts
from recoup.system.clock import SystemClock
from unit.sources import duckdb_writer as writer

NEWEST = ""


def source_at(path: Path, **settings: object) -> Source:
    staging = path.parent / "staging"
    staging.mkdir(exist_ok=True)
    return connect(Options.model_validate({"kind": "duckdb", "path": path, **settings}), site_at(path.parent))


def site_at(base: Path) -> Site:
    return Site("cache", base, base / "staging", SystemClock())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database at rest: rows in the file, rows in the log, free blocks, an index, a view."""
    path = tmp_path / "cache.duckdb"
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute(f"ATTACH '{path}' AS work (BLOCK_SIZE 16384)")
        connection.execute("USE work")
        connection.execute("CREATE TABLE docs (id BIGINT PRIMARY KEY, text VARCHAR, score DOUBLE)")
        connection.execute("INSERT INTO docs SELECT range, md5(range::VARCHAR), range / 7 FROM range(40000)")
        connection.execute("CREATE TABLE old AS SELECT range AS id, uuid() AS u FROM range(40000)")
        connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE old")
        connection.execute("CREATE VIEW titles AS SELECT text FROM docs")
        connection.execute("CHECKPOINT")
    leave_log(path, "INSERT INTO docs VALUES (-1, 'in the log', 1)")
    return path


def leave_log(path: Path, *statements: str) -> None:
    """Commits statements and dies, so that they stay in the log."""
    code = "import sys, os, duckdb; c = duckdb.connect(sys.argv[1]); [c.execute(s) for s in sys.argv[2:]]; os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(path), *statements], check=True)


def facts_of(source: Source) -> Facts:
    with source.capture() as capture:
        return capture.facts()


def captured_file(capture: object) -> Path:
    part = next(iter(capture.parts()))  # type: ignore[attr-defined]
    assert isinstance(part.content, StagedFile)
    return part.content.local_path


# --- a living file -----------------------------------------------------------------------------------------------------


class Busy:
    """A busy application and the means to judge a copy of its database."""

    def __init__(
        self,
        folder: Path,
        version: str,
        *,
        rows: int,
        block_size: int,
        pause: float,
        seed: int,
        style: str,
        ballast: int = 0,
    ) -> None:
        self.path, self._acknowledged, self.rows = folder / "busy.duckdb", folder / "acknowledged", rows
        size, work = [str(rows), str(ballast), str(block_size)], ["0.2", str(pause), str(seed), style]
        self._process = subprocess.Popen(
            [*interpreter(version), writer.__file__, self.path, self._acknowledged, *size, *work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"

    def acknowledged(self) -> int:
        return int.from_bytes(self._acknowledged.read_bytes(), "little")

    def end(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0, "the application must not have noticed us"

    def judge(self, copy: Path, before: int, after: int) -> int:
        """Raises when the copy is not exactly one state between two acknowledged ones; returns which."""
        with contextlib.closing(duckdb.connect(copy, read_only=True)) as connection:
            (n,) = connection.execute("SELECT n FROM progress").fetchone() or (-1,)
            assert before <= n <= after + 1
            balances = dict.fromkeys(range(writer.ACCOUNTS), writer.BALANCE)
            for done in range(1, n + 1):
                source, target, amount = writer.transfer(done)
                balances[source] -= amount
                balances[target] += amount
            assert dict(connection.execute("SELECT id, balance FROM accounts").fetchall()) == balances
            items = [(i, f"{i}-" * (i % 50)) for i in range(max(1, n - writer.ITEMS + 1), n + 1)]
            assert connection.execute("SELECT n, payload FROM items ORDER BY n").fetchall() == items
            stale = connection.execute(
                f"SELECT count(*) FROM bulk JOIN stamps ON bulk.id // {writer.GROUP} = stamps.grp "
                f"WHERE bulk.id % {writer.GROUP} < {writer.STAMPED} AND u <> md5(id || '-' || n)::UUID"
            ).fetchone()
            assert stale == (0,)
            total = connection.execute("SELECT count(*), sum(id), count(u) FROM bulk").fetchone()
            assert total == (self.rows, self.rows * (self.rows - 1) // 2, self.rows)
        return int(n)


def interpreter(version: str) -> list[str]:
    """Python with a version of DuckDB of its own, or with ours."""
    if version == NEWEST:
        return [sys.executable]
    uv = os.environ.get("UV", "uv")
    return [
        uv,
        "run",
        "--isolated",
        "--no-project",
        "--python",
        sys.executable,
        "--with",
        f"duckdb=={version}",
        "python",
    ]


def captures_of(busy: Busy, count: int, rate: float, at_once: int = 1) -> list[str]:
    """Captures so many times, judges what says that it succeeded, and returns why the others failed."""
    source = source_at(busy.path, max_rate=rate)

    def attempt(_: int) -> list[str]:
        before = busy.acknowledged()
        try:
            with source.capture() as capture:
                busy.judge(captured_file(capture), before, busy.acknowledged())
        except errors.SourceError as error:
            return [error.message]
        return []

    with ThreadPoolExecutor(at_once) as pool:
        return [reason for reasons in pool.map(attempt, range(count)) for reason in reasons]


@pytest.mark.slow
def test_fifty_slowed_captures_of_a_busy_database_succeed_and_are_exact(tmp_path: Path) -> None:
    failures = []
    # what a capture meets depends on how long it takes: most are of fewer bytes, at a rate that is as much lower
    for count, size, rate in ((8, 200e6, 500e6), (42, 60e6, 150e6)):
        (tmp_path / f"{size}").mkdir()
        bulk = {"rows": 500_000, "ballast": int(size - 15e6), "block_size": 262_144}
        busy = Busy(tmp_path / f"{size}", NEWEST, **bulk, pause=0.01, seed=1, style="between")
        assert busy.path.stat().st_size > 0.95 * size
        failures += captures_of(busy, count, rate=rate, at_once=2)
        busy.end()
    assert len(failures) <= 1, failures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "block_size", "style"),
    [
        ("1.1.3", 262_144, "between"),
        ("1.1.3", 16_384, "between"),
        (NEWEST, 16_384, "between"),
        (NEWEST, 16_384, "beside"),
    ],
)
def test_captures_are_exact_for_each_version_and_block_size(
    tmp_path: Path, version: str, block_size: int, style: str
) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    chance = random.Random(seed)
    busy = Busy(
        tmp_path,
        version,
        rows=350_000,
        block_size=block_size,
        pause=chance.choice([0, 0.001, 0.01]),
        seed=seed,
        style=style,
    )
    failures = captures_of(busy, 6, rate=chance.uniform(10e6, 100e6))
    busy.end()
    assert not failures, f"seed {seed}"


def test_a_capture_of_a_busy_database_is_exactly_one_of_its_states(tmp_path: Path) -> None:
    busy = Busy(tmp_path, NEWEST, rows=200_000, block_size=16_384, pause=0.002, seed=3, style="between")
    failures = captures_of(busy, 2, rate=20e6)
    busy.end()
    assert not failures


def test_an_application_can_close_and_open_its_database_while_we_capture(database: Path) -> None:
    code = (
        "import sys, duckdb\n"
        "for n in range(int(sys.argv[2])):\n"
        "    c = duckdb.connect(sys.argv[1]); c.execute('INSERT INTO docs VALUES (?, ?, 0)', [-2 - n, 'again']); c.close()\n"
    )
    application = subprocess.Popen([sys.executable, "-c", code, str(database), "20"])
    rows = []
    while application.poll() is None:
        rows.append(facts_of(source_at(database)).values["table main.docs"]["rows"])
    assert application.returncode == 0, "it met a lock"
    rows.append(facts_of(source_at(database)).values["table main.docs"]["rows"])
    assert rows == sorted(rows, key=lambda count: int(count or 0))
    assert rows[-1] == 40_021


def test_a_process_that_has_the_database_open_keeps_its_lock_when_it_captures_it(database: Path) -> None:
    # Closing any descriptor of a file drops all POSIX locks that the process has on it: hence captures run in children.
    code = "import sys, duckdb; duckdb.connect(sys.argv[1])"
    with contextlib.closing(duckdb.connect(database)) as connection:
        connection.execute("INSERT INTO docs VALUES (-2, 'ours', 2)")
        source = source_at(database)
        source.check()
        assert facts_of(source).values["table main.docs"]["rows"] == 40_002
        capture_duckdb(connection, database.with_name("copy.duckdb"))
        intruder = subprocess.run([sys.executable, "-c", code, str(database)], capture_output=True, check=False)
        assert intruder.returncode != 0
        assert b"lock" in intruder.stderr


def test_our_own_process_never_opens_the_live_file(database: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from recoup.sources.duckdb import *; from recoup.system.clock import *\n"
        "base = Path(sys.argv[1]); opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "source = connect(Options(kind='duckdb', path='cache.duckdb'), Site('c', base, base / 'staging', SystemClock()))\n"
        "source.check(); source.present(); source.estimate(); source.existing()\n"
        "with source.capture() as capture:\n"
        "    parts = list(capture.parts()); capture.facts()\n"
        "assert not [name for name in opened if 'cache.duckdb' in name], opened\n"
        "parts[0].content.local_path.parent.parent.joinpath('x').open('w').close(); assert any('x' in n for n in opened)\n"
    )
    (database.parent / "staging").mkdir()
    subprocess.run([sys.executable, "-c", code, str(database.parent)], check=True)


# --- a file at rest ------------------------------------------------------------------------------------------------------


def test_a_capture_holds_what_is_in_the_log_and_leaves_nothing_behind(database: Path) -> None:
    source = source_at(database)
    with source.capture() as capture:
        names = [part.name for part in capture.parts()]
        assert names == ["cache.duckdb", "cache.duckdb.wal"]
        assert capture.facts().values["table main.docs"]["rows"] == 40_001
        assert capture.frozen.is_moment
        assert capture.engine == f"DuckDB v{duckdb.__version__}"
        for path in (database.parent / "staging").rglob("*"):
            assert path.stat().st_mode & 0o077 == 0
    assert not list((database.parent / "staging").iterdir())
    assert database.with_name("cache.duckdb.wal").exists()


def test_a_log_with_a_torn_end_loses_only_what_was_never_whole(database: Path) -> None:
    leave_log(database, "INSERT INTO docs VALUES (-2, 'torn', 2)")
    log = database.with_name("cache.duckdb.wal")
    os.truncate(log, log.stat().st_size - 5)
    assert facts_of(source_at(database)).values["table main.docs"]["rows"] == 40_001


def test_a_log_that_is_damaged_in_the_middle_fails_the_capture(database: Path) -> None:
    leave_log(database, *(f"INSERT INTO docs VALUES ({-n}, 'entry', 2)" for n in range(2, 40)))
    log = database.with_name("cache.duckdb.wal")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)
    with pytest.raises(errors.SourceError, match="could not be read whole"):
        facts_of(source_at(database))


def header_of(path: Path) -> blocks.Header:
    return blocks.parse_header(path.read_bytes()[:12_288])


def free_blocks(path: Path, folder: Path) -> set[int]:
    header = header_of(path)
    folder.mkdir()
    follower = blocks._Follower(path, folder, 0)
    with follower:
        while [*follower.run_pass()][-1]["step"] != "still":
            pass
        return set(follower._free_blocks(header))


def test_every_damaged_block_that_is_needed_is_found(database: Path, tmp_path: Path) -> None:
    header, free = header_of(database), free_blocks(database, tmp_path / "probe")
    assert free, "the file is to have free blocks too"
    pristine = database.read_bytes()
    for block in range(header.block_count):
        data = bytearray(pristine)
        data[12_288 + block * header.block_size + 1000] ^= 0x40
        database.write_bytes(data)
        (tmp_path / f"copy{block}").mkdir()
        step = last_step(database, tmp_path / f"copy{block}")
        assert step["step"] == ("still" if block in free else "unfit"), block
        assert block in free or f"block {block})" in step["message"]
    with pytest.raises(errors.SourceError, match="do not fit their checksums"):
        data = bytearray(pristine)
        used = min(set(range(header.block_count)) - free)
        data[12_288 + used * header.block_size + 1000] ^= 0x40
        database.write_bytes(data)
        facts_of(source_at(database))


def last_step(path: Path, folder: Path) -> blocks.Step:
    """How following a file of this test's own ends (no child: nobody has it open)."""
    steps = blocks.follow(str(path), str(folder), 0)
    step = next(steps, None) or {}
    for step in steps:
        if step["step"] in ("still", "unfit"):
            break
    steps.close()
    return step


def test_a_block_that_changes_under_an_equal_checksum_is_followed(database: Path, tmp_path: Path) -> None:
    header = header_of(database)
    folder = tmp_path / "copy"
    folder.mkdir()
    with blocks._Follower(database, folder, 0) as follower, database.open("r+b") as file:
        assert [*follower.run_pass()][-1][
            "step"
        ] == "moving"  # the first pass copies, and a second has to find it equal
        offset = 12_288 + 2 * header.block_size
        file.seek(offset)
        words = list(struct.unpack(f"<{header.block_size // 8}Q", file.read(header.block_size)))
        low = next(n for n in range(1, len(words) - 1) if words[n] != words[n + 1])
        words[low], words[low + 1] = words[low + 1], words[low]
        rewritten = struct.pack(f"<{len(words)}Q", *words)
        assert blocks.sound(rewritten), "two words that change places leave the checksum as it is"
        file.seek(offset)
        file.write(rewritten)
        file.flush()
        with database.with_name("cache.duckdb.wal").open("ab") as log:
            log.write(b"commit")  # whoever writes blocks that count writes the log or the header too
        for _ in range(5):
            if [*follower.run_pass()][-1]["step"] == "still":
                break
        else:
            pytest.fail("it never stood still")
        assert (folder / blocks.COPY).read_bytes() == database.read_bytes()


def test_a_file_that_is_replaced_by_a_rename_is_copied_anew(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    other = tmp_path / "other.duckdb"
    with contextlib.closing(duckdb.connect(other)) as connection:
        connection.execute("CREATE TABLE other AS SELECT range AS id FROM range(10)")
    with blocks._Follower(database, folder, 0) as follower:
        assert [*follower.run_pass()][-1]["step"] == "moving"
        database.with_name("cache.duckdb.wal").unlink()
        other.replace(database)
        steps = [[*follower.run_pass()][-1]["step"] for _ in range(3)]
        assert "still" in steps
    assert (folder / blocks.COPY).read_bytes() == database.read_bytes()
    assert not (folder / f"{blocks.COPY}.wal").exists()


def test_a_file_that_is_cut_shorter_is_followed(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.duckdb", tmp_path / "copy"
    folder.mkdir()
    with contextlib.closing(duckdb.connect(path)) as connection:
        connection.execute("CREATE TABLE a AS SELECT range AS id, uuid() AS u FROM range(300000)")
        connection.execute("CHECKPOINT")
        long = path.stat().st_size
        with blocks._Follower(path, folder, 0) as follower:
            assert [*follower.run_pass()][-1]["step"] == "moving"
            connection.execute("DROP TABLE a")
            connection.execute("CREATE TABLE b AS SELECT 1 AS id")
            for n in range(6):  # the blocks at the end have to become free, then the metadata there has to move
                connection.execute("INSERT INTO b VALUES (?)", [n])
                connection.execute("CHECKPOINT")
            assert path.stat().st_size < long
            steps = [[*follower.run_pass()][-1]["step"] for _ in range(4)]
            assert "still" in steps
        assert (folder / blocks.COPY).stat().st_size == path.stat().st_size


def test_commits_made_during_a_checkpoint_are_captured_too(tmp_path: Path) -> None:
    # Since 1.5 they go to a second log, `.wal.checkpoint`, until the checkpoint is done.
    path = tmp_path / "a.duckdb"
    with contextlib.closing(duckdb.connect(path)) as connection, contextlib.closing(connection.cursor()) as other:
        connection.execute("CREATE TABLE a AS SELECT range AS id FROM range(1000)")
        connection.execute("CREATE TABLE b (id INT)")
        connection.execute("CHECKPOINT")
        connection.execute("SET wal_autocheckpoint = '1KB'")
        connection.execute("SET debug_checkpoint_scan_sleep_ms = 4000")
        other.execute("BEGIN")
        other.execute("INSERT INTO a SELECT range FROM range(2000)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO b VALUES (1)")
        checkpoint = threading.Thread(target=lambda: other.execute("COMMIT"))
        checkpoint.start()
        time.sleep(0.2)
        connection.execute("COMMIT")
        connection.execute("INSERT INTO b VALUES (2)")
        with source_at(path).capture() as capture:
            parts = list(capture.parts())
            assert path.with_name("a.duckdb.wal.checkpoint").exists(), "the checkpoint is still under way"
            assert [part.name for part in parts] == ["a.duckdb", "a.duckdb.wal", "a.duckdb.wal.checkpoint"]
            assert capture.facts().values["table main.a"]["rows"] == 3000
            assert capture.facts().values["table main.b"]["rows"] == 2
            twin = source_at(tmp_path / "twin.duckdb")
            twin.restore(parts, RestoreOptions())
            assert twin.facts() == capture.facts()
        connection.execute("SET debug_checkpoint_scan_sleep_ms = 0")
        checkpoint.join()


def test_a_database_that_never_stands_still_fails_clearly(database: Path) -> None:
    code = (
        "import sys, itertools\n"
        "with open(sys.argv[1], 'r+b', buffering=0) as log:\n"
        "    end = log.seek(0, 2)\n"
        "    for n in itertools.count(): log.seek(end); log.write(n.to_bytes(8, 'little'))\n"
    )
    os.truncate(database, database.stat().st_size + 30_000 * 16_384)  # free space makes a pass take its time
    application = subprocess.Popen([sys.executable, "-c", code, str(database.with_name("cache.duckdb.wal"))])
    try:
        with pytest.raises(errors.SourceError, match="did not stand still") as caught:
            facts_of(source_at(database, patience=0))
    finally:
        application.kill()
        application.wait()
    assert "capture_duckdb" in caught.value.hint


def test_a_database_at_rest_needs_no_patience(database: Path) -> None:
    assert facts_of(source_at(database, patience=0)).values["table main.docs"]["rows"] == 40_001


# --- what cannot be captured -----------------------------------------------------------------------------------------------


def test_what_is_missing_or_no_database_is_said_clearly(tmp_path: Path) -> None:
    missing = source_at(tmp_path / "missing.duckdb")
    assert not missing.present()
    with pytest.raises(errors.SourceError, match="does not exist"):
        missing.check()
    (tmp_path / "text.duckdb").write_text("no database " * 2000)
    with pytest.raises(errors.SourceError, match="not a DuckDB database"):
        source_at(tmp_path / "text.duckdb").check()
    (tmp_path / "short.duckdb").write_bytes(b"")
    with pytest.raises(errors.SourceError, match="too short"):
        source_at(tmp_path / "short.duckdb").check()
    with pytest.raises(errors.SourceError, match="not a file"):
        source_at(tmp_path / "staging").check()
    (tmp_path / "a?b.duckdb").write_bytes(b"")
    with pytest.raises(errors.SourceError, match="question mark"):
        source_at(tmp_path / "a?b.duckdb").check()


def test_who_is_told_how_far_a_capture_is_is_told_its_end_too(database: Path) -> None:
    told = list[News]()
    (database.parent / "staging").mkdir()
    site = dataclasses.replace(site_at(database.parent), emit=told.append)
    facts_of(connect(Options(kind="duckdb", path=database, max_rate=4e6), site))
    ends = [one.finished for one in told if isinstance(one, Progress)]
    assert len(ends) > 1
    assert ends[-1] and not any(ends[:-1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_staging_folder_is_named_and_not_the_database(database: Path, tmp_path: Path) -> None:
    staging = tmp_path / "small"
    staging.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(staging)], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        site = dataclasses.replace(site_at(database.parent), staging=staging)
        source = connect(Options(kind="duckdb", path=database), site)
        with pytest.raises(errors.SourceError, match=f"disk of the staging folder {staging} is full") as caught:
            facts_of(source)
        assert "staging:" in caught.value.hint
        assert not list(staging.iterdir())
    finally:
        subprocess.run(["umount", str(staging)], check=True)


@pytest.mark.started
@pytest.mark.skipif(sys.platform != "linux", reason="finds the reader by /proc")
def test_a_reader_that_was_killed_is_not_taken_for_damage(database: Path) -> None:
    killer = threading.Thread(target=kill_child, args=(b"duckdb_reading:scan",))
    killer.start()
    with pytest.raises(errors.SourceError, match="could not be read whole") as caught:
        facts_of(source_at(database))
    killer.join()
    assert "want of memory" in caught.value.hint
    assert "damaged" not in caught.value.hint


def kill_child(named: bytes) -> None:
    """Kills the first child of ours with this in its command line, as the system does when memory runs out."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
            with contextlib.suppress(OSError):
                ours = f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text()
                if ours and named in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    return


def test_an_encrypted_database_is_refused(database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[20] |= 1  # the flag that DuckDB sets in an encrypted file's main header
    database.write_bytes(data)
    with pytest.raises(errors.SourceError, match="encrypted") as caught:
        facts_of(source_at(database))
    assert "capture_duckdb" in caught.value.hint


def test_a_database_on_a_network_file_system_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = mounts.filesystem_type(database)
    assert kind
    source_at(database).check()
    monkeypatch.setattr(mounts, "NETWORK", frozenset({kind}))
    with pytest.raises(errors.SourceError, match="network file system") as caught:
        facts_of(source_at(database))
    assert "capture_duckdb" in caught.value.hint


def test_a_log_that_is_a_link_is_not_followed(database: Path, tmp_path: Path) -> None:
    log = database.with_name("cache.duckdb.wal")
    log.rename(tmp_path / "elsewhere")
    log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.SourceError):
        facts_of(source_at(database))


def test_a_database_without_tables_is_a_failure_unless_allowed(tmp_path: Path) -> None:
    with contextlib.closing(duckdb.connect(tmp_path / "empty.duckdb")) as connection:
        connection.execute("CREATE SCHEMA nothing")
    with pytest.raises(errors.EmptySourceError):
        facts_of(source_at(tmp_path / "empty.duckdb"))
    assert facts_of(source_at(tmp_path / "empty.duckdb", allow_empty=True)).values["database"]["tables"] == 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_hostile_bytes_are_copied_or_refused_but_never_crash_the_copier(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    pristine = hostile_seed()
    kind = data.draw(st.sampled_from(["random", "flipped", "cut", "forged"]))
    if kind == "random":
        content = data.draw(st.binary(max_size=20_000))
    elif kind == "cut":
        content = pristine[: data.draw(st.integers(0, len(pristine)))]
    else:
        changed = bytearray(pristine)
        for _ in range(data.draw(st.integers(1, 8))):
            limit = 12_288 if kind == "forged" else len(pristine)
            changed[data.draw(st.integers(0, limit - 1))] = data.draw(st.integers(0, 255))
        if kind == "forged":  # headers with whatever content, and checksums that fit
            for start in range(0, 12_288, 4096):
                _, computed = blocks.checksums(bytes(changed[start : start + 4096]), 4096)
                changed[start : start + 8] = int(computed[0]).to_bytes(8, "little")
        content = bytes(changed)
    (folder / "a.duckdb").write_bytes(content)
    (folder / "copy").mkdir()
    assert last_step(folder / "a.duckdb", folder / "copy")["step"] in ("still", "unfit")


_seeds: list[bytes] = []


def hostile_seed() -> bytes:
    if not _seeds:
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"recoup-test-{os.getpid()}.duckdb"
        with contextlib.closing(duckdb.connect()) as connection:
            connection.execute(f"ATTACH '{path}' AS work (BLOCK_SIZE 16384)")
            connection.execute("CREATE TABLE work.a AS SELECT range AS id, uuid() AS u FROM range(3000)")
            connection.execute("CHECKPOINT work")
            connection.execute("DELETE FROM work.a WHERE id % 2 = 0")
            connection.execute("CHECKPOINT work")
        _seeds.append(path.read_bytes())
        path.unlink()
    return _seeds[0]


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_in_the_log_is_survived_or_said(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    path = folder / "a.duckdb"
    leave_log(path, "CREATE TABLE a (id INT)", *(f"INSERT INTO a VALUES ({n})" for n in range(5)))
    log = path.with_name("a.duckdb.wal")
    data = bytearray(log.read_bytes())
    data[place % len(data)] ^= flip
    log.write_bytes(data)
    with contextlib.suppress(errors.SourceError):
        facts_of(source_at(path, allow_empty=True))


# --- facts -----------------------------------------------------------------------------------------------------------------


def test_facts_see_names_types_and_objects_of_every_sort(tmp_path: Path) -> None:
    path = tmp_path / "sorts.duckdb"
    with contextlib.closing(duckdb.connect(path)) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('a', 'b'); CREATE SCHEMA \"od\"\"d\"")
        connection.execute(
            'CREATE TABLE "od""d"."ta""ble" (i INT, j JSON, m mood, u UUID, d DECIMAL(38, 2), h HUGEINT, l INT[], a FLOAT[3],'
            " s STRUCT(a INT), mp MAP(INT, INT), un UNION(x INT, y VARCHAR), b BLOB, bi BIT, dt DATE, ts TIMESTAMPTZ,"
            " iv INTERVAL, ti TIME, f DOUBLE, uh UHUGEINT, bo BOOLEAN, g INT GENERATED ALWAYS AS (i + 1))"
        )
        connection.execute(
            "INSERT INTO \"od\"\"d\".\"ta\"\"ble\" (i, j, b, l, f, dt) VALUES (1, '{}', 'x', [1], 'nan', 'infinity')"
        )
        connection.execute("CREATE TABLE gone (i INT); CREATE VIEW broken AS SELECT * FROM gone; DROP TABLE gone")
        connection.execute("CREATE MACRO twice(x) AS 2 * x; CREATE SEQUENCE numbers; CREATE TEMP TABLE t (i INT)")
    before = facts_of(source_at(path)).values
    assert set(before) == {"database", 'table od"d.ta"ble'}
    changes = {
        "a row": 'INSERT INTO "od""d"."ta""ble" (i) VALUES (2)',
        "a value": 'UPDATE "od""d"."ta""ble" SET i = 7 WHERE i = 1',
        "a column": 'ALTER TABLE "od""d"."ta""ble" ADD COLUMN z INT',
        "a view": "DROP VIEW broken",
        "a macro": "DROP MACRO twice",
    }
    for what, statement in changes.items():
        with contextlib.closing(duckdb.connect(path)) as connection:
            connection.execute(statement)
        after = source_at(path).facts().values
        assert after != before, what
        before = after


# --- restore ---------------------------------------------------------------------------------------------------------------


def test_a_restore_keeps_what_was_there_and_folds_the_log_in(database: Path) -> None:
    with source_at(database).capture() as capture:
        target = database.with_name("live.duckdb")
        leave_log(target, "CREATE TABLE present AS SELECT 1 AS id")
        source = source_at(target)
        assert source.existing().present
        placement = source.restore(capture.parts(), RestoreOptions())
        assert source.facts() == capture.facts()
    assert not target.with_name("live.duckdb.wal").exists()
    with contextlib.closing(duckdb.connect(placement.kept, read_only=True)) as connection:
        assert connection.execute("SELECT id FROM present").fetchall() == [(1,)]


def test_a_scratch_twin_leaves_nothing_behind(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    source = source_at(database)
    with source.capture() as capture, source.scratch(folder) as twin:
        twin.restore(capture.parts(), RestoreOptions())
        assert twin.facts() == capture.facts()
    assert not list(folder.iterdir())


def test_a_restore_of_what_cannot_be_read_leaves_the_place_as_it_was(database: Path) -> None:
    target = database.with_name("live.duckdb")
    target.write_bytes(b"as it was")
    source = source_at(target)
    with source_at(database).capture() as capture:
        file, log = capture.parts()
        assert isinstance(log, StreamPart)
        path = captured_file(capture)
        data = bytearray(path.read_bytes())
        data[5000] ^= 1
        path.write_bytes(data)
        bad: list[Iterable[Part]] = [[file, log], [log], [file, file], []]
        for parts in bad:
            with pytest.raises((errors.RestoreError, errors.DamagedError)):
                source.restore(parts, RestoreOptions())
    assert target.read_bytes() == b"as it was"
    assert {entry.name for entry in database.parent.iterdir()} == {
        "cache.duckdb",
        "cache.duckdb.wal",
        "live.duckdb",
        "staging",
    }


def test_a_restore_over_an_open_database_is_refused_with_the_holder(database: Path) -> None:
    code = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with source_at(database).capture() as capture:
        application = subprocess.Popen(
            [sys.executable, "-c", code, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert application.stdout
        application.stdout.readline()
        with pytest.raises(errors.BusyError, match=str(application.pid)):
            source_at(database).restore(capture.parts(), RestoreOptions())
        application.communicate()


# --- through the application's connection ------------------------------------------------------------------------------------


@pytest.fixture
def connection(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with contextlib.closing(duckdb.connect(database)) as opened:
        yield opened


def test_a_copy_through_the_connection_is_consistent_while_others_commit(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    connection.execute("CREATE TABLE accounts AS SELECT range AS id, 100 AS balance FROM range(50000)")
    ended = threading.Event()

    def transfer() -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            n = 0
            while not ended.is_set():
                n += 1
                cursor.execute("BEGIN")
                cursor.execute("UPDATE accounts SET balance = balance - 1 WHERE id = ?", [n % 50_000])
                cursor.execute("UPDATE accounts SET balance = balance + 1 WHERE id = ?", [n * 31 % 50_000])
                cursor.execute("COMMIT")

    thread = threading.Thread(target=transfer)
    thread.start()
    try:
        for _ in range(3):
            facts = capture_duckdb(connection, tmp_path / "copy.duckdb")
            with contextlib.closing(duckdb.connect(tmp_path / "copy.duckdb", read_only=True)) as copy:
                assert copy.execute("SELECT sum(balance) FROM accounts").fetchone() == (5_000_000,)
    finally:
        ended.set()
        thread.join()
    assert facts.values["table main.accounts"]["rows"] == 50_000
    assert facts_of(source_at(tmp_path / "copy.duckdb")) == facts


def test_a_copy_through_the_connection_leaves_an_open_transaction_alone(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    connection.execute("BEGIN")
    connection.execute("INSERT INTO docs VALUES (-2, 'not yet', 0)")
    facts = capture_duckdb(connection, tmp_path / "it's a copy.duckdb")
    assert facts.values["table main.docs"]["rows"] == 40_001
    connection.execute("COMMIT")
    assert connection.execute("SELECT count(*) FROM docs").fetchone() == (40_002,)


def test_a_copy_never_replaces_a_database_in_use(
    connection: duckdb.DuckDBPyConnection, database: Path, tmp_path: Path
) -> None:
    with pytest.raises(errors.SourceError, match="is the database itself"):
        capture_duckdb(connection, database)
    (tmp_path / "copy.duckdb.wal").write_bytes(b"of another database")
    with pytest.raises(errors.SourceError, match="replayed"):
        capture_duckdb(connection, tmp_path / "copy.duckdb")
    assert not (tmp_path / "copy.duckdb").exists()
