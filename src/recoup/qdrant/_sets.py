"""Sets of a server's collections: made, restored, opened."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import SourceError, UsageError
from recoup.model.events import Emit, ignore
from recoup.model.reports import BackupReport, RestoreReport
from recoup.qdrant._settings import KIND, options_of, stack_of
from recoup.sources.qdrant._record import folder_of
from recoup.sources.qdrant.edge import PathLike, SnapshotFile

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.model.manifest import Manifest


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
        What was stored; `report.exit_code` is 0 when it is complete, and 3 when a collection failed or is doubtful.

    Raises:
        SourceError: nothing could be stored.
        RecoupError: the repository cannot be used.
    """
    options = options_of(url, api_key, {"collections": tuple(collections), **settings})
    opened = stack_of(Path(to), options, stack, emit)
    opened.create_repositories()
    report = opened.backup()
    if report.manifest is None:
        raise SourceError("; ".join(report.errors.values()) or "nothing was stored")
    return report


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
    opened = stack_of(Path(repository), options_of(url, api_key, {}), "", emit)
    manifest, name = opened.holder(set, KIND, source)
    given = {"collections": tuple(collections), "rename": dict(rename or {}), **options}
    opened = stack_of(Path(repository), options_of(url, api_key, {}), "", emit, name)
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
        collection: only this one, or an alias that led to it; needed to look into one where there are several.
        source: the set's source, where it has several of a Qdrant server.
        partial: accept that shards are missing.
        wait_lock: seconds to wait for a lock.

    Raises:
        UsageError: there is no such set, source or collection.
        DamagedError: the stored bytes are wrong.
    """
    manifest, name = stack.holder(set, KIND, source)
    collection = None if collection is None else _behind(manifest, name, collection)
    folder = None if collection is None else f"{folder_of(collection)}/"
    with (
        stack.fetched(manifest, name, lambda part: part.startswith(folder or ""), wait_lock=wait_lock) as place,
        SnapshotFile(place, collection=collection, staging=place, partial=partial) as found,
    ):
        yield found


def _behind(manifest: "Manifest", source: str, named: str) -> str:
    """The collection of a set that a name means, as a server takes it: its own, or that of an alias.

    Raises:
        UsageError: there is none.
    """
    record = manifest.sources[source]
    if any(part.name.startswith(f"{folder_of(named)}/") for part in record.parts):
        return named
    for subject, facts in (record.facts.values if record.facts else {}).items():
        if named in str(facts.get("aliases", "")).split(", "):
            return subject.removeprefix("collection ")
    raise UsageError(
        f"{manifest.name} has no collection {named}", "`recoup qdrant inspect SET` shows those that it has."
    )
