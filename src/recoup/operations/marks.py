"""Marks: what a person says about a set after it was stored. The set itself never changes."""

from datetime import UTC, datetime

from recoup.errors import UsageError
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.repository._base import Repository


def pin(
    repository: Repository, name: SetName, reason: str, until: datetime | None, now: datetime, host: str = ""
) -> None:
    """Protects a set from retention; the newest pin counts.

    Args:
        repository: where the set is.
        name: the set.
        reason: why, for people, without secrets.
        until: when the protection ends by itself (with time zone); None is never.
        now: the present moment.
        host: this machine's name.

    Raises:
        UsageError: `until` has passed already, so that nothing would be protected.
    """
    if until is not None and until <= now:
        raise UsageError(f"the pin of {name} would have ended at {until.isoformat()}", "Give a time in the future.")
    end = {} if until is None else {"until": until.astimezone(UTC).isoformat()}
    repository.mark(name, Mark("pin", now, host, {"reason": reason, **end}))


def unpin(repository: Repository, name: SetName, now: datetime, host: str = "") -> None:
    """Ends a set's protection; harmless when there is none."""
    repository.mark(name, Mark("unpin", now, host))


def note(repository: Repository, name: SetName, text: str, now: datetime, host: str = "") -> None:
    """Adds a note to a set.

    Raises:
        UsageError: it is empty.
    """
    if not text.strip():
        raise UsageError(f"the note for {name} is empty", "Give it a text.")
    repository.mark(name, Mark("note", now, host, {"text": text}))


def accept(repository: Repository, name: SetName, now: datetime, host: str = "") -> None:
    """Lets a suspicious set count as good.

    Raises:
        UsageError: it is not suspicious: a complete set is good already, an incomplete one lacks something.
        RefusedError: its manifest cannot be read.
    """
    outcome = repository.manifest(name).outcome
    if outcome != "suspicious":
        hint = "It is good already." if outcome == "complete" else "What it lacks does not come by accepting it."
        raise UsageError(f"{name} is {outcome}; only a suspicious set can be accepted", hint)
    repository.mark(name, Mark("accepted", now, host))
