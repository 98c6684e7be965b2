"""Sets and what is in one, as rows of tables."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from recoup.model.figures import age, counted, size
from recoup.model.names import SetName, shown
from recoup.system.clock import local_zone

if TYPE_CHECKING:
    from recoup.model.manifest import Manifest, SourceRecord
    from recoup.model.reports import SetInfo

Row = dict[str, str]


def rows(infos: "Sequence[SetInfo]", now: datetime) -> list[Row]:
    """A row for each set. Sizes are of what a set holds: what it takes may be shared with others.

    Args:
        infos: the sets, in the order of the rows.
        now: the present moment; ages count from it.
    """
    several = len({info.repository for info in infos}) > 1
    return [_row(info, now) | ({"Repository": shown(info.repository)} if several else {}) for info in infos]


def _row(info: "SetInfo", now: datetime) -> Row:
    manifest, named = info.manifest, SetName.parse(info.name)
    begun = manifest.started if manifest else named.time if named else None
    return {
        "Set": shown(info.name),
        "Age": "?" if begun is None else age((now - begun).total_seconds()),
        "Size": "?" if manifest is None else size(manifest.bytes),
        "Outcome": outcome(info),
        "Proven": proof(info, now),
        "Sources": "" if manifest is None else ", ".join(_held(manifest)),
    }


def origin(manifest: "Manifest") -> str:
    """When and where a set was made, in this machine's time zone."""
    return f"Begun {manifest.started.astimezone(local_zone()):%Y-%m-%d %H:%M:%S} on {shown(manifest.host.name)}."


def outcome(info: "SetInfo") -> str:
    """What the backup said of the set, and whether a person accepted or pinned it."""
    if info.manifest is None:
        return "unreadable"
    words = [str(info.manifest.outcome)]
    words += [word for word in ("accepted", "pinned") if getattr(info.standing, word)]
    return ", ".join(words)


def proof(info: "SetInfo", now: datetime) -> str:
    """When a drill showed that all of the set restores; a failure since then comes first."""
    standing = info.standing
    if standing.failed_proof:
        return f"drill FAILED {age((now - standing.failed_proof).total_seconds())}"
    if standing.damaged:
        return f"DAMAGED, found {age((now - standing.damaged).total_seconds())}"
    return "not yet" if standing.proven is None else age((now - standing.proven).total_seconds())


def _held(manifest: "Manifest") -> list[str]:
    """Names of the sources in the set; an exclamation mark stands behind those that are not whole."""
    records = manifest.sources.items()
    return [shown(name) + ("" if record.good else "!") for name, record in records if record.outcome != "absent"]


def parts(manifest: "Manifest") -> list[Row]:
    """A row for each source of a set."""
    return [
        {
            "Source": shown(name),
            "Kind": shown(record.kind),
            "Outcome": record.outcome,
            "Size": size(record.bytes) if record.parts else "-",
            "Remark": shown(_remark(record)),
        }
        for name, record in manifest.sources.items()
    ]


def _remark(record: "SourceRecord") -> str:
    return record.error or (counted(record.finding_count, "finding") if record.finding_count else "")


def problems(infos: "Sequence[SetInfo]") -> list[str]:
    """A sentence for each set that cannot be read."""
    return [f"{info.name} in {info.repository} cannot be read: {info.problem}" for info in infos if not info.manifest]
