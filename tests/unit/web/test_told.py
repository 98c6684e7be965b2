"""How far a job is, from what it told."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recoup.web._progress import Work
from recoup.web._told import MOST_LINES, Told, read_on
from unit.web.running import scripted, through

_values = st.none() | st.booleans() | st.integers(-5, 10**15) | st.floats() | st.text(max_size=4)
_records = st.lists(
    st.dictionaries(st.sampled_from(["event", "work", "done", "total", "unit", "finished", "message"]), _values)
    | st.builds(
        lambda work, done, total, finished: {
            "event": "progress", "work": work, "done": done, "total": total, "unit": "", "finished": finished
        },
        st.sampled_from("abc"),
        st.integers(0, 100),
        st.none() | st.integers(0, 100),
        st.booleans(),
    ),
    max_size=20,
)  # fmt: skip


@given(_records, st.integers(0, 20))
def test_news_may_come_in_any_pieces(records: list[dict[str, Any]], at: int) -> None:
    whole = Told().and_then(records, 9)
    assert Told().and_then(records[:at], 4).and_then(records[at:], 9) == whole
    assert whole.older == max(0, whole.count - MOST_LINES)
    for work in whole.works.values():
        assert work.share is None or 0 <= work.share <= 1
        assert (work.share == 1) == work.finished
        assert work.amount


def test_a_work_says_how_much_of_what_is_done() -> None:
    assert Work(512, 2048, "", finished=False).amount == "512 B of 2.0 KiB"
    assert Work(1200, None, "points", finished=False).amount == "1,200 points"
    assert Work(0, 0, "", finished=False).share is None


def test_what_a_job_says_is_read_on_from_where_it_was_read_last() -> None:
    progress = '{"event": "progress", "work": "backup chat", "done": %d, "total": 9, "unit": "", "finished": %s}'
    told = [
        progress % (3, "false"),
        '{"event": "source_failed", "message": "no file"}',
        progress % (9, "true"),
        "Done.",
    ]
    jobs = scripted("".join(f"echo '{line}' >&2; " for line in told))
    job = through(jobs, jobs.start(("backup",)))
    found = read_on(jobs, job.id, Told())
    assert found.works == {"backup chat": Work(9, 9, "", finished=True)}
    assert [line.message for line in found.lines] == ["no file", "Done."]
    assert read_on(jobs, job.id, found) == found
    assert read_on(jobs, job.id, Told(), pieces=0) == Told()
