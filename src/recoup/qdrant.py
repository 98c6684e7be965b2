"""Qdrant from Python: back up a server, look into snapshots without one, put collections and points back.

    from recoup import qdrant

    qdrant.backup("http://127.0.0.1:6333", ["docs"], to="backups")
    with qdrant.SnapshotFile("docs-4667856484918545-2026-11-20-02-00-00.snapshot") as docs:
        print(docs.count({"must": [{"key": "kind", "match": {"value": "page"}}]}))
    qdrant.restore("backups", "http://127.0.0.1:6333", rename={"docs": "docs_copy"})

All calls are synchronous. Errors are `recoup.errors.RecoupError`: a message, a hint, an exit code.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import UsageError
from recoup.model.events import Emit, Progress, ignore
from recoup.model.part import StreamPart
from recoup.model.reports import BackupReport, RestoreReport
from recoup.sources._base import Existing, Placement, Site
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._extracting import write_file
from recoup.sources.qdrant._foreign import Told, parts_of
from recoup.sources.qdrant._opened import LimitError, Limits
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._record import folder_of
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant._returning import Return, place_of, planned, put_back
from recoup.sources.qdrant.edge import PathLike, Shard, SnapshotFile
from recoup.sources.qdrant.server import QdrantSource, connect
from recoup.system.clock import SystemClock
from recoup.system.tempdirs import temporary_folder

if TYPE_CHECKING:
    from recoup.app import Stack

__all__ = [
    "FileRestore",
    "LimitError",
    "Limits",
    "PointsReturn",
    "Shard",
    "SnapshotFile",
    "backup",
    "cleanup",
    "extract",
    "opened_set",
    "points_return",
    "restore",
    "restore_files",
    "rollback",
]

KIND = "qdrant"
"""Kind of the sources that this is about."""

_SOURCE = "vectors"  # name of the only source of a backup without a configuration
_REPOSITORY = "recoup-repository.json"


# --- sets -----------------------------------------------------------------------------------------------------------


def backup(
    url: str,
    collections: Sequence[str] = ("*",),
    *,
    to: PathLike,
    api_key: str = "",
    stack: str = "qdrant",
    emit: Emit = ignore,
    **settings: Any,
) -> BackupReport:
    """Backs up collections of a server into a repository, which is made when it is not there.

    Args:
        url: of the server.
        collections: names or patterns; a leading `!` excludes.
        to: folder of the repository.
        api_key: shown and stored nowhere.
        stack: name under which the sets are kept; retention judges sets of one stack together.
        emit: is told of every event and of progress.
        settings: further settings of the source, as in the configuration: `method`, `nodes`, `workers`, `quiesce`, ....

    Returns:
        What was stored; `report.exit_code` is 0 when it is complete.

    Raises:
        RecoupError: nothing could be stored.
    """
    options = _options(url, api_key, {"collections": tuple(collections), **settings})
    opened = _stack_of(Path(to), options, stack, emit)
    opened.create_repositories()
    return opened.backup()


def restore(
    repository: PathLike,
    url: str,
    *,
    set: str = "latest",  # noqa: A002 - the noun
    collections: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    api_key: str = "",
    source: str | None = None,
    emit: Emit = ignore,
    **options: Any,
) -> RestoreReport:
    """Restores collections of a set to a server, beside what is there, and switches when they are whole.

    Args:
        repository: folder of the repository.
        url: of the server.
        set: its name, a unique beginning of it, `latest`, `latest-complete`, `oldest`, or a time.
        collections: only these; all of the set by default.
        rename: the set's name to the name on the server.
        api_key: shown and stored nowhere; has to have the right to manage.
        source: the set's source, where it has several of a Qdrant server.
        emit: is told of every event and of progress.
        options: further ones of the restore: `mode`, `via`, `drop_old`, `rate`, ....

    Raises:
        RecoupError: it failed; what answered before still does. What failed later than the plan is in the report's `errors`.
    """
    opened = _stack_of(Path(repository), _options(url, api_key, {}), "", emit)
    manifest, name = opened.holder(set, KIND, source)
    given = {"collections": tuple(collections), "rename": dict(rename or {}), **options}
    opened = _stack_of(Path(repository), _options(url, api_key, {}), "", emit, name)
    return opened.restore(text=manifest.name, sources=[name], in_place=True, options={name: given})


@contextlib.contextmanager
def opened_set(
    stack: "Stack",
    set: str = "latest",  # noqa: A002 - the noun
    collection: str | None = None,
    *,
    source: str | None = None,
    partial: bool = False,
    wait_lock: float = 0.0,
) -> Iterator[SnapshotFile]:
    """A set's collections, opened without a server; only what is needed is fetched, and checked on the way.

    Args:
        stack: from `recoup.open`.
        set: see `restore`.
        collection: only this one; needed to look into one where there are several.
        source: the set's source, where it has several of a Qdrant server.
        partial: accept that shards are missing.
        wait_lock: seconds to wait for a lock.

    Raises:
        UsageError: there is no such set, source or collection.
        DamagedError: the stored bytes are wrong.
    """
    manifest, name = stack.holder(set, KIND, source)
    folder = None if collection is None else f"{folder_of(collection)}/"
    parts = [part.name for part in manifest.sources[name].parts]
    if folder is not None and not any(part.startswith(folder) for part in parts):
        raise UsageError(
            f"{manifest.name} has no collection {collection}", "`recoup qdrant inspect SET` shows those that it has."
        )
    with (
        stack.fetched(manifest, name, lambda part: part.startswith(folder or ""), wait_lock=wait_lock) as place,
        SnapshotFile(place, collection=collection, staging=place, partial=partial) as found,
    ):
        yield found


def _options(url: str, api_key: str, settings: Mapping[str, Any]) -> Options:
    from pydantic import ValidationError

    given = {"kind": KIND, "url": url, **({"api_key": api_key} if api_key else {}), **settings}
    try:
        return Options.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _stack_of(repository: Path, options: Options, stack: str, emit: Emit, source: str = _SOURCE) -> "Stack":
    """A stack of one source and one repository, without a configuration file."""
    from recoup.app import Stack
    from recoup.config.loading import Loaded
    from recoup.config.settings import RepositorySettings, Settings

    cwd = Path.cwd()
    settings = Settings(
        version=1, stack=stack or KIND, repositories={"to": RepositorySettings(path=repository.expanduser())}
    )
    secrets = frozenset({options.key} - {""})
    return Stack(Loaded(settings, {source: options}, cwd, (), {}, secrets, ()), None, emit, cwd, SystemClock())


# --- files that any tool made ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileRestore:
    """A restore of files, planned.

    Attributes:
        plan: what it meets and will do.
        name: of the collection.
    """

    plan: Existing
    name: str
    _source: QdrantSource
    _parts: tuple[StreamPart, ...]
    _options: RestoreOptions

    def run(self) -> Placement:
        """Does it.

        Raises:
            RecoupError: it failed; what answered before still does.
        """
        for _ in self._source.recover():
            pass
        return self._source.restore(self._parts, self._options)


@contextlib.contextmanager
def restore_files(
    files: PathLike | Sequence[PathLike],
    url: str,
    *,
    name: str = "",
    made_by: str = "",
    api_key: str = "",
    nodes: Sequence[str] = (),
    emit: Emit = ignore,
    **options: Any,
) -> Iterator[FileRestore]:
    """Plans the restore of a collection from files that any tool made; nothing is changed before `run`.

    Args:
        files: one `.snapshot` of a collection, those of all nodes, a file of points, or the folder of a collection in a set.
        url: of the server.
        name: of the collection on the server; that of the file by default.
        made_by: version of the server that made the files, which they do not say; taken to be that of the server by default.
        api_key: shown and stored nowhere; has to have the right to manage.
        nodes: URLs of a cluster's other nodes.
        emit: is told of every event and of progress.
        options: of the restore: `mode`, `via`, ....

    Raises:
        UsageError: it is a shard's snapshot, which lacks the collection's configuration.
        DamagedError: the files are damaged.
        RefusedError: they do not go into this server.
    """
    from recoup.sources.qdrant._restore import by_collection

    paths = [
        Path(one) for one in ([files] if isinstance(files, str | Path) or not isinstance(files, Sequence) else files)
    ]
    settings = _options(url, api_key, {"nodes": tuple(nodes)})
    with temporary_folder("qdrant") as staging:
        site = _site(staging, emit)
        source = connect(settings, site)
        version = made_by or _version(settings)
        parts = parts_of(paths, Told("", version, site.clock.now()), staging)
        ((record, _),) = by_collection(parts[:1])
        chosen = RestoreOptions(rename={record.name: name} if name and name != record.name else {}, **options)
        plan = source.foresee(parts[:1], chosen)
        if not made_by:
            note = f"{record.name}: the files do not say which version of Qdrant made them; taken to be {version}"
            plan = replace(plan, steps=(note, *plan.steps)) if record.server == version else plan
        yield FileRestore(plan, name or record.name, source, tuple(parts), chosen)


# --- chosen points ----------------------------------------------------------------------------------------------------


def extract(
    found: SnapshotFile,
    to: PathLike,
    *,
    ids: Sequence[int | str] | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - Qdrant's word
) -> int:
    """Writes chosen points into a new file and returns how many.

    Args:
        found: an opened snapshot.
        to: ends in `.jsonl` (Qdrant's JSON form, a point a line) or `.parquet`.
        ids: only these.
        filter: only those that meet it.

    Raises:
        UsageError: there is something of that name, or the filter is wrong.
        DamagedError: the snapshot is damaged.
    """
    return write_file(Path(to), chosen_points(found, ids, filter), found.config)


def chosen_points(
    found: SnapshotFile,
    ids: Sequence[int | str] | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - Qdrant's word
) -> Iterator[dict[str, Any]]:
    """Points with their vectors, read as they are asked for: those of `ids` that meet `filter`; all by default."""
    if ids is None:
        return found.scroll(filter, with_vectors=True)
    if filter is None:
        return iter(found.get(ids, with_vectors=True))
    return found.scroll({"must": [{"has_id": list(ids)}, dict(filter)]}, with_vectors=True)


@dataclass(frozen=True)
class PointsReturn:
    """Points that are about to be put back into a running collection.

    Attributes:
        plan: how many, and how many of them are there already.
    """

    plan: Return
    _server: Server
    _found: SnapshotFile
    _ids: Sequence[int | str] | None
    _filter: Mapping[str, Any] | None

    def run(self, emit: Emit = ignore) -> int:
        """Writes them and returns how many.

        Raises:
            RestoreError: the server refuses.
        """
        total, work = self.plan.points, f"points into {self.plan.collection}"
        points = chosen_points(self._found, self._ids, self._filter)
        done = put_back(
            self._server, self.plan, points, SystemClock(), lambda count: emit(Progress(work, count, total))
        )
        emit(Progress(work, done, total, finished=True))
        return done


@contextlib.contextmanager
def points_return(
    found: SnapshotFile,
    into: str,
    *,
    ids: Sequence[int | str] | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - Qdrant's word
    api_key: str = "",
) -> Iterator[PointsReturn]:
    """Plans to put chosen points back into a running collection; nothing is changed before `run`.

    Args:
        found: an opened snapshot.
        into: `http://host:6333/collection`; an alias is fine.
        ids: only these.
        filter: only those that meet it.
        api_key: shown nowhere; has to have the right to write.

    Raises:
        UsageError: `into` is no collection of a server.
        RestoreError: it is not there, or its vectors are others.
    """
    url, name = place_of(into)
    with Server(url, api_key) as server:
        plan = planned(server, name, chosen_points(found, ids, filter), found.config)
        yield PointsReturn(plan, server, found, ids, filter)


# --- what was left, and the way back ----------------------------------------------------------------------------------


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

    with _servers(_options(url, api_key, {"nodes": tuple(nodes)})) as servers:
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

    settings = _options(url, api_key, {"nodes": tuple(nodes)})
    with _servers(settings) as servers, temporary_folder("qdrant") as staging:
        if dry_run:
            return _restore_back.steps_back(_restore_back.last_switch(servers, name)[1])
        site = _site(staging, emit)
        source = connect(settings, site)
        return (_restore_back.rollback(servers, site, source.copying, name),)


@contextlib.contextmanager
def _servers(settings: Options) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        urls = dict.fromkeys((settings.url, *settings.nodes))
        yield [stack.enter_context(Server(url, settings.key)) for url in urls]


def _version(settings: Options) -> str:
    with Server(settings.url, settings.key) as server:
        return server.version


def _site(staging: Path, emit: Emit) -> Site:
    return Site(name=_SOURCE, base=Path.cwd(), staging=staging, clock=SystemClock(), emit=emit)
