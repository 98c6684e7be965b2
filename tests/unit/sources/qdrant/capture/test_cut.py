"""While others write: each shard is of one moment, nothing acknowledged before is lost, and a pause leaves nothing torn."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qdrant_server.running import Qdrant
from qdrant_server.starting import Started
from recoup.errors import SourceError
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant.server import QdrantSource

from .taking import fill, keep, points

Make = Callable[..., QdrantSource]

BATCH = 10


class Writer:
    """Upserts batches of ten points, one after another, unless it is told to wait by a file."""

    def __init__(self, server: Qdrant, stop: Path) -> None:
        self._server, self._stop = server, stop
        self.acknowledged = 0
        self.resting = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self._ended.is_set():
            if self._stop.exists():
                self._stop.with_name("stopped").touch()
                time.sleep(0.01)
                continue
            self._stop.with_name("stopped").unlink(missing_ok=True)
            body = {"points": points(BATCH, self.acknowledged * BATCH)}
            self._server.ask("PUT", "/collections/docs/points", body, wait="true")
            self.acknowledged += 1

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._thread.start()
        try:
            while self.acknowledged < 3 and self._thread.is_alive():
                time.sleep(0.01)
            yield
        finally:
            self._ended.set()
            self._thread.join()


def pause(stop: Path, *, fails: str = "") -> dict[str, object]:
    """Stops the writer by a file, and waits until it rests."""
    begin = (
        f"import pathlib,time; p=pathlib.Path({str(stop)!r}); p.touch(); q=p.with_name('stopped'); {fails or 'pass'}\n"
    )
    wait = "while not q.exists(): time.sleep(0.01)\n"
    end = f"import pathlib; pathlib.Path({str(stop)!r}).unlink(missing_ok=True)"
    return {
        "stop": {"command": [sys.executable, "-c", begin + wait]},
        "resume": {"command": [sys.executable, "-c", end]},
    }


def counts(record: CollectionRecord) -> int:
    return sum(shard.points for shard in record.shards)


@pytest.fixture
def docs(qdrant: Qdrant, clean_staging: Path) -> Qdrant:
    fill(qdrant, "docs", 0, shards=3)
    return qdrant


@pytest.mark.requirement("CO-18")
@pytest.mark.parametrize("method", ["stream", "stored", "collection"])
def test_what_was_acknowledged_before_is_in_and_the_count_lies_between_those_of_the_server(
    docs: Qdrant, source: Make, method: str, tmp_path: Path
) -> None:
    writer = Writer(docs, tmp_path / "stop")
    with writer.writing():
        before = writer.acknowledged * BATCH
        kept = keep(source(docs, method=method))
        after = (writer.acknowledged + 1) * BATCH
    assert kept.serious == kept.doubts == []
    assert before <= counts(kept.records["docs"]) <= after


@pytest.mark.parametrize("method", ["stream", "stored"])
def test_with_a_pause_in_writing_no_batch_is_torn(docs: Qdrant, source: Make, method: str, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    writer = Writer(docs, stop)
    with writer.writing():
        for _ in range(2):
            kept = keep(source(docs, method=method, quiesce=pause(stop)))
            assert kept.serious == kept.doubts == []
            assert counts(kept.records["docs"]) % BATCH == 0
            assert not stop.exists(), "writing goes on"


def test_writing_goes_on_when_the_pause_cannot_be_made(docs: Qdrant, source: Make, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with pytest.raises(SourceError, match="writing could not be stopped"):
        keep(source(docs, quiesce=pause(stop, fails="raise SystemExit(3)")))
    assert not stop.exists()


def test_writing_goes_on_by_itself_when_the_freeze_takes_too_long(docs: Qdrant, source: Make, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    (tmp_path / "stopped").touch()
    docs.faults.set(create_delay=1.0)
    kept = keep(source(docs, method="stored", quiesce=pause(stop) | {"limit": 0.2}))
    assert not stop.exists()
    assert [finding.what for finding in kept.findings if not finding.harmless] == ["suspicious"]


def test_an_application_that_cannot_be_resumed_makes_the_source_incomplete(
    docs: Qdrant, source: Make, tmp_path: Path
) -> None:
    (tmp_path / "stopped").touch()
    calls = pause(tmp_path / "stop") | {"resume": {"command": ["false"]}}
    kept = keep(source(docs, quiesce=calls))
    assert len(kept.serious) == 1
    assert "could not be resumed" in kept.serious[0]


def test_a_collection_that_came_or_went_meanwhile_is_named(docs: Qdrant, source: Make) -> None:
    fill(docs, "leaving", 1)

    def meanwhile() -> None:
        fill(docs, "coming", 1)
        docs.ask("DELETE", "/collections/leaving")

    kept = keep(source(docs, method="stream"), meanwhile)
    assert {(finding.item, finding.harmless) for finding in kept.findings} >= {
        ("collection coming", True),
        ("collection leaving", True),
    }
    assert "docs" in kept.records


@pytest.mark.parametrize("method", ["stream", "stored", "collection", "scroll"])
def test_a_collection_that_goes_before_it_stands_still_is_missing_and_named(
    docs: Qdrant, source: Make, method: str
) -> None:
    fill(docs, "leaving", 30)
    calls = {
        "stop": {"url": f"{docs.url}/collections/leaving", "method": "DELETE"},
        "resume": {"url": docs.url, "method": "GET"},
    }
    kept = keep(source(docs, method=method, quiesce=calls))
    assert set(kept.records) == {"docs"}
    assert ["collection leaving" in line for line in kept.serious] == [True]


def test_a_proxy_that_cuts_long_requests_is_worked_around(docs: Qdrant, source: Make) -> None:
    docs.ask("PUT", "/collections/docs/points", {"points": points(30)}, wait="true")
    docs.faults.set(max_request=0.5, create_delay=1.0)
    kept = keep(source(docs, max_request=0.5))
    assert kept.serious == kept.doubts == []
    assert kept.records["docs"].method == "stored"
    assert counts(kept.records["docs"]) == 30


def test_a_failure_in_the_background_is_told_after_a_while(docs: Qdrant, source: Make) -> None:
    docs.faults.set(snapshots_quota=1)
    with pytest.raises(SourceError, match="did not make a snapshot"):
        keep(source(docs, method="stored", max_request=0.5, create_timeout=0.5))
    assert json.dumps(source(docs).settings())


_PAUSED = """
import json, pathlib, sys
from recoup.sources._base import Site
from recoup.sources.qdrant.server import Options, QdrantSource
from recoup.system.clock import SystemClock
url, folder, pause = sys.argv[1:]
options = Options(kind="qdrant", url=url, method="stored", quiesce=json.loads(pause))
with QdrantSource(options, Site("v", pathlib.Path(folder), pathlib.Path(folder), SystemClock())).capture():
    pass
"""


def test_writing_goes_on_when_we_are_killed_during_the_pause(docs: Qdrant, tmp_path: Path) -> None:
    docs.faults.set(create_delay=30.0)
    stopped, resumed = tmp_path / "is-stopped", tmp_path / "is-resumed"
    pause = {"stop": {"command": ["touch", str(stopped)]}, "resume": {"command": ["touch", str(resumed)]}}
    arguments = [sys.executable, "-c", _PAUSED, docs.url, str(tmp_path), json.dumps(pause)]
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as run:
        _until(stopped.exists)
        assert not resumed.exists()
        run.kill()
    _until(resumed.exists)
    if isinstance(docs, Started):
        docs.kill()  # what it was asked for would appear in one of the next tests


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
