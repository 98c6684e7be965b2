"""When a job is due: pure functions of a moment. All moments are UTC; a time zone says when a clock on the wall shows a time."""

import hashlib
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from cronsim import CronSim, CronSimError

from recoup.errors import ConfigError
from recoup.model.structs import Struct

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ADVICE = 'Write five fields, minute, hour, day, month and day of the week, as in "0 2 * * *" for each night at two.'
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_MOST_COUNTED = 1000
_BACK = tuple(
    timedelta(days=days) for days in (0.05, 1, 32, 367, 8 * 367, 30 * 366)
)  # leap days are up to 8 years apart


class Times(Protocol):
    """The moments at which a job is due, without jitter."""

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment; None when there will be none."""
        ...

    def until(self, moment: datetime) -> datetime | None:
        """The last one that is not after a moment; None when there was none."""
        ...


def checked(expression: str) -> str:
    """A cron expression that is right and fits some day, as it is.

    Raises:
        ConfigError: it is wrong; message and hint say how.
    """
    five = _five_fields(expression)
    try:
        next(CronSim(five, _SOME_DAY))
    except CronSimError as error:
        raise ConfigError(f"'{expression}' is not what cron takes ({str(error).lower()})", _ADVICE) from None
    except StopIteration:
        raise ConfigError(f"'{expression}' fits no day at all", _ADVICE) from None
    return expression


def _five_fields(expression: str) -> str:
    text = _NICKNAMES.get(expression.strip().lower(), expression)
    if len(text.split()) != 5:
        raise ConfigError(f"'{expression}' is not what cron takes (wrong number of fields)", _ADVICE)
    return text


class Cron(Struct):
    """The times of a cron expression in a time zone.

    As Debian's cron does, a time that is skipped when clocks go forward comes at the first moment after the gap, and one that
    is repeated when they go back comes at its first appearance; expressions whose minute or hour begins with `*` follow the
    elapsed time instead.

    Attributes:
        expression: five fields, or a nickname such as `@daily`.
        zone: in which the fields are read.
    """

    expression: str
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment; None when there will be none within 50 years."""
        for found in CronSim(_five_fields(self.expression), moment.astimezone(self.zone)):
            due = found.astimezone(UTC)
            if due > moment:  # in the hour that clocks repeat, the first appearance of a later time lies before
                return due
        return None

    def until(self, moment: datetime) -> datetime | None:
        """The last one that is not after a moment; None when there was none in the 30 years before."""
        for back in _BACK:
            due = self.after(moment - back)
            if due is not None and due <= moment:
                return self._last(due, moment)
        return None

    def _last(self, due: datetime, moment: datetime) -> datetime:
        while (later := self.after(due)) is not None and later <= moment:
            due = later
        return due


class Interval(Struct):
    """Times in a fixed distance, counted from one moment, so that they do not drift with how long runs take.

    Attributes:
        every: the distance.
        anchor: the first time.
    """

    every: timedelta
    anchor: datetime

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment."""
        return (
            self.anchor
            if moment < self.anchor
            else self.anchor + ((moment - self.anchor) // self.every + 1) * self.every
        )

    def until(self, moment: datetime) -> datetime | None:
        """The last one that is not after a moment; None before the first."""
        return None if moment < self.anchor else self.anchor + ((moment - self.anchor) // self.every) * self.every


class Later(Struct):
    """Times moved by a jitter.

    Attributes:
        times: those without it.
        by: how much later.
    """

    times: Times
    by: timedelta

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment; None when there will be none."""
        due = self.times.after(moment - self.by)
        return None if due is None else due + self.by

    def until(self, moment: datetime) -> datetime | None:
        """The last one that is not after a moment; None when there was none."""
        due = self.times.until(moment - self.by)
        return None if due is None else due + self.by


def jitter(longest: timedelta, *names: str) -> timedelta:
    """How much later a job runs: whole seconds from 0 to `longest`, always the same for the same names.

    Args:
        longest: the most.
        names: whose jitter it is: host, stack and job.
    """
    number = int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8])
    return timedelta(seconds=number % (int(longest.total_seconds()) + 1))


def passed(times: Times, since: datetime, now: datetime) -> tuple[datetime | None, int]:
    """The newest time in (`since`, `now`], None where there is none; and how many there are, counted up to 1000."""
    newest, count, due = None, 0, times.after(since)
    while due is not None and due <= now:
        newest, count = due, count + 1
        if count == _MOST_COUNTED:
            return times.until(now), count
        due = times.after(due)
    return newest, count
