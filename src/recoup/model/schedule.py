"""What is known of a scheduled job."""

from datetime import datetime

from recoup.model.structs import Struct


class JobState(Struct):
    """One line of `schedule:` and what became of its last run. Times are UTC.

    Attributes:
        name: the line's name.
        run: the verb.
        sources: the sources that the line names; empty for all.
        next_due: when it is to run next, jitter included; in the past while it waits for its turn or nothing runs the
            schedule. None where no time will ever fit.
        last_due: the time for which the last run was begun; None when there was none.
        started: begin of the last run; None when there was none.
        finished: its end; None while it runs, when there was none, and as long as nobody has noticed that it died.
        exit_code: what it returned, negative the number of the signal that ended it; None while it runs, when there was
            none, and when it is not known since the machine or the scheduler ended first.
        missed: how many times were left out in all, since nothing ran the schedule or the run before took too long.
        running: whether it runs now.
    """

    name: str
    run: str
    sources: tuple[str, ...] = ()
    next_due: datetime | None = None
    last_due: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int | None = None
    missed: int = 0
    running: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether the last run ended without anybody seeing how: the machine or the scheduler ended first."""
        return self.started is not None and not self.running and self.exit_code is None
