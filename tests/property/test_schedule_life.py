"""Whatever happens to a machine and its schedule, jobs run one at a time, and afterwards all of them on their times again."""

from dataclasses import replace
from datetime import UTC, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.scheduler._jobs import Job
from unit.scheduler.simulating import Simulation

HOUR = timedelta(hours=1)
JOBS = (
    Job("backup", ("backup",), "", UTC, 6 * HOUR),
    Job("prune", ("prune",), "30 4 * * *", UTC),
    Job("verify", ("verify",), "0 */8 * * *", UTC, catch_up=False),
)
OTHER = (replace(JOBS[0], every=4 * HOUR), JOBS[1], replace(JOBS[2], name="drill", jitter=timedelta(minutes=7)))

hours = st.floats(0.01, 60).map(lambda count: count * HOUR)
happenings = st.one_of(
    st.tuples(st.just("time passes"), hours),
    st.tuples(st.just("the machine sleeps"), hours),
    st.tuples(st.just("the clock is set back"), hours),
    st.tuples(st.just("the scheduler dies"), hours),
    st.tuples(st.just("the machine goes down"), hours),
    st.tuples(st.just("the schedule changes"), hours),
    st.tuples(st.just("the memory fails"), hours),
    st.tuples(st.just("a job cannot be ended"), hours),
)


class Life:
    """A simulation that goes through deaths."""

    def __init__(self, takes: timedelta) -> None:
        self.takes, self.jobs = takes, JOBS
        self.now = Simulation(self.jobs, takes=self._takes)

    def _takes(self, _job: Job) -> timedelta:
        return self.takes

    def born_again(self, *, with_its_job: bool) -> None:
        """Another process takes over; the job of the dead one still runs, or not."""
        before = self.now
        if with_its_job:
            for work in before.works:
                work.ended = True
        lives = any(work.poll() is None for work in before.works)
        self.now = Simulation(self.jobs, clock=before.clock, sheet=before.sheet, takes=self._takes, lives=lives)
        self.now.left.lives = lambda: any(work.poll() is None for work in before.works)  # type: ignore[method-assign]

    def happens(self, what: str, long: timedelta) -> None:
        now = self.now
        match what:
            case "time passes":
                now.until(now.clock.moment + long)
            case "the machine sleeps":
                now.clock.moment += long
            case "the clock is set back":
                now.clock.moment -= long
            case "the scheduler dies":
                self.born_again(with_its_job=False)
            case "the machine goes down":
                now.clock.moment += long
                self.born_again(with_its_job=True)
            case "the schedule changes":
                self.jobs = OTHER if self.jobs is JOBS else JOBS
                now.loop.reload(self.jobs)
            case "the memory fails":
                now.sheet.broken = True
                now.until(now.clock.moment + long)
                now.sheet.broken = False
            case "a job cannot be ended":
                now.loop.stop()
                now.clock.moment += long
                now.loop.kill()
                self.born_again(with_its_job=True)


@given(st.lists(happenings, max_size=12), st.floats(0.01, 3).map(lambda count: count * HOUR))
@settings(max_examples=40)
def test_a_schedule_finds_back_to_its_times_whatever_happened(
    happened: list[tuple[str, timedelta]], takes: timedelta
) -> None:
    life = Life(takes)
    for what, long in happened:
        life.happens(what, long)
        life.now.loop.step()
    life.takes = timedelta(minutes=1)
    life.now.days(3)
    before = len(life.now.works)
    life.now.days(2)
    recent = [work.job.name for work in life.now.works[before:]]
    expected = {"backup": 8, "prune": 2, "verify": 6} if life.jobs is JOBS else {"backup": 12, "prune": 2, "drill": 6}
    for name, count in expected.items():
        assert abs(recent.count(name) - count) <= 1, (name, recent)
