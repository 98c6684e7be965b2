"""The shrink gate: a source that suddenly holds much less than before is stored, and suspicious until a person accepts it.

An application that lost its data is backed up without any error. Its small sets would push the large ones out by and by,
since retention keeps what is newest: so they do not count as good.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Final

from recoup.errors import RecoupError
from recoup.model.events import Event, Level
from recoup.model.manifest import Finding, SourceRecord
from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.operations._backup_plan import Run
from recoup.operations._vanished import gone, things
from recoup.operations.selection import holds, newest_first
from recoup.repository._base import Repository

REMEMBERED = 10
"""Good copies that make the usual size."""

SHARE: Final = 0.5
"""The share of the usual below which a copy is suspicious, where nothing else is configured."""

LOOKED_AT = 1000
"""Sets that are looked at; for a source that has no good copy in them, but others, all. Else the gate would open by itself
after so many suspicious ones."""

_FINDINGS = 100  # that a record lists
_COUNTED = ("points", "rows", "files")


class Measure(Struct):
    """How large a copy of a source is.

    Attributes:
        bytes: plain.
        counts: points, rows and files, each where the facts have it.
        things: the collections and tables in it.
        set: the set that holds it; empty for one that is only being made.
    """

    bytes: int
    counts: Mapping[str, int] = field(default_factory=dict)
    things: frozenset[str] = frozenset()
    set: str = ""


def measured(record: SourceRecord, set_name: str = "") -> Measure:
    """The size of what a record says is stored."""
    counts: dict[str, int] = {}
    for values in record.facts.values.values() if record.facts else ():
        for name in _COUNTED:
            if isinstance(number := values.get(name), int):
                counts[name] = counts.get(name, 0) + number
    return Measure(record.bytes, counts, things(record), set_name)


def usual(infos: Iterable[SetInfo], sources: Iterable[str]) -> dict[str, list[Measure]]:
    """The sizes of the last good copies of each source, the newest first.

    A copy that was suspicious and is accepted is the last one looked at: from then on, its size is what is usual.

    Args:
        infos: sets, the newest first; no more are taken than are needed.
        sources: names.
    """
    found: dict[str, list[Measure]] = {source: [] for source in sources}
    wanted, tried = set(found), set[str]()
    for number, info in enumerate(infos, 1):
        records = info.manifest.sources if info.manifest else {}
        for source in wanted & records.keys():
            tried.add(source)
            if holds(info, source):
                found[source].append(measured(records[source], info.name))
                if len(found[source]) >= REMEMBERED or records[source].outcome == "suspicious":
                    wanted.discard(source)
        if number >= LOOKED_AT:
            wanted &= {source for source in tried if not found[source]}
        if not wanted:
            break
    return found


def judged(record: SourceRecord, before: Sequence[Measure], share: float) -> SourceRecord:
    """A source's record, suspicious where it holds much less than usual. Pure.

    Args:
        record: what was captured; one that is not whole stays as it is.
        before: sizes of the copies before it.
        share: of the median, below which it is suspicious; nothing at all is, whatever the share.
    """
    if record.outcome not in ("complete", "suspicious") or not before:
        return record
    reasons = _reasons(measured(record), before, share)
    if not reasons:
        return record
    hint = "look whether the application lost data; `recoup accept SET` if it is right"
    finding = Finding("suspicious", "size", f"{', '.join(reasons)}: {hint}")
    return replace(
        record,
        outcome="suspicious",
        error=record.error or f"{finding.item}: {finding.message}",
        findings=(finding, *record.findings[: _FINDINGS - 1]),
        finding_count=record.finding_count + 1,
    )


def _reasons(now: Measure, before: Sequence[Measure], share: float) -> list[str]:
    """What of a copy is suspiciously small, in words."""
    found = []
    for name in ("bytes", *_COUNTED):
        usually = _median([number for one in before if (number := _number(one, name)) is not None])
        number = _number(now, name)
        if not usually or number is None:
            continue
        if number == 0:
            found.append(f"it holds no {name}, and usually {usually:,}")
        elif number < share * usually:
            found.append(f"it holds {number:,} {name}, and usually {usually:,}")
    return found


def _number(measure: Measure, name: str) -> int | None:
    return measure.bytes if name == "bytes" else measure.counts.get(name)


def _median(numbers: Sequence[int]) -> int:
    return round(statistics.median(numbers)) if numbers else 0


class Gate:
    """What is usual in one repository, and what is too little there.

    Args:
        repository: whose sets are looked at.
        run: the surroundings; its shares go for the sources that they name.
        sources: names of the sources of this backup.
    """

    def __init__(self, repository: Repository, run: Run, sources: Iterable[str]) -> None:
        self._repository, self._run = repository, run
        self._before = self._read(tuple(sources))

    def _read(self, sources: Sequence[str]) -> dict[str, list[Measure]]:
        problems = set[str]()  # one that is empty: a set could be read

        def own() -> Iterable[SetInfo]:
            for info in newest_first(self._repository, self._run.clock.now()):
                problems.add(info.problem)
                ours = info.manifest is not None and info.manifest.stack == self._run.stack
                yield info if ours else replace(info, manifest=None)

        try:
            found = usual(own(), sources)
        except (RecoupError, OSError) as error:
            self._tell(str(error))
            return {}
        if problems and "" not in problems:
            self._tell(min(problems))
        return found

    def _tell(self, reason: str) -> None:
        message = f"sizes are not compared with those of earlier sets in {self._repository.name}: {reason}"
        fields = {"repository": self._repository.name}
        self._run.emit(
            Event("history_unread", self._run.clock.now(), self._run.mask(message), Level.WARNING, fields=fields)
        )

    def judge(self, records: Mapping[str, SourceRecord]) -> dict[str, SourceRecord]:
        """The records of a backup's sources, those that hold too little suspicious; each of them is told, and what is gone."""
        done = {}
        for name, record in records.items():
            before = self._before.get(name, ())
            done[name] = judged(record, before, self._run.shrink.get(name, SHARE))
            if done[name] is not record:
                self._report(name, done[name].findings[0], done[name].findings[0].message)
            if before:
                done[name] = self._without(name, done[name], gone(record, before[0].things, before[0].set))
        return done

    def _without(self, source: str, record: SourceRecord, left: Sequence[Finding]) -> SourceRecord:
        """The record with what is gone as harmless findings: that somebody dropped it is no fault of the copy."""
        for finding in left:
            self._report(source, finding, f"{finding.item} {finding.message}")
        findings = (*record.findings, *left)[:_FINDINGS]
        return replace(record, findings=findings, finding_count=record.finding_count + len(left)) if left else record

    def _report(self, source: str, finding: Finding, words: str) -> None:
        fields = {"source": source, "what": finding.what, "item": finding.item, "repository": self._repository.name}
        message = f"{source} in {self._repository.name}: {words}"
        self._run.emit(Event(f"item_{finding.what}", self._run.clock.now(), message, Level.WARNING, fields=fields))
