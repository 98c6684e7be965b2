"""Selection: what sets there are, and which one a person means."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from recoup.errors import NoSuchSetError, RecoupError, UsageError
from recoup.model.marks import standing
from recoup.model.names import SetName
from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.repository._base import Overview, Repository

_MOMENT = re.compile(
    r"(?P<day>now|today|yesterday|\d{4}-\d\d-\d\d)"
    r"(?:[ T]+(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?)?"
    r" *(?P<zone>Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_SHORT_NAME = re.compile(r"\d{8}_[\d_]*")  # a set's name without `backup_`
_SHOWN = 5  # matches named in an error


def listing(repository: Repository, now: datetime, *, copies: bool = True) -> list[SetInfo]:
    """All sets with what was learned about them, oldest first; one whose manifest cannot be read carries its problem.

    Args:
        repository: where to look.
        now: the present moment; pins end.
        copies: whether copies of manifests will do, which is faster on object stores; not where sets are to be removed.
    """
    overview = repository.overview(copies=copies)
    overview.expect_all()
    infos = (_info(repository.name, overview, name, now) for name in sorted(overview.names))
    return [info for info in infos if info is not None]


def newest_first(repository: Repository, now: datetime) -> Iterator[SetInfo]:
    """The sets of a repository, the newest first; each is read when it is asked for.

    Args:
        repository: where to look.
        now: the present moment; pins end.
    """
    overview = repository.overview()
    for name in sorted(overview.names, reverse=True):
        if (info := _info(repository.name, overview, name, now)) is not None:
            yield info


def _info(repository: str, overview: Overview, name: SetName, now: datetime) -> SetInfo | None:
    learned = standing(overview.marks(name), now)
    text = str(name)
    try:
        return SetInfo(repository, text, overview.manifest(name), learned)
    except NoSuchSetError:  # deleted since its name was read
        return None
    except RecoupError as error:
        return SetInfo(repository, text, None, learned, error.message)
    except OSError as error:
        return SetInfo(repository, text, None, learned, f"it cannot be read: {error.strerror or error}")


def is_good(info: SetInfo) -> bool:
    """True for a set that lacks nothing: complete, or suspicious and accepted."""
    return info.manifest is not None and _good(info.manifest.outcome, accepted=info.standing.accepted)


def holds(info: SetInfo, source: str) -> bool:
    """True when a set has a good copy of a source; an optional source that was absent is none."""
    record = info.manifest.sources.get(source) if info.manifest else None
    return record is not None and _good(record.outcome, accepted=info.standing.accepted)


def _good(outcome: str, *, accepted: bool) -> bool:
    return outcome == "complete" or (accepted and outcome == "suspicious")


def holdings(infos: Iterable[SetInfo], sources: Iterable[str]) -> dict[str, SetInfo]:
    """The newest set that has a good copy, for each source; a source without one is left out.

    Args:
        infos: the sets to look in, those of one stack.
        sources: names.
    """
    newest_first = sorted(infos, key=_name_of, reverse=True)
    found = {source: next((i for i in newest_first if holds(i, source)), None) for source in sources}
    return {source: info for source, info in found.items() if info is not None}


def sources_of(infos: Iterable[SetInfo], configured: Iterable[str]) -> list[str]:
    """The sources that a stack has: those configured, or, when there are none, all that some set was asked for."""
    return sorted(configured) or sorted({name for info in infos if info.manifest for name in info.manifest.sources})


class Filter(Struct):
    """Which sets to look at. A set has to meet all that is given; a damaged one meets all but the times.

    Attributes:
        tags: key to value; all of them.
        sources: names; it was asked for all of them.
        stack: whose; any when empty.
        since: not begun before this moment.
        until: not begun after this moment.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    stack: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self != Filter()

    def matches(self, info: SetInfo) -> bool:
        """Whether the filter lets a set pass."""
        begun, manifest = _name_of(info).time, info.manifest
        if (self.since and begun < self.since) or (self.until and begun > self.until):
            return False
        if manifest is None:
            return True
        return (
            all(manifest.tags.get(key) == value for key, value in self.tags.items())
            and set(self.sources) <= set(manifest.sources)
            and self.stack in ("", manifest.stack)
        )


def matching(infos: Iterable[SetInfo], filters: Filter) -> list[SetInfo]:
    """The sets that pass a filter, in their order."""
    return [info for info in infos if filters.matches(info)]


