"""The sets as the list shows them: which of them a person asked for, and a page at a time."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, tzinfo

from recoup.model.names import SetName
from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.operations.selection import is_good
from recoup.retention import Verdict
from recoup.web._calendar import day_of, month_of

A_PAGE = 100
"""Sets on a page of the list."""

STATES: Mapping[str, Callable[[SetInfo], bool]] = {
    "good": is_good,
    "suspicious": lambda info: _outcome(info) == "suspicious" and not info.standing.accepted,
    "incomplete": lambda info: _outcome(info) == "incomplete",
    "unreadable": lambda info: info.manifest is None,
    "damaged": lambda info: info.standing.damaged is not None,
    "drill failed": lambda info: info.standing.failed_proof is not None,
    "proven": lambda info: info.standing.proven is not None and info.standing.failed_proof is None,
    "not proven": lambda info: info.standing.proven is None,
    "pinned": lambda info: info.standing.pinned,
}
"""What a person can ask for, and what it means."""


class Wanted(Struct):
    """Which sets a person asked for; empty is any. A set has to meet all of it.

    Attributes:
        text: in its name, its notes or its tags, in capitals or not.
        source: it holds something of this one.
        tag: `key=value`, or a key.
        repository: where it is.
        state: one of `STATES`.
        day: begun on it, `2026-11-22`.
        month: the newest month of the calendar, `2026-11`; the list does not go by it.
        page: of the list, from 1.
    """

    text: str = ""
    source: str = ""
    tag: str = ""
    repository: str = ""
    state: str = ""
    day: str = ""
    month: str = ""
    page: int = 1

    @property
    def faults(self) -> tuple[str, ...]:
        """What of it means nothing, a sentence each: then nothing is shown that was not asked for."""
        found = []
        if self.state and self.state not in STATES:
            found.append("There is no such state of a set.")
        if self.day and self.date is None:
            found.append("That is no day: write it as in 2026-11-22.")
        if self.month and month_of(self.month) is None:
            found.append("That is no month: write it as in 2026-11.")
        return tuple(found)

    @property
    def date(self) -> date | None:
        """The day; None without one."""
        try:
            return date.fromisoformat(self.day) if self.day else None
        except ValueError:
            return None

    @property
    def narrows(self) -> bool:
        """Whether some sets may be left out, but for the day."""
        return any((self.text, self.source, self.tag, self.repository, self.state))

    def query(self, **other: object) -> dict[str, str]:
        """It as the query of a URL, with some values changed; what is empty is left out."""
        values = {**vars(self), "page": 1, **other}
        return {name: str(value) for name, value in values.items() if value and (name, value) != ("page", 1)}

    def fits(self, info: SetInfo) -> bool:
        """Whether a set was asked for, its day aside."""
        manifest = info.manifest
        if self.repository and info.repository != self.repository:
            return False
        if self.state and not (self.state in STATES and STATES[self.state](info)):
            return False
        if self.source and (manifest is None or self.source not in manifest.sources):
            return False
        return (not self.tag or _has_tag(info, self.tag)) and (not self.text or self.text.lower() in _texts(info))

    def on_day(self, info: SetInfo, zone: tzinfo) -> bool:
        """Whether a set is of the day that was asked for."""
        return not self.day or day_of(info, zone) == self.date


class Row(Struct):
    """A set in the list.

    Attributes:
        info: the set.
        begun: when, by its name (UTC); None where that does not tell.
        kept: the rules that keep it, or why it stays without any; empty when the next prune may remove it.
    """

    info: SetInfo
    begun: datetime | None
    kept: tuple[str, ...]


def row(info: SetInfo, verdict: Verdict | None) -> Row:
    """A set in the list.

    Args:
        info: the set.
        verdict: what the rules say of it.
    """
    reasons = verdict.reasons if verdict and verdict.keep else ()
    kept = ("stays until somebody deletes it",) if info.manifest is None else reasons
    name = SetName.parse(info.name)
    return Row(info, name.time if name else None, kept)


class Choices(Struct):
    """What there is to choose from.

    Attributes:
        sources: names, of all sets.
        tags: `key=value`, of all sets.
        repositories: names.
    """

    sources: tuple[str, ...]
    tags: tuple[str, ...]
    repositories: tuple[str, ...]

    @classmethod
    def of(cls, infos: Iterable[SetInfo], repositories: Iterable[str]) -> "Choices":
        """That of some sets."""
        manifests = [info.manifest for info in infos if info.manifest is not None]
        sources = {name for manifest in manifests for name in manifest.sources}
        tags = {f"{key}={value}" for manifest in manifests for key, value in manifest.tags.items()}
        return cls(tuple(sorted(sources)), tuple(sorted(tags)), tuple(repositories))


def _outcome(info: SetInfo) -> str:
    return info.manifest.outcome if info.manifest else ""


def _has_tag(info: SetInfo, tag: str) -> bool:
    tags = info.manifest.tags if info.manifest else {}
    return any(tag in (key, f"{key}={value}") for key, value in tags.items())


def _texts(info: SetInfo) -> str:
    manifest = info.manifest
    own = (manifest.note, *(f"{key}={value}" for key, value in manifest.tags.items())) if manifest else ()
    return "\n".join((info.name, *own, *info.standing.notes, info.standing.pin_reason)).lower()
