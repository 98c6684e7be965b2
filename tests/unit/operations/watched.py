"""Sets as `status` and the shrink gate see them, made in a line."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from recoup.model.facts import Facts
from recoup.model.manifest import Host, Manifest, SourceOutcome, SourceRecord, StoredPart, outcome_of
from recoup.model.marks import Standing
from recoup.model.names import SetName
from recoup.model.reports import SetInfo

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def record(
    size: int = 100, outcome: SourceOutcome = "complete", counts: Mapping[str, int] | None = None
) -> SourceRecord:
    part = StoredPart("it", "stream", "it", size, size, "0" * 64)
    facts = Facts({"table main.documents": counts}) if counts else None
    return SourceRecord("files", outcome, parts=(part,) if outcome != "failed" else (), facts=facts)


def a_set(
    ago: timedelta,
    sources: Mapping[str, SourceRecord] | None = None,
    *,
    repository: str = "local",
    stack: str = "shop",
    standing: Standing | None = None,
) -> SetInfo:
    """One that was begun so long before `NOW`."""
    name = SetName.at(NOW - ago)
    records = {"chat": record()} if sources is None else dict(sources)
    manifest = Manifest(
        id="0" * 32,
        name=str(name),
        stack=stack,
        host=Host("host", "system"),
        recoup="0",
        python="3",
        started=name.time,
        finished=name.time,
        outcome=outcome_of(records),
        requested=tuple(sorted(records)),
        sources=records,
    )
    return SetInfo(repository, str(name), manifest, standing or Standing())


def daily(*sizes: int) -> list[SetInfo]:
    """A set each day, the last one an hour ago; sizes from the oldest to the newest."""
    return [a_set(HOUR + DAY * (len(sizes) - number), {"chat": record(size)}) for number, size in enumerate(sizes, 1)]