def resolve(
    text: str, infos: Iterable[SetInfo], now: datetime, sources: Sequence[str] | None = None, zone: str = "UTC"
) -> SetInfo:
    """The set that a person means.

    Args:
        text: its name, a unique prefix of it (with or without `backup_`), `latest`, `latest-complete`, `oldest`, or a time:
            then the newest set not after it. A time stands for all that it names: `2026-11-01` for that whole day,
            `yesterday 02:00` for that whole minute, so that a set begun within it is found.
        infos: the sets to choose from.
        now: the present moment.
        sources: where `text` is no name, consider only sets that have a good copy of all of these.
        zone: the time zone of a time without one.

    Raises:
        NoSuchSetError: no set answers to it.
        UsageError: several do, or it is none of the above.
    """
    ordered = sorted(infos, key=_name_of)
    wanted = text.strip()
    if not ordered:
        raise NoSuchSetError(f"there is no set {text!r}: the repository has no sets", "Make one: `recoup backup`.")
    choice = _choice(wanted, now, zone)
    if choice is None:
        name = named(wanted, [_name_of(info) for info in ordered])
        return next(info for info in ordered if _name_of(info) == name)
    fit = [info for info in ordered if choice.fits(info) and all(holds(info, source) for source in sources or ())]
    if not fit:
        copies = f" with a good copy of {' and '.join(sources)}" if sources else ""
        raise NoSuchSetError(f"there is no {choice.what}{copies}", _what_there_is([_name_of(i) for i in ordered]))
    return fit[0] if wanted.lower() == "oldest" else fit[-1]


class _Choice(Struct):
    what: str
    fits: Callable[[SetInfo], bool]


def _choice(text: str, now: datetime, zone: str) -> _Choice | None:
    """What a word or a time asks for; None for a name."""
    match text.lower():
        case "latest" | "oldest":
            return _Choice("set", lambda _: True)
        case "latest-complete":
            return _Choice("complete set", is_good)
        case lowered if _MOMENT.fullmatch(lowered):
            end = end_of(lowered, now, zone)
            return _Choice(f"set that is not after {text}", lambda info: _name_of(info).time <= end)
    return None


def named(text: str, names: Iterable[SetName]) -> SetName:
    """The one of `names` that is called `text`, or the only one that begins so.

    Raises:
        NoSuchSetError: none is.
        UsageError: several begin so.
    """
    ordered = sorted(set(names))  # several repositories may have the same one
    full = f"backup_{text}" if _SHORT_NAME.fullmatch(text) else text
    found = [name for name in ordered if str(name) == full] or [n for n in ordered if full and str(n).startswith(full)]
    if not found:
        raise NoSuchSetError(f"there is no set {text!r}", _what_there_is(ordered))
    if len(found) > 1:
        shown = ", ".join(str(name) for name in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(f"{text!r} could be {len(found)} sets: {shown}{more}", "Type more of the name.")
    return found[0]


def _what_there_is(ordered: Sequence[SetName]) -> str:
    ways = "A set is named by its name or its beginning, latest, latest-complete, oldest, or a time (2026-11-01 02:00)."
    if not ordered:
        return f"There are none. {ways}"
    if len(ordered) == 1:
        return f"There is only {ordered[0]}. {ways}"
    return f"There are {len(ordered)}, from {ordered[0]} to {ordered[-1]}; `recoup list` shows them. {ways}"


def _name_of(info: SetInfo) -> SetName:
    return SetName.parse(info.name) or SetName(datetime.min.replace(tzinfo=UTC))


def begin_of(text: str, now: datetime, zone: str) -> datetime:
    """The first moment (UTC) of what a time names: of a day its midnight.

    Args:
        text: `2026-11-01`, `2026-11-01 02:00`, `2026-11-01T02:00:30+01:00`, `today`, `yesterday 02:00`, `now`.
        now: the present moment.
        zone: the time zone of a time without one.

    Raises:
        UsageError: it is no time.
    """
    return _span(text, now, zone)[0]


def end_of(text: str, now: datetime, zone: str) -> datetime:
    """The last moment (UTC) of what a time names: of a day the one before the next midnight, of a minute its 59th second.

    Arguments and errors as for `begin_of`.
    """
    return _span(text, now, zone)[1] - timedelta(microseconds=1)


def _span(text: str, now: datetime, zone: str) -> tuple[datetime, datetime]:
    """From the first moment of what a time names up to the first one after it."""
    found = _MOMENT.fullmatch(text.strip())
    try:
        if found:
            return _named_span(found, now, zone)
    except (ValueError, OverflowError):  # the 30th of February
        pass
    hint = "Write 2026-11-01, 2026-11-01 02:00, 2026-11-01T02:00:30+01:00, today, or yesterday 02:00."
    raise UsageError(f"{text!r} is not a time", hint)


def _named_span(found: re.Match[str], now: datetime, zone: str) -> tuple[datetime, datetime]:
    if found["day"].lower() == "now":
        return now, now + timedelta(microseconds=1)
    place = _zone(found["zone"], zone)
    day = _day(found["day"].lower(), now.astimezone(place))
    if not found["hour"]:
        midnight = datetime.combine(day, time(), place)
        return midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)
    clock = time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0))
    wall = datetime.combine(day, clock, place)
    # an hour that the end of summer time brings twice is meant both times
    moments = [wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    return min(moments), max(moments) + timedelta(seconds=1 if found["second"] else 60)


def _zone(written: str | None, default: str) -> tzinfo:
    from recoup.retention import zone_of

    if not written:
        return zone_of(default)
    return UTC if written in ("Z", "z") else zone_of(written)


def _day(text: str, now: datetime) -> date:
    match text:
        case "today":
            return now.date()
        case "yesterday":
            return now.date() - timedelta(days=1)
    return date.fromisoformat(text)
