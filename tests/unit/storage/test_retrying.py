import asyncio

import pytest

from recoup.errors import StorageError
from recoup.storage._object_faults import PassingError
from recoup.storage._retrying import Retrying
from recoup.storage._throttled import Limit


def waits_of(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waits


@pytest.mark.requirement("CO-14")
def test_what_may_pass_is_tried_three_times_more_after_2_4_and_8_seconds_then_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, attempts = waits_of(monkeypatch), []

    async def once(attempt: int) -> None:
        attempts.append(attempt)
        raise PassingError("the store is busy", "Wait.")

    with pytest.raises(PassingError) as caught:
        asyncio.run(Retrying(3, 2.0)(once))
    assert attempts == [1, 2, 3, 4]
    assert waits == [2, 4, 8]
    assert (caught.value.message, caught.value.hint) == ("the store is busy (tried 4 times)", "Wait.")


def test_what_passes_is_not_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    waits_of(monkeypatch)

    async def once(attempt: int) -> int:
        if attempt < 3:
            raise PassingError("busy")
        return attempt

    assert asyncio.run(Retrying(3, 2.0)(once)) == 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error", [StorageError("a right is missing"), FileNotFoundError("key"), FileExistsError("key")]
)
def test_what_will_not_pass_is_told_at_once(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_of(monkeypatch)

    async def once(_attempt: int) -> None:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(Retrying(3, 2.0)(once))
    assert waits == []


def test_a_limit_lets_bytes_pass_at_its_rate_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_of(monkeypatch)

    async def take() -> None:
        limit = Limit(1000)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 50.0)
        for count in (1000, 500, 2000):
            await limit.take(count)

    asyncio.run(take())
    assert waits == [1.0, 1.5, 3.5]


def test_without_a_limit_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_of(monkeypatch)
    asyncio.run(Limit(None).take(10**12))
    assert waits == []
