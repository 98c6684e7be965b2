"""What a run left on a server, and the way back from a restore."""

from collections.abc import Sequence

from recoup.model.events import Emit, ignore
from recoup.qdrant._settings import options_of, servers_of, site_of
from recoup.sources.qdrant.server import connect
from recoup.system.clock import SystemClock
from recoup.system.tempdirs import temporary_folder


def cleanup(url: str, *, api_key: str = "", nodes: Sequence[str] = (), dry_run: bool = False) -> tuple[str, ...]:
    """Removes, or finishes, what killed runs of this user left on a server; returns a sentence for each.

    Args:
        url: of the server.
        api_key: shown nowhere; has to have the right to manage.
        nodes: URLs of a cluster's other nodes.
        dry_run: only says what there is.

    Raises:
        SourceError: the server cannot be asked.
    """
    from recoup.sources.qdrant._cleanup import cleanup as take_back_restores
    from recoup.sources.qdrant._leftovers import left_behind, take_back

    with servers_of(options_of(url, api_key, {"nodes": tuple(nodes)})) as servers:
        named = {server.url: server for server in servers}
        snapshots = left_behind(named) if dry_run else take_back(named)
        return (*snapshots, *take_back_restores(servers, SystemClock(), dry_run=dry_run))


def rollback(
    url: str,
    name: str = "",
    *,
    api_key: str = "",
    nodes: Sequence[str] = (),
    dry_run: bool = False,
    emit: Emit = ignore,
) -> tuple[str, ...]:
    """Lets the names that the last restore switched lead to the old collection again; returns what was done.

    Args:
        url: of the server.
        name: only of this collection or alias; the newest switch by default.
        api_key: shown nowhere; has to have the right to manage.
        nodes: URLs of a cluster's other nodes.
        dry_run: only says what would be done.
        emit: is told of every event and of progress.

    Raises:
        RestoreError: there is nothing to go back to.
    """
    from recoup.sources.qdrant import _restore_back

    settings = options_of(url, api_key, {"nodes": tuple(nodes)})
    with servers_of(settings) as servers, temporary_folder("qdrant") as staging:
        if dry_run:
            return _restore_back.steps_back(_restore_back.last_switch(servers, name)[1])
        site = site_of(staging, emit)
        source = connect(settings, site)
        return (_restore_back.rollback(servers, site, source.copying, name),)
