"""Of progress that is told all the time, the first and the last of each work are handed on, and now and then one between."""

import threading
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from recoup.model.events import Progress
from recoup.sinks._pacing import Pace
from unit.scheduler.simulating import Hands

steps = st.lists(
    st.tuples(st.sampled_from(["read", "write"]), st.floats(0, 3), st.integers(0, 4).map(lambda n: n == 0))
)


@given(steps)
def test_first_and_last_pass_and_between_them_never_two_within_the_pause(
    steps: list[tuple[str, float, bool]],
) -> None:
    clock = Hands()
    pace = Pace(1.0, clock)
    last: dict[str, float] = {}
    for work, seconds, finished in steps:
        clock.go(timedelta(seconds=seconds))
        now = clock.monotonic()
        first = work not in last
        passed = pace.lets(Progress(work, 1, finished=finished))
        assert passed == (first or finished or now - last[work] >= 1.0)
        if finished:
            last.pop(work, None)
        elif passed:
            last[work] = now


def test_of_many_threads_that_tell_of_one_work_at_once_one_is_let_through() -> None:
    pace, together = Pace(60.0, Hands()), threading.Barrier(8)
    passed: list[bool] = []

    def tell() -> None:
        together.wait()
        passed.append(pace.lets(Progress("read", 1)))

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == [False] * 7 + [True]
