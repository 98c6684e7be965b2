"""What a prune says where sets share their content."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from recoup.model.events import Event, Level
from recoup.model.sharing import Reclaim


def notes(reclaim: Reclaim, alone: int) -> Iterable[str]:
    """Sentences about what a prune would free.

    Args:
        reclaim: what becomes of the repository's space.
        alone: bytes that only the sets use which would go.
    """
    if alone:
        yield f"sets share content; what only those use that go takes {alone:,} bytes"
    yield from _figures(reclaim)


def event(reclaim: Reclaim, now: datetime) -> Event:
    """What a prune freed."""
    sentences = list(_figures(reclaim)) or ["all content is in use"]
    fields = {
        "freed_bytes": reclaim.freed_bytes,
        "later_bytes": reclaim.later_bytes,
        "copied_bytes": reclaim.copied_bytes,
        "lost": reclaim.lost,
        "harmed": reclaim.harmed,
    }
    level = Level.ERROR if reclaim.lost or reclaim.harmed else Level.INFO
    return Event("space_reclaimed", now, "; ".join(sentences), level, fields=fields)


def _figures(reclaim: Reclaim) -> Iterable[str]:
    if reclaim.freed_bytes:
        yield f"{reclaim.freed_bytes:,} bytes of the repository are given back at once"
    if reclaim.later_bytes:
        wait = timedelta(seconds=reclaim.grace_seconds)
        yield f"{reclaim.later_bytes:,} bytes are given back by a prune after the grace time ({_time(wait)})"
    if reclaim.copied_bytes:
        yield f"{reclaim.copied_bytes:,} bytes in use are stored anew for that, beside what goes"
    if reclaim.lost:
        yield f"{reclaim.lost:,} chunks in use are lost: `recoup verify` tells which sets need them"
    if reclaim.harmed:
        yield f"{reclaim.harmed:,} damaged chunks were found; their packs stay: `recoup verify` tells which sets need them"


def _time(wait: timedelta) -> str:
    hours = wait.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours % 24 == 0 and hours != 24 else f"{hours:g} hours"
