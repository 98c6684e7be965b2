"""The settings of `watch:`: from when on something is a problem."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from recoup.config._durations import Duration
from recoup.config._faults import Fault, unknown_word
from recoup.config._group import Group, Name
from recoup.config._tree import Node, child
from recoup.storage._object_options import Size

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of something, 0 to 1."""


class SourceWatchSettings(Group):
    """What is different for one source."""

    max_age: Duration | None = Field(None, description="How old its newest good copy may become.")
    shrink: Share | None = Field(None, description="The share of the usual below which a copy is suspicious.")


class WatchSettings(Group):
    """From when on something is a problem, for `recoup status`."""

    max_age: Duration = Field(
        "24h",
        validate_default=True,
        description="How old the newest good copy of a source may become; while a backup runs, a quarter more. Where it is not "
        "set, a source that `schedule` takes less often than each day may become a quarter older than that distance.",
    )
    shrink: Share = Field(
        0.5,
        description="A source that holds less than this share of the median of its last ten good copies, or nothing, is stored "
        "and marked suspicious, until `recoup accept SET`. With 0 only what is empty is suspicious.",
    )
    prune_age: Duration | None = Field(
        None,
        description="How old the last prune that went well may become. Without it, twice the distance of its line in `schedule`.",
    )
    verify_age: Duration | None = Field(None, description="The same for `verify`.")
    drill_age: Duration | None = Field(None, description="The same for `drill`.")
    min_free: Size | None = Field(
        None,
        description="Space that a repository's storage has to have left, such as 20GB. That the next backup has room is looked "
        "at in any case.",
    )
    days_until_full: Annotated[float, Field(ge=0)] = Field(
        7.0, description="Days that the free space has to last at the present growth; 0 does not look."
    )
    sources: Mapping[Name, SourceWatchSettings] = Field(
        default_factory=dict, description="What is different for some sources, by name."
    )


def faults(settings: WatchSettings, found: Node | None, sources: frozenset[str]) -> Iterator[Fault]:
    """Names in `watch.sources` that no source has.

    Args:
        settings: the settings.
        found: the node of `watch`.
        sources: names of all sources, also of those that have mistakes of their own.
    """
    group = child(found, "sources") if found else None
    for name in settings.sources:
        node = child(group, name) if group else None
        if node is not None and name not in sources:
            advice = unknown_word(name, sorted(sources)) if sources else "There is no source at all."
            yield Fault(node.place, ("watch", "sources", name), "is no configured source", advice)
