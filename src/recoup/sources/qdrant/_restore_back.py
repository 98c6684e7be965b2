"""Going back: what the last restore switched leads to the old collection again."""

from collections.abc import Sequence
from pathlib import Path

from recoup.errors import RestoreError
from recoup.model.names import shown
from recoup.sources._base import Site
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import restoring
from recoup.sources.qdrant._restore import Copying, restore_collections
from recoup.sources.qdrant._restore_keeping import parts_of
from recoup.sources.qdrant._restore_kept import Switched, kept
from recoup.sources.qdrant._restore_making import act_on_aliases, drop, lead
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant._switching import aliases_of


def last_switch(servers: Sequence[Server], name: str = "") -> tuple[Path, Switched]:
    """The newest switch that still stands on a server, with the file that keeps it.

    Args:
        servers: the server.
        name: only of this collection or alias, as the restore was told it.

    Raises:
        RestoreError: there is none.
    """
    with restoring():
        aliases = aliases_of(servers[0])
    for path, switched in kept(servers[0].url):
        asked = not name or name in (switched.name, *switched.before)
        if asked and switched.into in aliases.values():
            return path, switched
    what = f" of {shown(name)}" if name else ""
    raise RestoreError(
        f"no switch{what} that could be taken back is known for {servers[0].url}",
        "Only restores of this user on this machine are known.",
    )


def steps_back(switched: Switched) -> tuple[str, ...]:
    """What going back will do, for people."""
    if switched.copy:
        return (
            f"{shown(switched.name)} is restored from its copy in {switched.copy}, beside {shown(switched.into)}",
            "its aliases lead to it, by one atomic action; what was written since the restore is not in it",
        )
    names = ", ".join(map(shown, switched.before))
    return (f"{names} lead to {shown(switched.old)} again, by one atomic action; {shown(switched.into)} stays",)


def rollback(servers: Sequence[Server], site: Site, copying: Copying, name: str = "") -> str:
    """Takes the newest switch back, and says what was done.

    Args:
        servers: the server's nodes.
        site: staging, clock, and where news go.
        copying: captures a collection of the server.
        name: only of this collection or alias.

    Raises:
        RestoreError: there is nothing to go back to, or it failed; everything leads where it led.
    """
    path, switched = last_switch(servers, name)
    if switched.copy:
        options = RestoreOptions(mode="alias")
        placement = restore_collections(parts_of(Path(switched.copy)), options, servers, site, copying)
        path.unlink(missing_ok=True)
        return f"{shown(switched.name)} is back from its copy: {placement.target}; kept: {placement.kept}"
    with restoring():
        _lead_back(servers[0], switched)
    path.unlink(missing_ok=True)
    return steps_back(switched)[0]


def _lead_back(server: Server, switched: Switched) -> None:
    names = {str(one["name"]) for one in (server.get(at("collections")) or {}).get("collections", ())}
    if switched.old not in names:
        raise RestoreError(
            f"{shown(switched.old)} is no longer on the server: there is nothing to go back to",
            "Restore a set of that time.",
        )
    aliases = aliases_of(server)
    actions = []
    for alias, before in switched.before.items():
        if aliases.get(alias) != switched.into:
            continue  # somebody moved it since
        actions.append(drop(alias))
        if before in names:
            actions.append(lead(alias, before))
    act_on_aliases(server, actions)
