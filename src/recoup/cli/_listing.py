"""Sets as lines for people, fit for 80 columns. Aligned by hand: Rich takes longer than reading a thousand sets."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from recoup.model.figures import age, size
from recoup.model.names import SetName, shown

if TYPE_CHECKING:
    from recoup.model.reports import SetInfo

_SIZE = 2  # the column of sizes, aligned to the right
_WIDTH = 80  # columns; what does not fit goes below


def sets(infos: "Sequence[SetInfo]", now: datetime) -> str:
    """A line for each set, below a heading. Sizes are of what a set holds: what it takes may be shared with others."""
    rows: list[tuple[str, ...]] = [("Set", "Age", "Size", "Outcome", "Proven", "Sources")]
    rows += [_set_row(info, now) for info in infos]
    if len({info.repository for info in infos}) > 1:
        places = ["Repository", *(info.repository for info in infos)]
        rows = [(*row[:-1], place, row[-1]) for row, place in zip(rows, places, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(_aligned(row, widths) for row in rows)


def _set_row(info: "SetInfo", now: datetime) -> tuple[str, ...]:
    manifest = info.manifest
    if manifest is None:
        begun = SetName.parse(info.name)
        old = age((now - begun.time).total_seconds()) if begun else "?"
        return (shown(info.name), old, "?", "unreadable", "", "")
    held = [name if r.good else f"{name}!" for name, r in manifest.sources.items() if r.outcome != "absent"]
    old = age((now - manifest.started).total_seconds())
    return (shown(info.name), old, size(manifest.bytes), manifest.outcome, _proof(info, now), ", ".join(held))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
    cells[_SIZE] = row[_SIZE].rjust(widths[_SIZE])
    line = "  ".join([*cells, row[-1]]).rstrip()
    if len(line) <= _WIDTH:
        return line
    below = textwrap.fill(row[-1], _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{'  '.join(cells).rstrip()}\n{below}"


def _proof(info: "SetInfo", now: datetime) -> str:
    standing = info.standing
    proven = "" if standing.proven is None else age((now - standing.proven).total_seconds())
    failed = "drill FAILED" if standing.failed_proof else "DAMAGED" if standing.damaged else ""
    words = [failed or proven or "no"]
    if standing.pinned:
        words.append("pinned")
    if standing.accepted:
        words.append("accepted")
    return ", ".join(words)


def _where(info: "SetInfo", infos: "Sequence[SetInfo]") -> str:
    alone = len({one.repository for one in infos}) == 1
    return info.name if alone else f"{info.name} in {info.repository}"


def _unread(infos: "Sequence[SetInfo]") -> Iterator[str]:
    """The sets that cannot be read, those together that have the same reason."""
    found: dict[tuple[str, str], list[SetInfo]] = {}
    for info in infos:
        if info.manifest is None:
            found.setdefault((info.repository, info.problem.removeprefix(f"{info.name}/")), []).append(info)
    for (_, reason), those in found.items():
        if len(those) == 1:
            yield f"{_where(those[0], infos)} cannot be read: {shown(those[0].problem)}"
        else:
            first, last = those[0].name, _where(those[-1], infos)
            yield f"{len(those):,} sets from {first} to {last} cannot be read: {shown(reason)}"


def remarks(infos: "Sequence[SetInfo]") -> list[str]:
    """What stands below `list`."""
    lines = list(_unread(infos))
    if any(not r.good for info in infos if info.manifest for r in info.manifest.sources.values()):
        lines.append("! marks a source that failed or is not whole; `recoup show SET` says why.")
    return lines
