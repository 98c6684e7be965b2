"""Foreign artefacts: what other tools put into a repository whose place has a shape. Listed, read, and, where adopted, pruned."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path, PurePath

from recoup.errors import DamagedError, NoSpaceError, NoSuchSetError, RefusedError
from recoup.model.artefact import Artefact
from recoup.model.names import SetName, shown
from recoup.model.part import StreamPart
from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.operations.selection import is_good
from recoup.repository._base import Repository
from recoup.repository._shaped import Shaped
from recoup.retention import Candidate, Group, Rules, judge
from recoup.system.filesystem import free_bytes
from recoup.system.unpacking import write_part


def listing(repository: Repository) -> tuple[Artefact, ...]:
    """All that there are, oldest first; none in a repository that nobody shares."""
    return tuple(repository.foreign()) if isinstance(repository, Shaped) else ()


def named(repository: Repository, text: str) -> Artefact | None:
    """The one whose key or location a person wrote; None when it is neither.

    Args:
        repository: where to look.
        text: what was written.
    """
    if not isinstance(repository, Shaped) or "." not in text:  # every key has an ending, no other name of a set has
        return None
    return next((one for one in repository.foreign() if text in (one.key, one.location)), None)


def opened(repository: Repository, artefact: Artefact) -> StreamPart:
    """One of them as a part.

    Raises:
        NoSuchSetError: it is none of this repository's.
        WrongKeyError: it is encrypted, and what is configured does not open it.
    """
    if not isinstance(repository, Shaped):
        raise NoSuchSetError(f"{shown(artefact.key)} is nothing that {repository.name} has")
    return repository.read_foreign(artefact)


KINDS = {".snapshot": "qdrant", ".dump": "postgres", ".sql": "postgres"}
"""What a file's name ends in, to the plug that can look into such a file."""

LookInto = Callable[[Path, Path], str]
"""What a plug offers: reads a file that any tool made, and says what it holds; with a folder to unpack in."""


def fetched(
    repository: Repository, artefact: Artefact, folder: Path, plug: Callable[[str], LookInto]
) -> tuple[Path, str]:
    """Reads one into a file and looks into it, since nobody has recorded what it has to be.

    Args:
        repository: where it is.
        artefact: which.
        folder: for the file.
        plug: from a kind to what its plug offers.

    Returns:
        The file, and what it holds.

    Raises:
        DamagedError: its content is damaged.
        RefusedError: nothing here can look into such a file.
        NoSpaceError: there is too little room.
    """
    part = opened(repository, artefact)
    kind = KINDS.get(PurePath(part.name).suffix)
    if kind is None:
        raise RefusedError(
            f"nothing here can look into {shown(artefact.key)}, and no set says what it has to be",
            f"Copy it by hand, if you trust it: {artefact.location}.",
        )
    if artefact.bytes > free_bytes(folder):
        raise NoSpaceError(
            f"insufficient disk space for {shown(artefact.key)}: {artefact.bytes:,} bytes are needed",
            "Free space, or set `staging:` to a folder on a larger disk.",
        )
    try:
        path, _ = write_part(part, folder)
        return path, plug(kind)(path, folder)
    except DamagedError as error:
        raise DamagedError(
            f"{shown(artefact.key)} is damaged: {error.message}",
            "Nothing was restored. `recoup list` shows other ones.",
        ) from None


class Judged(Struct):
    """What becomes of one.

    Attributes:
        artefact: which.
        keep: False when it is to be removed.
        reasons: why, at least one.
        locked_until: until when the storage keeps one by force that no rule keeps (UTC).
    """

    artefact: Artefact
    keep: bool
    reasons: tuple[str, ...]
    locked_until: datetime | None = None


def judged(repository: Repository, infos: Sequence[SetInfo], rules: Rules, now: datetime) -> Iterator[Judged]:
    """Judges those of a repository that adopts them, oldest first, by the rules for sets.

    Each part (collection, table, database, folder) is judged alone, together with the good sets that hold it: so the rules count
    backups of both origins, and the newest of a part always stays. A set is never judged here.

    Args:
        repository: where.
        infos: all its sets.
        rules: what to keep.
        now: the present moment.
    """
    if not isinstance(repository, Shaped) or not repository.adopts:
        return
    found = repository.foreign()
    for part in sorted({one.part for one in found}):
        held = [info for info in infos if _holds(repository, info, part)]
        verdicts = _verdicts([one for one in found if one.part == part], held, rules, now)
        for artefact, keep, reasons in verdicts:
            until = None if keep else repository.foreign_locked_until(artefact)
            if until is None:
                yield Judged(artefact, keep, reasons)
            else:
                yield Judged(artefact, keep=True, reasons=(_locked(until),), locked_until=until)


def _locked(until: datetime) -> str:
    return f"locked until {until.isoformat(sep=' ', timespec='seconds')} by the storage"


def _holds(repository: Shaped, info: SetInfo, part: str) -> bool:
    return (
        info.manifest is not None and is_good(info) and any(a.part == part for a in repository.artefacts(info.manifest))
    )


def _verdicts(
    found: Sequence[Artefact], held: Sequence[SetInfo], rules: Rules, now: datetime
) -> Iterator[tuple[Artefact, bool, tuple[str, ...]]]:
    group = Group("", (found[0].part,))
    candidates = [Candidate(name, group) for info in held if (name := SetName.parse(info.name))]
    taken = {candidate.name for candidate in candidates}
    by_name: dict[SetName, Artefact] = {}
    for artefact in found:
        name = SetName.at(artefact.time)
        while name in taken:
            name = name.next()
        taken.add(name)
        by_name[name] = artefact
    candidates += [Candidate(name, group) for name in by_name]
    for verdict in judge(candidates, rules, now):
        if (own := by_name.get(verdict.candidate.name)) is not None:
            yield own, verdict.keep, verdict.reasons


def remove(repository: Repository, artefacts: Sequence[Artefact]) -> None:
    """Removes some of them for good; there is no trash for them.

    Raises:
        RefusedError: the repository does not adopt them, or one is a set's; nothing is removed then.
    """
    if artefacts and isinstance(repository, Shaped):
        repository.delete_foreign(artefacts)
