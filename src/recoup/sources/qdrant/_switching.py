"""Switching: clients that ask for a name get the restored collection, from one moment to the next.

Aliases move by one atomic action; clients see no failed request. Where clients use a collection's own name, it has to be deleted
before an alias can take its name (Qdrant has no rename): some milliseconds of 404.
"""

from collections.abc import Iterator, Mapping, Sequence

from recoup.errors import RestoreError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ServerError
from recoup.sources.qdrant._preflight import Undertaking
from recoup.sources.qdrant._restore_intents import Intents, Replacing
from recoup.sources.qdrant._restore_making import act_on_aliases, drop, lead
from recoup.system.clock import Clock

_TRIES = (0.05, 0.2, 1.0, 3.0)  # seconds between tries to make the alias, when the collection is deleted already


class Ready(Struct):
    """A collection that was restored and checked, and is not yet in its place.

    Attributes:
        plan: what was meant.
        mark: alias that marks it as half made; empty where nothing was made.
    """

    plan: Undertaking
    mark: str = ""


def aliases_of(server: Server) -> dict[str, str]:
    """Alias to collection."""
    listed = (server.get(at("aliases")) or {}).get("aliases", ())
    return {str(one["alias_name"]): str(one["collection_name"]) for one in listed}


def move_aliases(server: Server, ready: Sequence[Ready]) -> None:
    """Moves the aliases of all collections that are switched by aliases alone, and removes their marks: one atomic action.

    Clients see all of it or nothing; but when one step fails, Qdrant leaves those before it done, so they are undone here.
    The marks go last, so that what is undone is still known to be half made.

    Raises:
        RestoreError: the server did not do it; everything leads where it led.
    """
    moving = [one for one in ready if one.plan.way != "replace"]
    moves = [action for one in moving for action in _moves(one.plan)]
    marks = [drop(one.mark) for one in moving if one.mark]
    try:
        before = aliases_of(server)
        try:
            act_on_aliases(server, [*moves, *marks])
        except ServerError:
            _undo(server, moving, before)
            raise
        present = aliases_of(server)
    except ServerError as error:
        raise RestoreError(f"the aliases were not switched: {error.message}", error.hint) from None
    for one in moving:
        for alias in one.plan.aliases:
            if present.get(alias) != one.plan.into:
                raise RestoreError(f"the alias {shown(alias)} does not lead to {shown(one.plan.into)} after the switch")


def _moves(plan: Undertaking) -> Iterator[dict[str, object]]:
    for alias in plan.aliases:
        yield drop(alias)
        yield lead(alias, plan.into)


def _undo(server: Server, moving: Sequence[Ready], before: Mapping[str, str]) -> None:
    """Lets the aliases lead where they led."""
    actions = []
    for alias in sorted({alias for one in moving for alias in one.plan.aliases}):
        actions.append(drop(alias))
        if alias in before:
            actions.append(lead(alias, before[alias]))
    act_on_aliases(server, actions)


def replace(server: Server, ready: Ready, intents: Intents, clock: Clock) -> None:
    """Deletes the old collection and makes its name an alias of the restored one, at once.

    Raises:
        RestoreError: it was not deleted (then nothing changed), or the alias could not be made (the message says how to do it).
    """
    plan = ready.plan
    intents.add(Replacing(server.url, plan.name, plan.into, plan.aliases, ready.mark))
    try:
        deleted = server.delete(at("collections", plan.name))
    except ServerError as error:
        raise RestoreError(f"{shown(plan.name)} was not deleted: {error.message}", error.hint) from None
    if deleted is not True:
        raise RestoreError(f"{shown(plan.name)} was not deleted: the server says that there is none")
    take_name(server, plan.name, plan.into, plan.aliases, ready.mark, clock)


def take_name(server: Server, name: str, into: str, aliases: Sequence[str], mark: str, clock: Clock) -> None:
    """Makes the name of a collection that was deleted an alias, together with its other aliases.

    Raises:
        RestoreError: it could not be done; the message says what to do by hand.
    """
    others = [alias for alias in aliases if alias != name]
    actions = [lead(alias, into) for alias in (name, *others)] + ([drop(mark)] if mark else [])
    for seconds in (*_TRIES, None):
        try:
            act_on_aliases(server, actions)
        except ServerError as error:
            if seconds is None:
                raise RestoreError(
                    f"{shown(name)} is deleted, and no alias of its name could be made: {error.message}",
                    f"The restored collection is whole, as {shown(into)}. Run `recoup qdrant cleanup`, which makes the alias, "
                    "or make it by hand.",
                ) from None
            clock.sleep(seconds)
        else:
            return
