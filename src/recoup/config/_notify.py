"""The entries of `notify:`: each is read by its plug's own `Options` (`recoup.sinks`)."""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from recoup.config import _faults
from recoup.config._faults import Fault
from recoup.config._tree import Node, child
from recoup.system import plugs

if TYPE_CHECKING:
    from recoup.sinks._notifying import NotifyOptions

ROOM = "recoup.sinks"

DESCRIPTION = "Whom to tell of what goes wrong, and of runs: a list, each with a `kind`."

SAMPLE = """\
notify:
  - {kind: healthchecks, url: "https://hc-ping.com/UUID"}
  - {kind: apprise, url: "mailtos://USER:PASSWORD@HOST?to=ADDRESS"}
"""
"""Two entries to begin with."""


def kinds() -> tuple[str, ...]:
    """The kinds of sinks that `notify` can name."""
    from recoup.sinks._notifying import NotifyOptions

    found = {kind: plugs.load(ROOM, kind).Options for kind in plugs.kinds(ROOM)}
    return tuple(kind for kind, options in found.items() if issubclass(options, NotifyOptions))


def entries(found: Node | None, faults: list[Fault]) -> Iterator[tuple[int, Node, ModuleType]]:
    """The entries whose shapes are right, with their places in the list and their plugs; faults for the others.

    Args:
        found: what `notify` has; None without it.
        faults: gets what is wrong.
    """
    if found is None or found.value is None:
        return
    if not isinstance(found.value, tuple):
        advice = "Allowed: a list, as in `[{kind: healthchecks, url: https://hc-ping.com/UUID}]`."
        faults.append(Fault(found.place, ("notify",), f"is {_faults.shown(found, secret=True)}", advice))
        return
    for index, node in enumerate(found.value):
        plug = _plug(index, node, faults)
        if plug is not None:
            yield index, node, plug


def _plug(index: int, node: Node, faults: list[Fault]) -> ModuleType | None:
    known = kinds()
    kind = child(node, "kind")
    if kind is None:
        faults.append(Fault(node.place, ("notify", index, "kind"), "is missing", f"Allowed: {', '.join(known)}."))
    elif kind.value not in known:
        word = kind.value if isinstance(kind.value, str) else ""
        shown = _faults.shown(kind)
        faults.append(Fault(kind.place, ("notify", index, "kind"), f"is {shown}", _faults.unknown_word(word, known)))
    else:
        return plugs.load(ROOM, str(kind.value))
    return None


def named(options: "Sequence[NotifyOptions]") -> dict[str, "NotifyOptions"]:
    """The entries by name. One without a name has its kind's; a second one of a kind is `webhook-2`.

    Args:
        options: the entries, in their order.
    """
    found = {one.name: one for one in options if one.name is not None}
    for one in options:
        if one.name is None:
            numbers = (one.kind if number == 1 else f"{one.kind}-{number}" for number in range(1, len(options) + 2))
            found[next(name for name in numbers if name not in found)] = one
    return found


def twins(options: "Sequence[NotifyOptions]", found: Node | None) -> list[Fault]:
    """Faults for names that are given twice."""
    names = [one.name for one in options]
    place = found.place if found is not None else None
    twice = {name for name in names if name is not None and names.count(name) > 1}
    advice = "Give each entry a name of its own."
    return [Fault(place, ("notify",), f"has two entries of the name {name}", advice) for name in sorted(twice) if place]


def strangers(found: Node | None, sources: frozenset[str]) -> Iterator[Fault]:
    """Faults for sources that an entry names and that there are not: its check would wait for a run that never comes.

    Args:
        found: what `notify` has; None without it.
        sources: names of all sources, also of those that have mistakes of their own.
    """
    for index, entry in enumerate(found.value if found is not None and isinstance(found.value, tuple) else ()):
        named = child(entry, "sources")
        for node in named.value if named is not None and isinstance(named.value, tuple) else ():
            if isinstance(node.value, str) and node.value not in sources:
                advice = _faults.unknown_word(node.value, sorted(sources)) if sources else "There is no source at all."
                place = ("notify", index, "sources")
                yield Fault(node.place, place, f"names {node.value}, which is no configured source", advice)
