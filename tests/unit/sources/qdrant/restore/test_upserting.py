"""Writing points one by one: batches, their sizes, the rate, and servers that are away for a moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recoup.errors import RestoreError
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._upserting import patiently, upsert
from recoup.system.clock import SystemClock

from .conftest import Rig, path_of, points


class Still:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def empty(rig: Rig) -> Server:
    rig.server.ask("PUT", path_of("docs"), {"vectors": {"size": 4, "distance": "Dot"}})
    return Server(rig.server.url)


def test_no_more_points_a_second_go_out_than_were_asked_for(rig: Rig) -> None:
    clock = Still()
    with empty(rig) as server:
        assert upsert(server, "docs", points(0, 600), clock, rate=100) == 600
    assert clock.seconds >= 6
    assert rig.count("docs") == 600


def test_every_batch_is_told_and_large_points_make_small_batches(rig: Rig) -> None:
    told: list[int] = []
    large: list[dict[str, Any]] = [{**point, "payload": {"text": "x" * 1_500_000}} for point in points(0, 5)]
    with empty(rig) as server:
        upsert(server, "docs", large, SystemClock(), passing=told.append)
    assert told == [2, 4, 5]


def test_points_that_the_server_refuses_are_told(rig: Rig) -> None:
    with empty(rig) as server, pytest.raises(RestoreError, match="points could not be written to docs"):
        upsert(server, "docs", [{"id": 1, "vector": [1.0], "payload": {}}], SystemClock())


def test_a_server_that_is_away_for_a_moment_is_waited_for(rig: Rig) -> None:
    clock = Still()
    with empty(rig) as server:
        rig.server.faults.set(answer_status=503, times=3)
        upsert(server, "docs", points(0, 10), clock)
    assert rig.count("docs") == 10


def test_a_server_that_stays_away_is_given_up() -> None:
    clock = Still()
    with Server("http://127.0.0.1:9", connect_timeout=1) as server, pytest.raises(RestoreError, match="it failed"):
        patiently(lambda: server.put("/collections/x", {}), "it failed", clock)
    assert clock.seconds >= 60
