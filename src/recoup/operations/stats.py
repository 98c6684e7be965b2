"""Stats: what sets hold and what they take, in each repository."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from recoup.errors import RecoupError
from recoup.model.names import SetName
from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.operations._cutting import sentence
from recoup.repository._base import Chunked, Repository


class SetStats(Struct):
    """What one set holds and takes.

    Attributes:
        set: its name.
        started: when it was begun (UTC).
        stack: whose.
        logical_bytes: what it holds, plain: a restore writes so much.
        added_bytes: what it added to the repository when it was made.
    """

    set: str
    started: datetime
    stack: str
    logical_bytes: int
    added_bytes: int


class RepositoryStats(Struct):
    """What a repository holds and takes.

    Attributes:
        repository: its name.
        location: where it is.
        sets: one for each set that can be read, oldest first.
        logical_bytes: what all of these hold, plain.
        stored_bytes: what lies there: in a dedup repository all files, else what the sets' manifests say.
        ratio: how many times what lies there the sets hold; None when nothing lies there.
        chunks: different chunks that sets use; None where equal ones are not stored once.
        unique_bytes: what these hold, plain; None as above.
        unique_stored_bytes: what these take; the rest of `stored_bytes` is overhead, the trash, and what a prune may free. None
            as above.
        unread: sets that cannot be read, with the reason; they do not count.
        problem: why chunks could not be counted; empty otherwise.
    """

    repository: str
    location: str
    sets: tuple[SetStats, ...]
    logical_bytes: int
    stored_bytes: int
    ratio: float | None
    chunks: int | None = None
    unique_bytes: int | None = None
    unique_stored_bytes: int | None = None
    unread: tuple[str, ...] = ()
    problem: str = ""


def run(repository: Repository, infos: Sequence[SetInfo]) -> RepositoryStats:
    """Adds up what is known of a repository.

    Args:
        repository: which; locked by the caller.
        infos: its sets, oldest first.
    """
    sets = tuple(of_sets(infos))
    unread = tuple(f"{info.name}: {info.problem}" for info in infos if info.manifest is None)
    logical = sum(one.logical_bytes for one in sets)
    if not isinstance(repository, Chunked):
        stored = sum(one.added_bytes for one in sets)
        return RepositoryStats(
            repository.name, repository.location, sets, logical, stored, _ratio(logical, stored), unread=unread
        )
    stored = repository.all_bytes()
    names = [name for one in sets if (name := SetName.parse(one.set))]
    counted, problem = None, ""
    try:
        counted = repository.chunks_of(names)
        if counted.missing:
            problem = (
                f"{counted.missing:,} chunks that sets need are named by no index; `recoup verify` says which sets"
            )
    except RecoupError as error:
        problem = f"chunks were not counted: {sentence(error)}"
    return RepositoryStats(
        repository.name,
        repository.location,
        sets,
        logical,
        stored,
        _ratio(logical, stored),
        chunks=counted.chunks if counted else None,
        unique_bytes=counted.bytes if counted else None,
        unique_stored_bytes=counted.stored_bytes if counted else None,
        unread=unread,
        problem=problem,
    )


def of_sets(infos: Iterable[SetInfo]) -> Iterable[SetStats]:
    """What is known of the sets that can be read."""
    for info in infos:
        if (manifest := info.manifest) is not None:
            yield SetStats(info.name, manifest.started, manifest.stack, manifest.bytes, manifest.stored_bytes)


def _ratio(logical: int, stored: int) -> float | None:
    return round(logical / stored, 2) if stored else None
