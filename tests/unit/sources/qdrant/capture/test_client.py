"""Asking a server: refusals in its own words, downloads that go on where they broke, nothing secret told."""

import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.running import Qdrant
from recoup.errors import InterruptedRunError, SourceError
from recoup.sources.qdrant._addresses import at, is_this_machine, version_of
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import MissingError, ServerError, UnreachableError
from recoup.system.clock import SystemClock

from .taking import fill

ANSWERS = Path(__file__).parents[4] / "data" / "qdrant" / "answers"


class Patient(SystemClock):
    """Does not wait."""

    def sleep(self, seconds: float) -> None:
        super().sleep(0)


def refusals() -> list[dict[str, Any]]:
    """Every recorded answer that is not a success, each kind once."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for file in sorted(ANSWERS.glob("*.json")):
        for entry in json.loads(file.read_text()).get("exchanges", ()):
            answer = entry["response"]
            if answer.get("status", 0) >= 400 and ("json" in answer or "text" in answer):
                text = json.dumps(answer["json"]) if "json" in answer else answer["text"]
                found.setdefault((answer["status"], text[:60]), {"status": answer["status"], "body": text})
    return list(found.values())


@pytest.fixture
def replaying() -> Iterator[Callable[[int, bytes], str]]:
    """A server that answers everything with one answer."""
    answer: dict[str, Any] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def _reply(self) -> None:
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(len(answer["body"])))
            self.end_headers()
            self.wfile.write(answer["body"])

        do_GET = do_POST = do_DELETE = do_PUT = _reply  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def answering(status: int, body: bytes) -> str:
        answer.update(status=status, body=body)
        return f"http://127.0.0.1:{server.server_port}"

    yield answering
    server.shutdown()
    server.server_close()


def test_every_refusal_that_was_recorded_is_told_in_the_servers_own_words(
    replaying: Callable[[int, bytes], str],
) -> None:
    assert len(refusals()) > 40
    for refusal in refusals():
        url = replaying(refusal["status"], refusal["body"].encode())
        with Server(url, "planted-key", clock=Patient()) as server:
            calls = (
                lambda: server.get(at("collections", "x")),
                lambda: server.post(at("collections", "x", "snapshots")),
                lambda: server.delete(at("collections", "x", "snapshots", "y")),
                lambda: server.download(at("collections", "x", "shards", 0, "snapshot")).__enter__(),
            )
            for call in calls:
                with pytest.raises(ServerError) as caught:
                    call()
                assert caught.value.status == refusal["status"]
                assert caught.value.text
                assert caught.value.text.split(":")[0] in refusal["body"]
                assert caught.value.hint
                assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"<html>gateway</html>", b"[" * 100_000, b'{"title": "nginx"}', b"null", b'{"title": "qdrant"']
)
def test_what_is_no_qdrant_is_said_to_be_none(replaying: Callable[[int, bytes], str], body: bytes) -> None:
    with Server(replaying(200, body), clock=Patient()) as server, pytest.raises(SourceError):
        assert server.version == ""


def test_a_key_that_the_answer_repeats_is_masked(replaying: Callable[[int, bytes], str]) -> None:
    url = replaying(400, b"no such thing: planted-key")
    with Server(url, "planted-key") as server, pytest.raises(ServerError) as caught:
        server.get(at("collections"))
    assert "planted" not in caught.value.message + caught.value.text


def test_user_and_password_of_a_url_are_not_told() -> None:
    server = Server("http://user:planted@127.0.0.1:1/base?token=planted", clock=Patient())
    assert server.url == "http://127.0.0.1:1/base"


def test_a_download_goes_on_where_it_broke(qdrant: Qdrant) -> None:
    fill(qdrant, "docs", 30)
    made = qdrant.ask("POST", "/collections/docs/snapshots")
    path = at("collections", "docs", "snapshots", made["name"])
    with Server(qdrant.url) as server:
        with server.download(path) as whole:
            data = b"".join(whole.blocks)
            assert (whole.length, whole.start) == (made["size"], 0)
        with server.download(path, start=1000, etag=whole.etag) as rest:
            assert (rest.start, rest.whole) == (1000, made["size"])
            assert data[:1000] + b"".join(rest.blocks) == data
            assert rest.etag == whole.etag
    assert hashlib.sha256(data).hexdigest() == made["checksum"]


def test_an_upload_with_a_known_or_unknown_length_arrives_whole(qdrant: Qdrant, tmp_path: Path) -> None:
    fill(qdrant, "docs", 30)
    made = qdrant.ask("POST", "/collections/docs/snapshots")
    data = qdrant.http.get(f"/collections/docs/snapshots/{made['name']}").content
    (tmp_path / "file").write_bytes(data)
    passed: list[int] = []
    with Server(qdrant.url) as server:
        server.upload(
            at("collections", "a", "snapshots", "upload"),
            tmp_path / "file",
            checksum=made["checksum"],
            passing=passed.append,
        )
        server.upload(at("collections", "b", "snapshots", "upload"), iter([data[:999], data[999:]]), name="b.snapshot")
        with pytest.raises(ServerError, match=r"(?i)checksum"):
            server.upload(at("collections", "c", "snapshots", "upload"), tmp_path / "file", checksum="0" * 64)
    assert sum(passed) == len(data)
    assert sorted(qdrant.collections()) == ["a", "b", "docs"]


def test_a_missing_collection_is_missing(qdrant: Qdrant) -> None:
    with Server(qdrant.url) as server, pytest.raises(MissingError, match="nope"):
        server.get(at("collections", "nope"))


def test_a_connection_that_was_broken_by_us_is_an_interruption(qdrant: Qdrant) -> None:
    server = Server(qdrant.url)
    assert server.version
    server.kill()
    with pytest.raises(InterruptedRunError):
        server.get(at("collections"))
    with server.again() as fresh:
        assert fresh.get(at("collections")) == {"collections": []}
    server.close()


def test_nobody_at_the_port_is_unreachable() -> None:
    with (
        Server("http://127.0.0.1:1", clock=Patient()) as server,
        pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"),
    ):
        assert server.version == ""


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:6333", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:6333", True),
        ("http://qdrant.localhost", True),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://192.0.2.1", False),
        ("http://localhost@192.0.2.1", False),
    ],
)
def test_this_machine_is_told_from_others_without_asking_a_name_server(url: str, *, here: bool) -> None:
    assert is_this_machine(url) is here


def test_versions_are_compared_as_numbers() -> None:
    assert version_of("1.9.0") < version_of("1.14.1") <= version_of("1.18.3-dev")
    assert version_of("dev") == ()
