"""`diff` for people. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from recoup.model.figures import counted, size
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.operations.diff import DiffReport, MemberChanges, PartChange
    from recoup.repository._base import ChunkSum

FEW = 20
"""Names of members that are shown of one folder."""

_SIGNS = {"added": "+", "removed": "-", "changed": "*", "same": "=", "unknown": "?"}


def lines(report: "DiffReport", named: int | None = FEW) -> Iterator[str]:
    """A line for each part that is not the same, members of folders below it, and sums.

    Args:
        report: what was found.
        named: how many members are named of one folder; None is all that the report has.
    """
    where = "" if report.before_in == report.after_in else f" in {report.before_in}"
    yield f"From {report.before}{where} to {report.after} in {report.after_in}:"
    for source, outcomes in report.outcomes.items():
        first, second = (outcome or "not there" for outcome in outcomes)
        yield f"! {shown(source)}: {first} before, {second} now"
    for part in report.parts:
        if part.change != "same":
            yield from _part(part, named)
    yield _sum(report)
    if report.added is not None and report.removed is not None:
        yield _chunks(report.added, f"{report.after} has and {report.before} has not")
        yield _chunks(report.removed, f"{report.before} has and {report.after} has not")


def _part(part: "PartChange", named: int | None) -> Iterator[str]:
    name = shown(part.source if part.part == "." else f"{part.source}/{part.part}")
    sizes = [size(count) for count in (part.before, part.after) if count is not None]
    change = " -> ".join(dict.fromkeys(sizes)) if part.before != part.after else sizes[0]
    unknown = "; nothing says whether the content is the same" if part.change == "unknown" else ""
    yield f"{_SIGNS[part.change]} {name}  {change}{unknown}"
    if part.members is not None and part.change != "unknown":
        yield from _members(part.members, named)


def _members(members: "MemberChanges", named: int | None) -> Iterator[str]:
    if members.none:
        yield "    the contents differ, in files whose sizes and times are the same"
        return
    how = "" if members.by_content else " (by sizes and times)"
    yield f"    {members.added:,} new, {members.removed:,} gone, {members.changed:,} changed{how}"
    shown_of = members.named[:named]
    for one in shown_of:
        yield f"    {_SIGNS[one.change]} {shown(one.name)}"
    if more := members.added + members.removed + members.changed - len(shown_of):
        yield f"      and {more:,} more"


def _sum(report: "DiffReport") -> str:
    words = {"added": "new", "removed": "gone", "changed": "changed", "unknown": "not known", "same": "the same"}
    found = [f"{count:,} {word}" for change, word in words.items() if (count := report.count(change))]  # type: ignore[arg-type]
    return f"{counted(len(report.parts), 'part')}: {', '.join(found)}." if found else "Neither set has anything."


def _chunks(chunks: "ChunkSum", whose: str) -> str:
    lost = f"; {chunks.missing:,} more missing in the repository: run `recoup verify`" if chunks.missing else ""
    return f"{counted(chunks.chunks, 'chunk')} of {size(chunks.bytes)} that {whose}; they take {size(chunks.stored_bytes)}{lost}."
