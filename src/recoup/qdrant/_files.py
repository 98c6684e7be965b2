"""Files that any tool made, restored to a server."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recoup.model.events import Emit, ignore
from recoup.model.names import shown
from recoup.model.part import StreamPart
from recoup.model.structs import Struct
from recoup.qdrant._settings import checked, options_of, site_of, version_of
from recoup.sources._base import Existing, Placement
from recoup.sources.qdrant._foreign import Told, adopted
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant.edge import PathLike
from recoup.sources.qdrant.server import QdrantSource, connect
from recoup.system.tempdirs import temporary_folder


class FileRestore(Struct):
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
    listed = [files] if isinstance(files, str | os.PathLike) else files
    settings = options_of(url, api_key, {"nodes": tuple(nodes)})
    with temporary_folder("qdrant") as staging:
        site = site_of(staging, emit)
        version = made_by or version_of(settings)
        foreign = adopted([Path(one) for one in listed], Told("", version, site.clock.now()), staging)
        record, source = foreign.record, connect(settings, site)
        rename = {record.name: name} if name and name != record.name else {}
        chosen = checked(RestoreOptions, {"rename": rename, **options})
        plan = source.foresee(foreign.parts, chosen)
        if foreign.guessed and not made_by:
            note = f"{shown(record.name)}: no snapshot says which Qdrant made it; taken to be {version}, as the server"
            plan = replace(plan, steps=(note, *plan.steps))
        yield FileRestore(plan, name or record.name, source, foreign.parts, chosen)
