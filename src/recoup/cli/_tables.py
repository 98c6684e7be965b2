"""Reports as tables for people: pure functions, fit for 80 columns."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from recoup.model.figures import age, counted, duration, size
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.model.manifest import Manifest, SourceRecord
    from recoup.model.reports import (
        BackupReport,
        CopyReport,
        Damage,
        DrillReport,
        RepairReport,
        RestoreReport,
        VerifyReport,
    )
    from recoup.model.sharing import Sent
    from recoup.operations import backup, copy, doctor, repair, restore
    from recoup.operations.prune import PrunePlan

_DAMAGE = 50  # lines of damage shown of one set

_STYLE = {
    "complete": "green",
    "suspicious": "yellow",
    "incomplete": "yellow",
    "failed": "red",
    "absent": "dim",
    "ok": "green",
    "warning": "yellow",
    "error": "red",
    "keep": "green",
    "remove": "red",
}


def word(text: str) -> Text:
    """A word in its colour; the word alone says it, too."""
    return Text(text, style=_STYLE.get(text, ""))


def _table(*columns: str, right: Sequence[str] = (), fold: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        wraps = column in fold
        table.add_column(column, justify="right" if column in right else "left", no_wrap=not wraps, overflow="fold")
    return table


def _cells(values: Iterable[object]) -> list[Text]:
    return [value if isinstance(value, Text) else Text(shown(str(value))) for value in values]


def backup_plan(plan: "backup.Plan") -> Table:
    """`backup --dry-run`."""
    table = _table("Source", "Kind", "Size", "Remark", right=("Size",), fold=("Remark",))
    for row in plan.rows:
        remark = row.problem or ("" if row.present else "absent, optional")
        table.add_row(*_cells((row.source, row.kind, size(row.bytes) if row.present else "-", remark)))
    return table


def backup_report(report: "BackupReport") -> Table | None:
    """`backup`."""
    if report.manifest is None:
        return None
    return sources(report.manifest)


def sources(manifest: "Manifest") -> Table:
    """The sources of a set."""
    table = _table("Source", "Kind", "Outcome", "Size", "Stored", "Remark", right=("Size", "Stored"), fold=("Remark",))
    for name, record in manifest.sources.items():
        stored = size(record.stored_bytes) if record.parts else "-"
        plain = size(record.bytes) if record.parts else "-"
        table.add_row(*_cells((name, record.kind, word(record.outcome), plain, stored, _remark(record))))
    return table


def _remark(record: "SourceRecord") -> str:
    if record.error:
        return record.error
    return counted(record.finding_count, "finding") if record.finding_count else ""


def backup_target(target: "backup.Target", *, alone: bool) -> str:
    """A line of `backup --dry-run`: whether a repository has room."""
    where = "" if alone else f"{target.repository}: "
    if target.problem:
        return f"{where}nothing can be stored: {target.problem}"
    sentence = f"would need about {size(target.needed_bytes)}; {size(target.free_bytes)} are free."
    return where + (sentence[0].upper() + sentence[1:] if alone else sentence)


def summary(report: "BackupReport") -> Iterator[str]:
    """The last lines of `backup`: one for each repository."""
    manifest = report.manifest
    if manifest is None:
        yield "Nothing was stored."
    spread = "" if manifest is None or manifest.spread_ms is None else f", frozen within {manifest.spread_ms} ms"
    for copy in report.repositories:
        if copy.set:
            stored = f"{size(copy.stored_bytes)} stored in {copy.repository}"
            yield f"{copy.set}: {copy.outcome}, {stored} in {duration(report.seconds)}{spread}."
        elif copy.error:
            yield f"{copy.repository} has NOT got it: {shown(copy.error)}"
        yield from (f"{copy.repository} has not got {name}: {shown(why)}" for name, why in copy.left_out.items())
        if copy.prune_error:
            yield f"{copy.repository} was not pruned: {shown(copy.prune_error)}"


def copy_plan(plan: "copy.Plan") -> Table:
    """`copy --dry-run`."""
    table = _table("Set", "Size", "What happens", right=("Size",), fold=("What happens",))
    for row in plan.rows:
        what = f"{plan.target} has it already, as {row.there}" if row.there else row.problem or "is copied"
        table.add_row(*_cells((row.set, size(row.bytes), what)))
    return table


def sent(found: "Sent") -> str:
    """What goes over as it is stored."""
    packs = f"{counted(found.files, 'pack')} of {size(found.file_bytes)} as they are"
    chunks = (
        f", and {counted(found.chunks, 'chunk')} of {size(found.chunk_bytes)} by themselves" if found.chunks else ""
    )
    return f"Both have the same keys: {packs}{chunks}."


def copy_report(report: "CopyReport") -> Iterator[str]:
    """`copy`."""
    for one in report.sets:
        if one.error:
            yield f"{one.set} was NOT copied: {shown(one.error)}"
        elif not one.there:
            called = "" if one.copy == one.set else f" as {one.copy}"
            how = "" if one.sent is None else f" by sending {size(one.sent.bytes)}"
            yield f"{one.set}: {size(one.bytes)} copied{called}{how} in {duration(one.seconds)}"
    copied = counted(sum(bool(one.copy) and not one.there for one in report.sets), "set")
    there = counted(sum(one.there for one in report.sets), "set")
    yield f"{copied} copied from {report.origin} to {report.target}; {there} there already."


def damage(found: "Damage") -> str:
    """What is wrong with one file: its name once, which most sentences have already."""
    item, message = shown(found.item), shown(found.message)
    return f"{found.kind}: {message}" if item in message else f"{found.kind}: {item}: {message}"


def repair_plan(rows: "Sequence[repair.Row]", helper: str) -> Iterator[str]:
    """`repair --dry-run`."""
    for row in rows:
        if not row.damage:
            continue
        copy = f"; {helper} has it as {row.helper}" if row.helper else f"; {helper} has no copy of it" if helper else ""
        yield f"{row.set} in {row.repository}: {len(row.damage)} damaged{copy}"
        yield from (f"  {damage(found)}" for found in row.damage[:_DAMAGE])
    yield f"{counted(sum(bool(row.damage) for row in rows), 'set')} of {len(rows)} damaged."


def repair_report(reports: "Sequence[RepairReport]") -> Iterator[str]:
    """`repair`."""
    for report in reports:
        if not report.repaired and not report.left:
            continue
        state = "whole again" if not report.left else f"STILL damaged in {counted(len(report.left), 'place')}"
        files = counted(len(report.repaired), "file")
        by = f" by {report.helper}" if report.helper else ""
        yield f"{report.set} in {report.repository}: {files} mended{by}, {state}"
        yield from (f"  {shown(reason)}" for reason in report.reasons)
        yield from (f"  {damage(found)}" for found in report.left[:_DAMAGE])
    whole = sum(not report.left for report in reports)
    yield f"{whole} of {counted(len(reports), 'set')} whole."


def facts(record: "SourceRecord") -> Table:
    """What a correct copy of a source must show."""
    table = _table("Subject", "Fact", "Value", fold=("Subject", "Value"))
    values = record.facts.values if record.facts else {}
    for subject, named in values.items():
        for name, value in named.items():
            table.add_row(*_cells((subject, name, value)))
    return table


def verify_reports(reports: "Sequence[VerifyReport]") -> Table:
    """`verify`."""
    several = len({report.repository for report in reports}) > 1
    place = ("Repository",) if several else ()
    table = _table(
        "Set", *place, "Files", "Read", "Share", "Result", right=("Files", "Read", "Share"), fold=("Result",)
    )
    for report in reports:
        where = (report.repository or "?",) if several else ()
        read = (f"{report.files:,}", size(report.bytes), f"{report.share:.0%}")
        table.add_row(*_cells((report.set, *where, *read, _verified(report))))
    return table


def _verified(report: "VerifyReport") -> Text:
    """Green only where all of a good set was read: of the others it says what they lack."""
    if report.damage:
        return Text(f"{len(report.damage)} damaged", style="red")
    flaw = report.outcome if report.outcome in ("incomplete", "suspicious") else ""
    whole = report.share == 1.0 and not report.unseen
    what = "intact" if whole else "no damage found"
    return Text(f"{what}, {flaw} set" if flaw else what, style="green" if whole and not flaw else "yellow")


def drill_report(report: "DrillReport") -> Table:
    """`drill`."""
    table = _table(
        "Source",
        "Restored",
        "Rate",
        "Compared",
        "Expected",
        "Found",
        right=("Restored", "Rate"),
        fold=("Compared", "Expected", "Found"),
    )
    for source in report.sources:
        rate = f"{size(source.bytes / source.seconds)}/s" if source.seconds else "-"
        first = (source.source, size(source.bytes), rate)
        if source.error:
            table.add_row(*_cells((*first, Text("FAILED", style="bold red"), "", source.error)))
            continue
        differing = [c for c in source.comparisons if not c.equal]
        table.add_row(*_cells((*first, counted(len(source.comparisons), "value"), "equal", _verdict(len(differing)))))
        for line in differing[:20]:
            table.add_row(
                *_cells(
                    ("", "", "", f"{line.subject}: {line.name}", line.expected, Text(shown(line.found), style="red"))
                )
            )
    return table


def _verdict(differing: int) -> Text:
    return Text(f"{differing} differ", style="bold red") if differing else Text("equal", style="green")


def restore_plan(plan: "restore.Plan", *, several: bool = False) -> str:
    """`restore --dry-run`, and what is shown before a restore in place. Lines, since paths are long.

    Args:
        plan: what will be done.
        several: whether there are several repositories to restore from.
    """
    lines = [shown(note) for note in plan.notes]
    for row in plan.rows:
        where = f" in {row.repository}" if several else ""
        most = "at most " if row.at_most else ""
        lines.append(f"{row.source} ({most}{size(row.bytes)}) from {row.set}{where}")
        lines.append(f"  to {shown(row.target)}")
        if row.present:
            lines.append(f"  there now: {shown(row.present)}. {shown(row.consequence)}")
        lines += [f"  {number}. {shown(step)}" for number, step in enumerate(row.steps, 1)]
    return "\n".join(lines)


def restore_report(report: "RestoreReport") -> str:
    """`restore`."""
    lines = []
    for source in report.sources:
        lines += [f"{source.source}: not from {shown(reason)}" for reason in source.fell_back]
        if source.error:
            lines.append(f"{source.source} was NOT restored: {shown(source.error)}")
            continue
        where = f" from {source.repository}" if source.fell_back else ""
        lines.append(f"{source.source}: {size(source.bytes)} restored{where} to {shown(source.target)}")
        lines += [f"  {what}: {count:,}, as recorded" for what, count in source.counted.items()]
        if source.kept:
            lines.append(f"  what was there is kept as {shown(source.kept)}")
    return "\n".join(lines)


def prune_plan(plan: "PrunePlan", now: datetime) -> Table:
    """`prune`."""
    table = _table("Set", "Age", "Size", "Verdict", "Reasons", right=("Size",), fold=("Reasons",))
    for row in plan.rows:
        old = age((now - row.time).total_seconds())
        table.add_row(
            *_cells((row.set, old, size(row.bytes), word("keep" if row.keep else "remove"), ", ".join(row.reasons)))
        )
    return table


def doctor_report(report: "doctor.Report") -> Table:
    """`doctor`."""
    table = _table("", "Subject", "Finding", fold=("Finding",))
    for finding in report.findings:
        text = f"{finding.message}. {finding.hint}" if finding.hint else finding.message
        table.add_row(*_cells((word(finding.severity), finding.subject, text)))
    return table
