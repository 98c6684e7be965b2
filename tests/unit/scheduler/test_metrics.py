"""`/metrics`: real requests to the real server."""

import socket
import threading
from http.client import HTTPConnection

import pytest

from notice_receivers import free_port
from recoup.errors import RecoupError, UsageError
from recoup.scheduler.metrics import CONTENT_TYPE, address, serve

HERE = ("127.0.0.1", 0)


def asked(place: tuple[str, int], path: str = "/metrics") -> tuple[int, str, bytes]:
    connection = HTTPConnection(*place, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def test_each_answer_is_made_when_it_is_asked_for() -> None:
    numbers = iter([b"recoup 1\n", b"recoup 2\n"])
    with serve(HERE, lambda: next(numbers)) as place:
        assert asked(place) == (200, CONTENT_TYPE, b"recoup 1\n")
        assert asked(place, "/metrics?x=1") == (200, CONTENT_TYPE, b"recoup 2\n")
        assert asked(place, "/")[0] == 404


def test_what_cannot_be_told_is_an_error_and_the_next_answer_is_given() -> None:
    def collect() -> bytes:
        if not failed:
            failed.append(True)
            raise RecoupError("the state cannot be read")
        return b"recoup 1\n"

    failed: list[bool] = []
    with serve(HERE, collect) as place:
        assert asked(place)[::2] == (500, b"the state cannot be read\n")
        assert asked(place)[0] == 200


def test_a_client_that_is_silent_keeps_nobody_waiting() -> None:
    with serve(HERE, lambda: b"recoup 1\n") as place, socket.create_connection(place):
        assert asked(place)[0] == 200


def test_an_answer_that_takes_long_keeps_nobody_waiting() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def collect() -> bytes:
        if begun.is_set():
            return b"second\n"
        begun.set()
        go_on.wait(30)
        return b"first\n"

    answers: list[bytes] = []
    with serve(HERE, collect) as place:
        slow = threading.Thread(target=lambda: answers.append(asked(place)[2]))
        slow.start()
        begun.wait(30)
        assert asked(place)[2] == b"second\n"
        go_on.set()
        slow.join()
    assert answers == [b"first\n"]


def test_the_port_is_free_again_afterwards() -> None:
    place = ("127.0.0.1", free_port())
    for _ in range(2):
        with serve(place, lambda: b"") as found:
            assert found == place


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with (
        serve(HERE, lambda: b"") as place,
        pytest.raises(RecoupError, match=f"cannot be served at 127.0.0.1:{place[1]}"),
        serve(place, lambda: b""),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9185", ("127.0.0.1", 9185)),
        (":9185", ("127.0.0.1", 9185)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:9185", ("::1", 9185)),
    ],
)
def test_a_port_alone_is_one_of_this_machine_only(text: str, place: tuple[str, int]) -> None:
    assert address(text) == place


@pytest.mark.parametrize("text", ["", "host", "host:", "host:99999", "host:x", "host:٣"])
def test_what_is_no_address_is_a_mistake_of_the_command_line(text: str) -> None:
    with pytest.raises(UsageError, match="no HOST:PORT"):
        address(text)
