"""The only place that reads the clock. Everybody else is handed a `Clock`."""

import contextlib
import time
from datetime import UTC, datetime, tzinfo
from typing import Protocol


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
    """The host's time zone: its IANA name where it can be found, else its present UTC offset such as `+02:00`."""
    import os
    from pathlib import Path

    named = os.environ.get("TZ", "").lstrip(":")
    if named and "/" in named and not named.startswith("/"):
        return named
    target = Path("/etc/localtime").resolve().as_posix()
    if "/zoneinfo/" in target:
        return target.split("/zoneinfo/", 1)[1].removeprefix("posix/").removeprefix("Etc/")
    return datetime.now(UTC).astimezone().strftime("%z") or "UTC"


def local_zone() -> tzinfo:
    """The host's time zone: by its name, else by the system's own file of it, else by its present UTC offset."""
    from pathlib import Path
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    with contextlib.suppress(ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(local_zone_name())
    with contextlib.suppress(ValueError, OSError), Path("/etc/localtime").open("rb") as file:
        return ZoneInfo.from_file(file, "local")
    return datetime.now(UTC).astimezone().tzinfo or UTC
