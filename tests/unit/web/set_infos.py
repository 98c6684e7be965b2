"""Sets as a listing has them, made by hand for pure functions; many of them in a real repository; and what pages say."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recoup.model.manifest import Host, Manifest, SourceOutcome, SourceRecord, StoredPart, outcome_of
from recoup.model.marks import Mark, Standing
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.model.reports import SetInfo
from recoup.repository.opening import open_repository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import Given, manifest_of, record_of, store

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def info(
    days: float,
    sizes: Mapping[str, int] | None = None,
    standing: Standing | None = None,
    outcomes: Mapping[str, SourceOutcome] | None = None,
    repository: str = "local",
    id_: str = "",
) -> SetInfo:
    """A set of some days ago.

    Args:
        days: before NOW.
        sizes: bytes by source; `notes` with 100 by default.
        standing: what was learned.
        outcomes: of some sources; complete by default.
        repository: where it is.
        id_: of the cut; one of its own by default.
    """
    moment = NOW - timedelta(days=days)
    records = {
        name: SourceRecord(
            "files",
            (outcomes or {}).get(name, "complete"),
            parts=(StoredPart(".", "stream", f"{name}/data", size, size, "0" * 64),),
        )
        for name, size in ({"notes": 100} if sizes is None else sizes).items()
    }
    name = str(SetName.at(moment))
    manifest = Manifest(
        id_ or name, name, "shop", Host("h", "s"), "0", "3", moment, moment, outcome_of(records), (*records,), records
    )
    return SetInfo(repository, name, manifest, standing or Standing())


def unreadable(days: float) -> SetInfo:
    """A set whose manifest cannot be read."""
    return SetInfo("local", str(SetName.at(NOW - timedelta(days=days))), None, problem="its manifest is damaged")


def add_sets(folder: Path, count: int) -> None:
    """Adds small sets of the source `notes` to a repository, one each hour of the past."""
    repository = open_repository("local", LocalStorage(folder), "tree", "none", None, SystemClock())
    now = SystemClock().now()
    for hours in range(count, 0, -1):
        moment = now - timedelta(hours=hours)
        with repository.begin(moment) as writer:
            part = store(writer, "notes", StreamPart("data", Given(b"x" * hours), hours))
            manifest = manifest_of(writer.name, {"notes": record_of(part)}, moment)
            writer.commit(replace(manifest, stack="shop", id=f"{hours:032x}", tags={}))


def prove(folder: Path) -> None:
    """Notes at all sets of a repository what a drill notes that passed."""
    repository = open_repository("local", LocalStorage(folder), "tree", "none", None, SystemClock())
    fields = {"level": "drill", "passed": True, "whole": True, "restore_seconds": 2.5}
    for name in repository.names():
        repository.mark(name, Mark("proof", SystemClock().now(), "", fields))


def words(html: str) -> str:
    """What a page says, without its marks."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())
