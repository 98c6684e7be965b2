"""Large bodies: what comes is handed on, what is missing is said, and the way to the server is the one that was asked for."""

import base64
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from recoup.errors import InterruptedRunError
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import SilentError, UnreachableError

Answer = Callable[[socket.socket], None]


class Peer:
    """Takes one connection, keeps the request, and answers as it is told to."""

    def __init__(self, answer: Answer) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.request = b""
        self._thread = threading.Thread(target=self._serve, args=(answer,), daemon=True)
        self._thread.start()

    def _serve(self, answer: Answer) -> None:
        connection, _ = self._listening.accept()
        with connection:
            while not self.request.endswith(b"\r\n\r\n"):
                self.request += connection.recv(65536)
            answer(connection)

    def close(self) -> None:
        self._thread.join()
        self._listening.close()


@pytest.fixture
def peer() -> Iterator[Callable[[Answer], Peer]]:
    peers: list[Peer] = []

    def begin(answer: Answer) -> Peer:
        peers.append(Peer(answer))
        return peers[-1]

    yield begin
    for one in peers:
        one.close()


def saying(*pieces: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_small_chunks_come_as_large_blocks(peer: Callable[[Answer], Peer]) -> None:
    chunks = [bytes([n % 251]) * 2700 for n in range(2000)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    one = peer(saying(CHUNKED, framed, b"0\r\n\r\n"))
    with Server(f"http://127.0.0.1:{one.port}") as server, server.download("/x") as download:
        blocks = list(download.blocks)
    assert b"".join(blocks) == b"".join(chunks)
    assert len(blocks) < 10


def test_the_first_block_does_not_wait_for_the_others(peer: Callable[[Answer], Peer]) -> None:
    seen = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(CHUNKED + b"5\r\nfirst\r\n")
        assert seen.wait(30)
        connection.sendall(b"4\r\nrest\r\n0\r\n\r\n")

    one = peer(answer)
    with Server(f"http://127.0.0.1:{one.port}") as server, server.download("/x") as download:
        assert next(download.blocks) == b"first"
        seen.set()
        assert b"".join(download.blocks) == b"rest"


@pytest.mark.parametrize("end", [b"", b"9\r\nmor", b"zz\r\n"])
def test_a_stream_that_is_cut_between_or_inside_chunks_is_broken(end: bytes, peer: Callable[[Answer], Peer]) -> None:
    one = peer(saying(CHUNKED, b"5\r\nfirst\r\n", end))
    with (
        Server(f"http://127.0.0.1:{one.port}") as server,
        server.download("/x") as download,
        pytest.raises(UnreachableError, match="broke at GET /x"),
    ):
        list(download.blocks)


def test_what_came_of_a_cut_file_is_handed_on_before_the_failure(peer: Callable[[Answer], Peer]) -> None:
    one = peer(saying(PLAIN % 3_000_000, b"a" * 2_500_000))
    came = 0
    with Server(f"http://127.0.0.1:{one.port}") as server, server.download("/x") as download:
        with pytest.raises(UnreachableError):
            for block in download.blocks:
                came += len(block)
        assert (came, download.length) == (2_500_000, 3_000_000)


def test_a_server_that_stalls_in_the_middle_is_given_up(peer: Callable[[Answer], Peer]) -> None:
    done = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(PLAIN % 100 + b"some")
        done.wait(30)

    one = peer(answer)
    with Server(f"http://127.0.0.1:{one.port}") as server, server.download("/x", wait=0.1) as download:
        assert next(download.blocks) == b"some"
        with pytest.raises(SilentError, match="sent nothing for too long"):
            list(download.blocks)
        done.set()


def test_a_body_without_a_length_that_we_broke_off_is_not_taken_for_whole(peer: Callable[[Answer], Peer]) -> None:
    done = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome")
        done.wait(30)

    one = peer(answer)
    with Server(f"http://127.0.0.1:{one.port}") as server, server.download("/x", wait=None) as download:
        assert next(download.blocks) == b"some"
        server.kill()
        with pytest.raises(InterruptedRunError):
            list(download.blocks)
        done.set()


def test_a_server_of_the_network_is_asked_by_the_proxy_of_the_environment(
    peer: Callable[[Answer], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = peer(saying(PLAIN % 4, b"data"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{one.port}")
    with Server("http://qdrant.invalid:6333", "key") as server, server.download("/a%2Fb") as download:
        assert b"".join(download.blocks) == b"data"
    assert one.request.startswith(b"GET http://qdrant.invalid:6333/a%2Fb HTTP/1.1\r\n")
    assert b"\r\napi-key: key\r\n" in one.request


def test_this_machine_is_asked_without_a_proxy_and_with_what_its_url_says(
    peer: Callable[[Answer], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    one = peer(saying(PLAIN % 4, b"data"))
    with Server(f"http://me:planted@127.0.0.1:{one.port}/base") as server, server.download("/x", start=7) as download:
        assert b"".join(download.blocks) == b"data"
    assert one.request.startswith(b"GET /base/x HTTP/1.1\r\n")
    sent = one.request.lower()
    assert b"authorization: basic " + base64.b64encode(b"me:planted").lower() in sent
    assert b"range: bytes=7-\r\n" in sent
    assert b"accept-encoding: identity\r\n" in sent
    assert sent.count(b"\r\nhost:") == 1
