"""The only place that reads the clock. Everybody else is handed a `Clock`."""

import contextlib
import time
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The present moment, UTC, with time zone."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point; for durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Waits."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits; a signal handler's exception ends it."""
        time.sleep(seconds)


def local_zone_name() -> str:
    """The host's time zone, or that of $TZ: its IANA name where it can be found, else its present UTC offset such as `+0200`."""
    named, place = _told_zone()
    if named:
        return named if _zone(named) else _offset()
    target = place.resolve().as_posix()
    if "/zoneinfo/" in target:
        return target.split("/zoneinfo/", 1)[1].removeprefix("posix/").removeprefix("Etc/")
    return _offset()


def local_zone() -> tzinfo:
    """The host's time zone, or that of $TZ: by its name, else by its file, else by its present UTC offset."""
    from zoneinfo import ZoneInfo

    found = _zone(local_zone_name())
    if found is not None:
        return found
    named, place = _told_zone()
    if not named:
        with contextlib.suppress(ValueError, OSError), place.open("rb") as file:
            return ZoneInfo.from_file(file, "local")
    return datetime.now(UTC).astimezone().tzinfo or UTC


def _told_zone() -> "tuple[str, Path]":
    """What $TZ says, tzset(3): something that is no path, as a name or a rule such as `CET-1CEST`; and else the zone's file."""
    import os
    from pathlib import Path

    told = os.environ.get("TZ", "").removeprefix(":")
    return ("", Path(told)) if told.startswith("/") else (told, Path("/etc/localtime"))


def _zone(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    with contextlib.suppress(ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(name)
    return None


def _offset() -> str:
    return datetime.now(UTC).astimezone().strftime("%z") or "UTC"
