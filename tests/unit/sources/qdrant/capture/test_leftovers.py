"""Nothing stays on the server: not after success, an error, Ctrl-C or a kill; and nobody else's snapshot goes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from qdrant_server.running import Qdrant
from recoup.errors import InterruptedRunError
from recoup.sources.qdrant._leftovers import PURPOSE, possible_names
from recoup.sources.qdrant.server import QdrantSource
from recoup.system.journal import state_folder
from recoup.system.subprocesses import end_all
from recoup.testing.fault_proxy import FaultProxy, LoseResponse

from .taking import fill, keep, left_on

Make = Callable[..., QdrantSource]

CAPTURE = """
import os, pathlib, sys
from recoup.sources._base import Site
from recoup.sources.qdrant.server import Options, QdrantSource
from recoup.system.clock import SystemClock
url, folder, method = sys.argv[1:]
options = Options(kind="qdrant", url=url, method=method)
with QdrantSource(options, Site("v", pathlib.Path(folder), pathlib.Path(folder), SystemClock())).capture():
    os._exit(9)
"""


@pytest.fixture
def docs(qdrant: Qdrant, clean_staging: Path) -> Qdrant:
    fill(qdrant, "docs", 20, shards=2)
    fill(qdrant, "more", 20)
    return qdrant


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def journals() -> list[Path]:
    return list(state_folder().glob(f"{PURPOSE}-*"))


def stop_when_asked(requests: int) -> None:
    """Stops, as Ctrl-C does, a moment after so many requests were written down: by then they are sent."""
    until(lambda: sum(journal.read_text().count('"names"') for journal in journals()) == requests)
    time.sleep(0.5)
    end_all()


@pytest.mark.requirement("SR-3")
@pytest.mark.parametrize("method", ["stored", "collection"])
def test_an_error_in_the_middle_leaves_nothing(docs: Qdrant, source: Make, method: str) -> None:
    with pytest.raises(ZeroDivisionError), source(docs, method=method).capture() as capture:
        next(capture.parts())
        raise ZeroDivisionError
    assert left_on(docs) == []
    assert journals() == []


@pytest.mark.parametrize("method", ["stored", "collection"])
def test_what_a_killed_run_left_goes_with_the_next_one_and_nothing_else_does(
    docs: Qdrant, source: Make, method: str, tmp_path: Path
) -> None:
    docs.ask("POST", "/collections/docs/snapshots")
    others = left_on(docs)
    docs.faults.set(rate=200_000)  # the download is still going on when the run dies
    done = subprocess.run([sys.executable, "-c", CAPTURE, docs.url, str(tmp_path), method], check=False)
    docs.faults.clear()
    assert done.returncode == 9
    assert len(left_on(docs)) > len(others)
    told = source(docs).recover()
    assert left_on(docs) == others
    assert len(told) == 3 if method == "stored" else 2
    assert all("killed backup" in sentence for sentence in told)
    assert journals() == []
    assert source(docs).recover() == ()


def test_a_kill_before_the_answer_is_found_by_the_names_that_it_could_get(
    docs: Qdrant, source: Make, tmp_path: Path
) -> None:
    docs.faults.set(create_delay=3.0)
    run = subprocess.Popen([sys.executable, "-c", CAPTURE, docs.url, str(tmp_path), "stored"])
    until(lambda: any(path.read_text().count("\n") >= 3 for path in journals()))
    time.sleep(0.5)  # until the requests have left, too
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    docs.faults.clear()
    until(lambda: len(left_on(docs)) == 3)
    assert len(source(docs).recover()) == 3
    assert left_on(docs) == []


def test_a_snapshot_whose_name_was_lost_on_the_way_goes_before_the_run_ends(docs: Qdrant, source: Make) -> None:
    where = urlsplit(docs.url)
    with FaultProxy(where.hostname or "", where.port or 0) as proxy:
        proxy.inject(LoseResponse(), method="POST", contains="/collections/docs/shards/0/snapshots", times=1)
        kept = keep(source(docs, url=proxy.url, collections=["docs"], method="stored"))
        assert proxy.count("POST", "/collections/docs/shards/0/snapshots") == 2
    assert kept.serious == []
    assert left_on(docs) == []
    assert journals() == []


def test_stopping_ends_a_wait_for_the_server_and_remembers_what_it_may_still_make(docs: Qdrant, source: Make) -> None:
    docs.faults.set(create_delay=2)
    stopping = threading.Thread(target=stop_when_asked, args=(3,))
    stopping.start()
    with pytest.raises(InterruptedRunError), source(docs, method="stored").capture():
        pass
    stopping.join()
    (journal,) = journals()
    assert journal.read_text().count("docs-shard-0-") == 3
    until(lambda: len(left_on(docs)) == 3)


@pytest.mark.slow
def test_ctrl_c_ends_a_backup_and_the_next_one_tidies_up(docs: Qdrant, tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text(
        f"version: 1\nstack: a\nsources: {{v: {{kind: qdrant, url: '{docs.url}', method: stored}}}}\n"
        "repositories: {local: {path: backups}}\n"
    )
    command = [sys.executable, "-m", "recoup"]
    subprocess.run([*command, "init"], cwd=tmp_path, check=True, capture_output=True)
    docs.faults.set(create_delay=2.0)
    run = subprocess.Popen([*command, "backup"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: any(path.read_text().count("\n") >= 3 for path in journals()))
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=30) == 130
    assert list((tmp_path / "backups" / ".staging").iterdir()) == []
    docs.faults.clear()
    until(lambda: len(left_on(docs)) == 3)
    done = subprocess.run([*command, "backup"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("which a killed backup had left there") + done.stdout.count("which a killed backup") == 3
    assert left_on(docs) == []
    assert journals() == []


def test_a_journal_of_another_server_is_left_alone(docs: Qdrant, source: Make) -> None:
    state_folder().mkdir(parents=True, exist_ok=True)
    dead = state_folder() / f"{PURPOSE}-0-0-1-0-0.jsonl"
    dead.write_text('{"server": "http://192.0.2.1:6333", "folder": "/x", "names": ["a"], "collection": "docs"}\n')
    assert source(docs).recover() == ()
    assert dead.exists()


def test_a_snapshot_of_this_very_second_is_not_overwritten(docs: Qdrant, source: Make) -> None:
    other = docs.ask("POST", "/collections/docs/shards/0/snapshots")
    kept = keep(source(docs, method="stored"))
    assert kept.serious == []
    assert docs.ask("GET", "/collections/docs/shards/0/snapshots") == [other]


def test_the_names_that_a_request_can_get_are_those_of_the_next_seconds() -> None:
    now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert possible_names("docs-shard-0", now) == (
        "docs-shard-0-2026-12-31-23-59-59.snapshot",
        "docs-shard-0-2027-01-01-00-00-00.snapshot",
        "docs-shard-0-2027-01-01-00-00-01.snapshot",
    )
