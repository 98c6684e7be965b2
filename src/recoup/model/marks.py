"""Marks: what is learned about a set after it was stored. Append-only; a stored set itself never changes."""

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Literal

from recoup.model.structs import Struct

MarkKind = Literal["pin", "unpin", "note", "proof", "accepted", "restored"]


class Mark(Struct):
    """One thing learned about a set.

    Attributes:
        kind: `pin`/`unpin` (kept whatever the rules say), `note`, `proof` (a drill's or verify's result),
            `accepted` (a suspicious set counts as good), `restored` (it was restored from).
        time: when (UTC).
        host: by which machine.
        fields: details; `reason` and `until` of a pin, `text` of a note, `passed`, `level` and `sources` of a proof, and of a
            passed drill `restore_seconds`, what restoring alone took.
    """

    kind: MarkKind
    time: datetime
    host: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


class Standing(Struct):
    """What a set's marks add up to.

    Attributes:
        pinned: protected from retention now.
        pin_reason: why, as given.
        accepted: a suspicious set that counts as good.
        proven: time of the newest passed drill of all its sources, None when there was none.
        failed_proof: time of a failed drill newer than the newest passed one.
        notes: texts, oldest first.
        damaged: time of the newest verify that found damage, if no verify of all its bytes and no drill passed since.
        restore_seconds: how long that newest passed drill took to restore all sources; None where it is not known.
    """

    pinned: bool = False
    pin_reason: str = ""
    accepted: bool = False
    proven: datetime | None = None
    failed_proof: datetime | None = None
    notes: tuple[str, ...] = ()
    damaged: datetime | None = None
    restore_seconds: float | None = None


def standing(marks: Iterable[Mark], now: datetime) -> Standing:
    """Adds marks up in the order of their times. A pin with `until` in the past has ended."""
    pinned, reason, accepted = False, "", False
    proven: datetime | None = None
    failed: datetime | None = None
    damaged: datetime | None = None
    notes: list[str] = []
    restored: float | None = None
    for mark in sorted(marks, key=lambda m: m.time):
        match mark.kind:
            case "pin":
                pinned = not _has_ended(mark.fields.get("until"), now)
                reason = str(mark.fields.get("reason", "")) if pinned else ""
            case "unpin":
                pinned, reason = False, ""
            case "note":
                notes.append(str(mark.fields.get("text", "")))
            case "accepted":
                accepted = True
            case "proof" if mark.fields.get("level") == "drill":
                if not mark.fields.get("passed"):
                    failed = mark.time
                elif mark.fields.get("whole"):
                    proven, failed, damaged = mark.time, None, None
                    restored = _seconds(mark.fields.get("restore_seconds"))
            case "proof" if mark.fields.get("level") == "verify":
                if not mark.fields.get("passed"):
                    damaged = mark.time
                elif mark.fields.get("whole"):
                    damaged = None
            case _:
                pass
    return Standing(pinned, reason, accepted, proven, failed, tuple(notes), damaged, restored)


def _has_ended(until: object, now: datetime) -> bool:
    """Whether a pin's end is over; an end that cannot be read never comes."""
    try:
        return until is not None and until != "" and datetime.fromisoformat(str(until)) <= now
    except (ValueError, TypeError):
        return False


def _seconds(value: object) -> float | None:
    """A length of time that a mark holds; None for what can be none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < float("inf") else None
