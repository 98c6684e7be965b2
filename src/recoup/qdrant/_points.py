"""Chosen points of an opened snapshot: as a file, or back into a running collection."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recoup.model.events import Emit, Progress, ignore
from recoup.model.structs import Struct
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._extracting import write_file
from recoup.sources.qdrant._returning import Return, place_of, planned, put_back
from recoup.sources.qdrant.edge import PathLike, SnapshotFile
from recoup.system.clock import SystemClock

_BATCH = 256  # points asked for at once


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
        return _by_id(found, ids)
    return found.scroll({"must": [{"has_id": list(ids)}, dict(filter)]}, with_vectors=True)


def _by_id(found: SnapshotFile, ids: Sequence[int | str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(ids), _BATCH):
        yield from found.get(ids[start : start + _BATCH], with_vectors=True)


class PointsReturn(Struct):
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
            self._server,
            self.plan,
            points,
            SystemClock(),
            lambda count: emit(Progress(work, count, total, unit="points")),
        )
        emit(Progress(work, done, total, finished=True, unit="points"))
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
