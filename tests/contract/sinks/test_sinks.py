"""What every sink promises, those that come later too: no secret leaves it, no name makes a line of its own, and it ends."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from notice_receivers import HttpReceiver, http_receiver
from recoup.model.events import Event, Level, Progress
from recoup.model.secrets import Masker
from recoup.sinks import _measures
from recoup.sinks._measures import Measure
from recoup.system import plugs

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of Apprise's services

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECRET = "hunter2-Secret/=&"
RUN = "0123456789abcdef0123456789abcdef"


@dataclass
class Place:
    """Where the sinks of a test write: a folder, a server, a stream."""

    folder: Path
    server: HttpReceiver
    stream: io.StringIO

    def written(self) -> bytes:
        """All that left the sinks since the last time."""
        files = [file.read_bytes() for file in sorted(self.folder.iterdir())]
        found = b"\n".join([*files, self.server.bodies(), self.stream.getvalue().encode("utf-8", "backslashreplace")])
        for file in self.folder.iterdir():
            file.unlink()
        self.server.requests.clear()
        self.stream.truncate(0)
        return found


OPTIONS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "apprise": lambda place: {"url": place.server.url.replace("http:", "json:"), "events": ["*"]},
    "console": lambda place: {"stream": place.stream},
    "healthchecks": lambda place: {"url": f"{place.server.url}/check"},
    "jsonl": lambda place: {"path": place.folder / "events.jsonl"},
    "log": lambda place: {"path": place.folder / "events.log"},
    "prometheus": lambda place: {"path": place.folder / "recoup.prom"},
    "webhook": lambda place: {"url": f"{place.server.url}/hook", "events": ["*"]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        server = stack.enter_context(http_receiver())
        yield Place(tmp_path_factory.mktemp("sinks"), server, io.StringIO())


def opened(kind: str, place: Place) -> Any:
    plug = plugs.load("recoup.sinks", kind)
    return plug.connect(plug.Options(**OPTIONS[kind](place)), Masker([SECRET]))


def events(text: str) -> list[Event]:
    fields = {"stack": "shop", "host": text, "source": text, "verb": "backup", "sources": [text], "run": RUN}
    return [
        Event("run_started", NOON, text, fields=fields),
        Event("source_failed", NOON, text, Level.ERROR, set="backup_20261121_120000", fields=fields),
        Event("problem_began", NOON, text, Level.ERROR, fields={**fields, "hint": text, "gravity": "error"}),
        Event("run_finished", NOON, text, Level.WARNING, fields={**fields, "exit_code": 3}),
    ]


def test_each_kind_is_looked_at_here() -> None:
    assert tuple(OPTIONS) == plugs.kinds("recoup.sinks")


@pytest.mark.parametrize("kind", OPTIONS)
@example("\r\n[2026-01-01 00:00:00] INFO: all is well")
@example("\x1b]0;title\x07\x1b[2J\u202e\ud800\0")
@given(text=st.text(st.characters(), max_size=60))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_name_is_it_is_written_and_no_secret_with_it(kind: str, place: Place, text: str) -> None:
    _measures.remember("shop", "state", [Measure("recoup_repository_sets", 1, {"repository": "main"})])
    sink = opened(kind, place)
    for event in events(f"{text}{SECRET}{text} password={SECRET}"):
        sink(event)
    sink.close()
    found = place.written()
    assert found
    assert SECRET.encode() not in found
    assert b"hunter2" not in found


@pytest.mark.parametrize("kind", OPTIONS)
def test_progress_is_no_news_to_remember(kind: str, place: Place) -> None:
    sink = opened(kind, place)
    sink(Progress("backup cache", 1, 100))
    sink.close()
    assert b"cache" not in place.written()


@pytest.mark.parametrize("kind", OPTIONS)
def test_closing_twice_is_harmless(kind: str, place: Place) -> None:
    sink = opened(kind, place)
    sink.close()
    sink.close()
    assert place.written().strip() == b""
