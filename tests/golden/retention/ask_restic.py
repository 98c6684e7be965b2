"""Computes the expectations in this folder with the real restic program; the test reads only the JSON files.

Run by hand with restic 0.16 or newer on PATH (0.14, as in Debian 12, does not yet keep the oldest
snapshot while a count is left): `python tests/golden/retention/ask_restic.py` (some minutes). It makes a
throw-away restic repository, one snapshot for each time of each timeline, and asks `restic forget --dry-run` what stays.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = Path(__file__).parent
Keep = Mapping[str, int | str | list[str]]
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def every(step: timedelta, start: str, count: int, zone: str = "UTC") -> Iterator[datetime]:
    """`count` moments from `start` on, `step` apart on the clock that never jumps."""
    first = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))
    return (first + number * step for number in range(count))


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TIMELINES: dict[str, tuple[str, list[datetime]]] = {
    "gap_weeks": (
        "UTC",
        [
            *every(6 * HOUR, "2026-09-01T01:10:00", 24),
            *every(DAY, "2026-08-01T03:00:00", 6),
            *every(7 * DAY, "2026-02-03T03:00:00", 15),
            *every(9 * HOUR, "2026-10-03T00:00:00", 12),
        ],
    ),
    "several_per_hour": ("UTC", list(every(timedelta(minutes=17, seconds=3), "2026-06-30T20:01:00", 40))),
    "year_edge": (
        "UTC",
        [
            *every(13 * HOUR, "2020-12-19T05:00:00", 40),
            *every(12 * HOUR, "2015-12-25T12:00:00", 22),
            *every(DAY, "2024-12-27T23:59:59", 9),
            *every(183 * DAY, "2016-06-01T00:00:00", 15),
        ],
    ),
    "summer_ends": (
        "Europe/Berlin",
        [
            *every(timedelta(minutes=25), "2025-10-25T23:10:00", 14, "Europe/Berlin"),
            *every(23 * HOUR, "2025-10-12T22:40:00", 12, "Europe/Berlin"),
            *every(DAY, "2025-10-27T00:05:00", 7, "Europe/Berlin"),
        ],
    ),
    "summer_begins": (
        "America/New_York",
        [
            *every(timedelta(minutes=20), "2026-03-08T00:30:00", 12, "America/New_York"),
            *every(23 * HOUR, "2026-02-25T23:50:00", 11, "America/New_York"),
            *every(DAY, "2026-03-09T02:30:00", 8, "America/New_York"),
        ],
    ),
    "month_ends": ("UTC", [*every(DAY, "2025-01-24T12:00:00", 67), *every(31 * DAY, "2024-02-29T12:00:00", 9)]),
    "one": ("UTC", list(every(DAY, "2026-05-05T05:05:05", 1))),
    "two_in_a_minute": ("UTC", list(every(timedelta(seconds=30), "2026-05-05T05:05:05", 2))),
}
KEEPS: list[Keep] = [
    *({rule: count} for rule in COUNTS for count in (1, 3, 1000)),
    *({rule: "unlimited"} for rule in COUNTS),
    *({f"within{rule}": length} for rule in ("", *(f"_{r}" for r in COUNTS[1:])) for length in ("30h", "12d", "1m", "1y2m3d4h")),
    {"last": 2, "daily": 7, "weekly": 4, "monthly": 12, "yearly": 5},
    {"hourly": 5, "daily": 2, "within": "3d"},
    {"daily": 3, "within_weekly": "2m"},
    {"last": 1, "within_hourly": "1d", "within_daily": "1m", "within_monthly": "1y"},
    {"weekly": "unlimited", "last": 4},
    {"tags": ["kind=release"], "last": 1},
    {"tags": ["kind=release,by=ann", "by=bob"], "daily": 2},
]  # fmt: skip
RELEASE, BY_ANN, BY_BOB = {"kind": "release"}, {"by": "ann"}, {"by": "bob"}
TAGS: tuple[dict[str, str], ...] = ({}, RELEASE, BY_ANN, {**RELEASE, **BY_ANN}, BY_BOB, {}, {})
"""Given to a timeline's snapshots in turn."""
UTC = ZoneInfo("UTC")


def restic(zone: str, *arguments: str) -> str:
    """Runs restic in a time zone, which it takes from TZ for reading `--time` and for cutting its buckets."""
    environment = {**os.environ, "TZ": zone, "RESTIC_PASSWORD": "none"}
    command = ["restic", "--no-cache", *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def back_up(repository: str, file: str, timeline: str, local: datetime, tags: dict[str, str]) -> None:
    """One snapshot; its time is told in a zone without summer time, so that the hour that comes twice is unambiguous."""
    offset = local.utcoffset() or timedelta()
    zone = f"Etc/GMT{-offset // HOUR:+d}"  # POSIX counts westwards
    named = [f"--tag={key}={value}" for key, value in tags.items()]
    restic(zone, "backup", repository, f"--host={timeline}", f"--time={local:%Y-%m-%d %H:%M:%S}", *named, file)


def flags(keep: Keep) -> list[str]:
    """The rules as restic's arguments."""
    found = []
    for name, value in keep.items():
        flag = "--keep-tag" if name == "tags" else f"--keep-{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        found += [f"{flag}={item}" for item in values]
    return found


def kept(repository: str, zone: str, timelines: list[str], keep: Keep) -> dict[str, list[str]]:
    """Timeline to the times (UTC) that restic keeps."""
    hosts = [f"--host={name}" for name in timelines]
    answer = restic(zone, "forget", repository, "--dry-run", "--json", "--group-by=host", *hosts, *flags(keep))
    return {
        group["host"]: sorted(
            datetime.fromisoformat(snapshot["time"]).astimezone(UTC).isoformat() for snapshot in group["keep"] or ()
        )
        for group in json.loads(answer)
    }


def main() -> None:
    version = restic("UTC", "version").split()[1]
    with tempfile.TemporaryDirectory() as folder:
        repository, file = f"--repo={folder}/repository", f"{folder}/file"
        Path(file).write_text("one file is enough")
        restic("UTC", "init", repository)
        documents: dict[str, dict[str, object]] = {}
        for timeline, (zone, moments) in TIMELINES.items():
            sets = [(moment, TAGS[number % len(TAGS)]) for number, moment in enumerate(sorted(moments))]
            for moment, tags in sets:
                back_up(repository, file, timeline, moment.astimezone(ZoneInfo(zone)), tags)
            listed = [{"time": moment.isoformat(), "tags": tags} for moment, tags in sets]
            documents[timeline] = {"restic": version, "time_zone": zone, "sets": listed, "cases": []}
        for zone in {zone for zone, _ in TIMELINES.values()}:
            timelines = [name for name, (there, _) in TIMELINES.items() if there == zone]
            for keep in KEEPS:
                for timeline, times in kept(repository, zone, timelines, keep).items():
                    documents[timeline]["cases"].append({"keep": keep, "kept": times})  # type: ignore[attr-defined]
        for timeline, document in documents.items():
            (HERE / f"{timeline}.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
