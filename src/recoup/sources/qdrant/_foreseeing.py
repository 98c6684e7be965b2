"""What a restore to a server would do, for the plan that a person reads before agreeing."""

from collections.abc import Iterable, Iterator, Sequence

from recoup.model.names import shown
from recoup.model.part import Part
from recoup.sources._base import Existing, Site
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import restoring
from recoup.sources.qdrant._inventory import look
from recoup.sources.qdrant._preflight import Undertaking
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant._restore import by_collection, undertakings
from recoup.sources.qdrant._restore_options import RestoreOptions


def foresee(parts: Iterable[Part], options: RestoreOptions, servers: Sequence[Server], site: Site) -> Existing:
    """What a restore of these parts would meet and do; reads the collections' records alone.

    Raises:
        RefusedError: the snapshots do not go into this server.
        RestoreError: the options do not fit what is there, or the server cannot be asked.
    """
    with restoring():
        inventory = look(servers, allow_remote=site.allow_remote)
        sizes: dict[str, int] = {}
        plans = undertakings(_measured(parts, sizes), options, inventory, site.clock)
    lines = [f"{shown(plan.record.name)}: {step}" for plan in plans for step in plan.steps]
    if plans:
        lines.append(_room(sum(sizes[plan.record.name] for plan in plans)))
    return Existing(inventory.server.url, bool(_touched(plans)), _described(plans), _consequence(plans), tuple(lines))


def _touched(plans: Sequence[Undertaking]) -> list[Undertaking]:
    """Those that change what somebody else's requests find."""
    return [plan for plan in plans if plan.way in ("alias", "replace", "merge")]


def _described(plans: Sequence[Undertaking]) -> str:
    names = [shown(plan.old) for plan in _touched(plans) if plan.old]
    return f"collections {', '.join(names)}" if names else "nothing under these names"


def _consequence(plans: Sequence[Undertaking]) -> str:
    ways = {plan.way for plan in plans}
    sentences = []
    if "alias" in ways:
        sentences.append(
            "Aliases lead to the restored collections from one moment to the next; the present ones are kept."
        )
    if "replace" in ways:
        sentences.append(
            "A collection that clients ask for by its own name is copied away, deleted, and its name made an alias: "
            "some 10 ms of failing requests, and what is written in between is lost. `recoup qdrant rollback` goes back."
        )
    if "merge" in ways:
        sentences.append("Points of the set overwrite those of the same id; nothing is deleted.")
    return " ".join(sentences) or "Nothing that is there is touched."


def _measured(parts: Iterable[Part], sizes: dict[str, int]) -> Iterator[CollectionRecord]:
    """The records; how many bytes each collection has is noted on the way."""
    for record, rest in by_collection(parts):
        sizes[record.name] = sum(part.size or 0 for part in rest)
        yield record


def _room(size: int) -> str:
    """Qdrant does not tell its free space; what it needs is known: the upload, what is unpacked, and what is there."""
    return f"the server needs about {3 * size:,} bytes of free disk space at its peak; it does not tell what it has"
