"""How fast a work is, and how long it would take, are said when that is known, and not before."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.web._progress import Work, with_progress

BEGIN = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)


def record(seconds: float, done: int, total: int | None = 1000, **more: Any) -> dict[str, Any]:
    moment = (BEGIN + timedelta(seconds=seconds)).isoformat()
    return {"event": "progress", "time": moment, "work": "a", "done": done, "total": total, "unit": "", **more}


def after(*records: dict[str, Any]) -> Work:
    works: dict[str, Work] = {}
    for one in records:
        works = with_progress(works, one)
    return works["a"]


def test_speed_and_rest_are_those_since_the_work_began() -> None:
    work = after(record(0, 100), record(4, 500))
    assert (work.speed, work.left) == ("100 B/s", "about 5 s left")
    assert after(record(0, 0, unit="points"), record(2, 5000, 20_000, unit="points")).speed == "2,500 points/s"


@pytest.mark.parametrize(
    "records",
    [
        (record(0, 100),),
        (record(0, 100), record(0.5, 500)),
        (record(0, 100), record(-5, 500)),
        ({**record(0, 100), "time": "once"}, record(4, 500)),
        (record(0, 100), {**record(4, 500), "time": "2026-11-22T03:15:09"}),
        (record(0, 100), record(2, 900), record(9, 50)),
        (record(0, 100), record(2, 1000, finished=True), record(60, 10)),
    ],
    ids=[
        "first",
        "too soon",
        "clock set back",
        "no time at first",
        "no zone",
        "begun anew",
        "begun anew after its end",
    ],
)
def test_nothing_is_said_of_what_is_not_known(records: tuple[dict[str, Any], ...]) -> None:
    work = after(*records)
    assert (work.speed, work.left) == ("", "")


def test_of_what_ended_or_stands_still_nobody_says_how_long_it_will_take() -> None:
    assert after(record(0, 0), record(5, 1000, finished=True)).left == ""
    assert after(record(0, 100), record(5, 100)).left == ""
    assert after(record(0, 0, None), record(5, 100, None)).left == ""
    assert after(record(0, 0), record(5, 2000)).left == ""


@given(st.text() | st.integers() | st.none() | st.datetimes().map(str) | st.datetimes(timezones=st.just(UTC)).map(str))
def test_any_time_can_be_told(time: Any) -> None:
    work = after({**record(0, 5), "time": time}, {**record(0, 9), "time": time}, record(0, 10))
    assert work.done == 10
    assert work.amount == "10 B of 1000 B"
