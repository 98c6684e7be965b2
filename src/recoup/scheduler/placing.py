"""Putting files of ours where they belong, and taking them away again: recorded before, looked at afterwards.

What is not ours is never touched; what somebody changed since is named, and left unless it is to be forced.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from recoup.errors import RecoupError, RefusedError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.scheduler._crontab import PREFIX, CrontabBlock
from recoup.scheduler._installed import installed, record, strike
from recoup.system.markedfiles import MarkedFile, Standing, judged

Act = Literal["write", "replace", "keep", "remove", "leave"]


class Place(Protocol):
    """Where something of ours is put: a file, or lines in a crontab."""

    @property
    def name(self) -> str:
        """How it is recorded and named."""
        ...

    def standing(self) -> Standing:
        """What is there now."""
        ...

    def is_current(self) -> bool:
        """Whether just what is wanted is there."""
        ...

    def put(self) -> None:
        """Puts it there."""
        ...

    def take_away(self) -> None:
        """Takes it away."""
        ...


class Step(Struct):
    """What becomes of one place.

    Attributes:
        act: `write`, `replace`, `keep` (it is as wanted), `remove`, `leave` (it was changed since).
        place: which.
    """

    act: Act
    place: Place

    @property
    def name(self) -> str:
        """The place's name."""
        return self.place.name


class Plan(Struct):
    """What an installation or a removal does.

    Attributes:
        stack: for which.
        purpose: `SCHEDULE` or `WRAPPERS`.
        steps: in their order.
        gone: names that were recorded and are not there any more.
    """

    stack: str
    purpose: str
    steps: tuple[Step, ...]
    gone: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.act not in ("keep", "leave"))

    @property
    def left(self) -> tuple[str, ...]:
        """Names of what is left, since it was changed."""
        return tuple(step.name for step in self.steps if step.act == "leave")


def place_of(name: str, stack: str, account: str) -> Place:
    """The place that a recorded name means.

    Args:
        name: as recorded.
        stack: whose.
        account: who runs this.

    Raises:
        RefusedError: it is in another account's crontab.
    """
    if not name.startswith(PREFIX):
        return MarkedFile(Path(name), stack)
    owner = name.removeprefix(PREFIX)
    if owner != account:
        raise RefusedError(
            f"the {name} has lines of ours, and {account} cannot reach it", f"Run this as {owner}; nothing was changed."
        )
    return CrontabBlock(account, stack)


def plan_install(
    stack: str,
    purpose: str,
    wanted: Sequence[Place],
    account: str,
    *,
    instead: Iterable[str] | None = None,
    force: bool = False,
) -> Plan:
    """What an installation would do; changes nothing.

    Args:
        stack: for which.
        purpose: what for.
        wanted: what is to be there.
        account: who runs this.
        instead: what else was installed for that purpose goes away, and what is named here; None when all that stays.
        force: also what was changed since is replaced or removed.

    Raises:
        RefusedError: something is in the way that is not ours, or was changed.
    """
    steps = [_placed(place, force=force) for place in wanted]
    names = {place.name for place in wanted}
    known = () if instead is None else dict.fromkeys((*installed(stack, purpose), *instead))
    removal = _removal(stack, purpose, [name for name in known if name not in names], account, force=force)
    if removal.left:
        raise _changed(removal.left[0])
    return Plan(stack, purpose, (*steps, *removal.steps), removal.gone)


def _placed(place: Place, *, force: bool) -> Step:
    match place.standing():
        case Standing.MISSING:
            return Step("write", place)
        case Standing.FOREIGN:
            raise RefusedError(
                f"{shown(place.name)} is there already, and is not of this stack",
                "Look whose it is; choose another --name or folder, or remove it yourself.",
            )
        case Standing.EDITED if not force:
            raise _changed(place.name)
        case _:
            return Step("keep" if place.is_current() else "replace", place)


def _changed(name: str) -> RefusedError:
    return RefusedError(
        f"{shown(name)} was changed after it was installed",
        "Keep a copy of what you need of it; --force replaces or removes it.",
    )


def plan_removal(
    stack: str, purpose: str, account: str, *, also: Iterable[str] = (), within: Path | None = None, force: bool = False
) -> Plan:
    """What a removal would do; changes nothing.

    Args:
        stack: for which.
        purpose: what for.
        account: who runs this.
        also: names of what is ours and not recorded, for a machine whose record was lost.
        within: only what lies in this folder.
        force: also what was changed since.
    """
    names = dict.fromkeys((*installed(stack, purpose), *also))
    chosen = [name for name in names if within is None or Path(name).parent == within]
    return _removal(stack, purpose, chosen, account, force=force)


def _removal(stack: str, purpose: str, names: Sequence[str], account: str, *, force: bool) -> Plan:
    steps, gone = [], []
    for name in names:
        place = place_of(name, stack, account)
        standing = place.standing()
        if standing is Standing.MISSING:
            gone.append(name)
        else:
            steps.append(Step("remove" if force or standing is Standing.OURS else "leave", place))
    return Plan(stack, purpose, tuple(steps), tuple(gone))


def carry_out(plan: Plan) -> None:
    """Does what was planned: what is to come is recorded first, what is gone is forgotten last.

    Raises:
        RecoupError: something could not be written or removed; what was done before stays, and the same command goes on.
    """
    coming = [step.name for step in plan.steps if step.act in ("write", "replace", "keep")]
    record(plan.stack, plan.purpose, coming)
    removed = list(plan.gone)
    for step in plan.changes:
        _do(step)
        if step.act == "remove":
            removed.append(step.name)
    strike(plan.stack, plan.purpose, removed)


def _do(step: Step) -> None:
    try:
        if step.act == "remove":
            step.place.take_away()
        else:
            step.place.put()
    except PermissionError:
        raise RecoupError(
            f"{shown(step.name)} may not be written by this account",
            "Run it again as root (sudo), or choose --user; what was done before stays, and is gone over again.",
        ) from None
    if step.act == "remove" and step.place.standing() is not Standing.MISSING:
        raise RecoupError(f"{shown(step.name)} is still there after its removal", "Somebody else writes it; look who.")


def found_in(folders: Iterable[Path], stack: str) -> tuple[str, ...]:
    """Files of a stack that lie in some folders, whoever recorded them.

    Args:
        folders: need not be there.
        stack: whose.
    """
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return tuple(str(path) for path in files if _is_ours(path, stack))


def _is_ours(path: Path, stack: str) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1024 * 1024:
            return False
        return judged(path.read_bytes(), stack) is not Standing.FOREIGN
    except OSError:  # not for our eyes, or gone meanwhile
        return False
