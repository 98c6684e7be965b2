"""Putting a restored file or folder in the place of a live one, so that a kill at any point leaves the old or the new one.

The new one is written into a work folder beside the target, `.NAME.recoup-restore/`, checked there and made durable. Then the
present one is kept as `NAME.before-restore-<YYYYMMDD_HHMMSS>` (UTC) and the new one takes its name: by one exchange of the two
where the system has that call, else by two renames. Side files of the present one move away with it before, so that no new
file ever stands beside an old one's journal. What of a present folder is not replaced moves on into the new one right after.

The work folder also holds `intent.json`: who works here and which renames are meant, each with the inode number of what moves.
`recover` reads from it, and from where those inodes are now, whether the new one is in place (then the rest is finished) or
not (then everything is taken back). A folder that is a mount point cannot be renamed: the work folder then lies inside it and
the entries move one by one under the same intent.
"""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from recoup.errors import BusyError, NoSpaceError, RestoreError, UnsafePathError
from recoup.model.names import checked_relative, shown
from recoup.model.owner import Owner
from recoup.model.structs import Struct
from recoup.sources._placement import Placement
from recoup.system import filesystem
from recoup.system.atomicfile import make_private_folder, sync_folder, write_atomic
from recoup.system.host import is_dead, this_owner
from recoup.system.tempdirs import read_owner, remove_tree, write_owner
from recoup.system.unpacking import make_durable

_INTENT = "intent.json"
_INSIDE = ".recoup-restore"  # the work folder in a mount point
_TAKEN_OUT = ".taken-out-"  # between a target's name and the moment of the restore that was undone
_FULL = (errno.ENOSPC, errno.EDQUOT)


class _Move(Struct):
    """One rename that is meant. Paths are relative to the folder that the work folder lies in.

    Attributes:
        source: where it lies before.
        target: where it lies afterwards.
        inode: of what moves; tells later where it is.
        role: `aside` moves what was there, `new` moves what was restored.
    """

    source: str
    target: str
    inode: int
    role: Literal["aside", "new"]


class _Intent(Struct):
    """What the work folder's owner is about to do. Without moves nothing outside the work folder was touched.

    Attributes:
        owner: whose work it is.
        moves: in this order.
        root: mode and time (ns) that a mount point gets when its entries are in place.
        stays: what goes back from what is kept into the new one, relative to both, when the new one is in place.
    """

    owner: Owner
    moves: tuple[_Move, ...] = ()
    root: tuple[int, int] | None = None
    stays: tuple[str, ...] = ()


class _Bench(Struct):
    """Where a target's restore works.

    Attributes:
        target: the resolved place.
        inside: True when the target is a mount point and its entries are swapped inside it.
    """

    target: Path
    inside: bool

    @property
    def base(self) -> Path:
        """The folder that the work folder lies in, and where renames happen."""
        return self.target if self.inside else self.target.parent

    @property
    def work(self) -> Path:
        """The work folder."""
        return self.base / (_INSIDE if self.inside else f".{self.target.name}{_INSIDE}")

    @property
    def staged(self) -> Path:
        """Where the new one is written."""
        return self.work / self.target.name

    def relative(self, path: Path) -> str:
        """A path as an intent writes it."""
        return path.relative_to(self.base).as_posix()


@dataclass
class _Outcome:
    """What settling an intent did: whether the new one is in place, and what could not be put back."""

    finished: bool
    left: list[str] = field(default_factory=list)


Exchange = Callable[[Path, Path], bool]


def place(
    target: Path,
    *,
    now: datetime,
    write: Callable[[Path], None],
    check: Callable[[Path], None],
    side_files: tuple[str, ...] = (),
    settle: Callable[[Path], None] | None = None,
    still: Callable[[], None] | None = None,
    stays: Callable[[Path], Iterable[str]] | None = None,
    exchange: Exchange = filesystem.exchange,
    entry_by_entry: bool | None = None,
) -> Placement:
    """Puts a file or folder at `target` in the place of what is there, which is kept.

    Args:
        target: the place; links among its parents are resolved, it may not be one itself.
        now: the present moment; names what is kept.
        write: writes the new file or folder at the path it is handed (nothing is there; it lies on the target's file system).
        check: raises when that is not what it should be; engines may open it there. Side files beside it are thrown away, so
            it has to be complete by itself.
        side_files: what an engine appends to the target's name for files that belong to it, e.g. `-wal`; they move with it.
        still: makes the place stand still, just before the swap; nobody may have it open any more afterwards.
        stays: tells of a present folder what in it is not replaced (relative paths): it moves on into the new one, unless
            that has something of the name.
        settle: lets the engine fold side files into the present target first, when nobody has it open.
        exchange: swaps two names in one step, or returns False where that cannot be done.
        entry_by_entry: swap a folder's entries instead of the folder; by default where it is a mount point.

    Raises:
        UnsafePathError: the target is a link.
        BusyError: another process has it or a side file of it open, or another restore is under way.
        RestoreError: it failed; the place is as it was.
        RecoupError: what `write` and `check` raise; the place is as it was.
    """
    target = resolved(target)
    with _explained(target):
        make_private_folder(target.parent)
        recover(target)
        inside = filesystem.is_mount_point(target) if entry_by_entry is None else entry_by_entry and target.is_dir()
        bench = _Bench(target, inside)
        if still is None:
            _refuse_holders(target, side_files)
        with _work_folder(bench, now):
            write(bench.staged)
            check(bench.staged)
            _inherit_owner(bench)
            make_durable(bench.staged)
            if still is not None:
                still()
            _refuse_holders(target, side_files)
            if settle and target.is_file():
                settle(target)
            staying = tuple(stays(target)) if stays and target.is_dir() else ()
            return _swap(bench, now, side_files, staying, exchange)


def resolved(target: Path) -> Path:
    """`target` with the links among its parents resolved.

    Raises:
        UnsafePathError: it is a link itself.
    """
    absolute = Path(os.path.abspath(target))  # noqa: PTH100 - `resolve` would follow the last component too
    if absolute.is_symlink():
        raise UnsafePathError(
            f"{absolute} is a symbolic link, and nothing is restored through one",
            f"Name the place that it leads to, {absolute.readlink()}, or remove the link.",
        )
    return absolute.parent.resolve() / absolute.name


def kept_path(target: Path, now: datetime) -> Path:
    """Where what is at `target` is kept by a restore at `now`; a name that is free."""
    stem = f"{target.name}.before-restore-{now.astimezone(UTC):%Y%m%d_%H%M%S}"
    ordinal, path = 1, target.with_name(stem)
    while os.path.lexists(path):
        ordinal += 1
        path = target.with_name(f"{stem}_{ordinal}")
    return path


def is_kept_name(name: str, target_name: str) -> bool:
    """Whether an entry of the folder `target_name` is what a restore entry by entry kept, or its work folder."""
    return name == _INSIDE or name.startswith((f"{target_name}.before-restore-", f"{target_name}{_TAKEN_OUT}"))


def set_aside_path(kept: Path) -> Path:
    """Where `put_back` moves what a restore had put in place, beside what that restore kept."""
    stem, _, moment = kept.name.rpartition(".before-restore-")
    return kept.with_name(f"{stem}{_TAKEN_OUT}{moment}")


def put_back(target: Path, kept: Path) -> Path:
    """Undoes a finished restore: what it kept is in place again. Killed at any point, a second call goes on.

    Returns:
        Where what the restore had put in place lies now.

    Raises:
        RestoreError: it cannot be done; what was kept is where it was, or in place.
    """
    aside = set_aside_path(kept)
    with _explained(target):
        if kept.parent == target:
            _put_entries_back(target, kept, aside)
        elif os.path.lexists(kept):
            if os.path.lexists(target) and not os.path.lexists(aside):
                target.rename(aside)
            kept.rename(target)
        sync_folder(kept.parent)
    return aside


def _put_entries_back(target: Path, kept: Path, aside: Path) -> None:
    """The same in a mount point. The folder of what goes out gets its name when all of it is out."""
    if not kept.exists():
        return
    if not aside.exists():
        going = aside.with_name(f"{aside.name}.half")
        going.mkdir(mode=0o700, exist_ok=True)
        for entry in sorted(target.iterdir()):
            if not is_kept_name(entry.name, target.name):
                entry.rename(going / entry.name)
        going.rename(aside)
    for entry in sorted(kept.iterdir()):
        entry.rename(target / entry.name)
    kept.rmdir()


def recover(target: Path) -> tuple[str, ...]:
    """Finishes or takes back what a killed restore left at `target`; returns a sentence for each thing done.

    A restore that is still under way is left alone.

    Raises:
        RestoreError: it cannot be told what the killed one had done, or it cannot be put right.
    """
    absolute = Path(os.path.abspath(target))  # noqa: PTH100 - `resolve` would follow the last component too
    place = absolute.parent.resolve() / absolute.name
    done: list[str] = []
    for bench in (_Bench(place, inside=False), _Bench(place, inside=True)):
        if not place.is_symlink() and not bench.work.is_symlink() and bench.work.is_dir():
            with _explained(place):
                done += _recover(bench)
    return tuple(done)


def _recover(bench: _Bench) -> list[str]:
    if bench.work.stat().st_uid != os.geteuid():
        raise RestoreError(
            f"{bench.work} was left by a killed restore of another user", "Restore as that user, or let them remove it."
        )
    intent = _read_intent(bench.work)
    if intent and not is_dead(intent.owner):
        return []
    outcome = _resolve(bench, intent) if intent else _Outcome(finished=False)
    remove_tree(bench.work)
    sync_folder(bench.base)
    verb = "Finished" if outcome.finished else "Took back"
    return [f"{verb} the restore of {bench.target} that was interrupted.", *outcome.left]


@contextlib.contextmanager
def _work_folder(bench: _Bench, now: datetime) -> Iterator[None]:
    """Holds the work folder, which is the lock of the target too; afterwards it is gone, and so is what was staged."""
    try:
        bench.work.mkdir(mode=0o700)
    except FileExistsError:
        intent = _read_intent(bench.work)
        who = f" (process {intent.owner.pid} on {intent.owner.host})" if intent else ""
        raise BusyError(f"another restore of {bench.target} is under way{who}", "Wait until it has ended.") from None
    try:
        _write_intent(bench.work, _Intent(this_owner(now)))
        yield
    except BaseException:
        _give_up(bench)
        raise
    remove_tree(bench.work)
    sync_folder(bench.base)


def _give_up(bench: _Bench) -> None:
    """Takes everything back after an error; where that fails too, the intent stays for the next run."""
    intent = _read_intent(bench.work)
    try:
        left = _resolve(bench, intent).left if intent else []
    except OSError as error:
        raise RestoreError(
            f"the restore of {bench.target} stopped half way: {error.strerror}",
            f"Restore again: that finishes it or takes it back first. Until then {bench.work} must stay.",
        ) from error
    remove_tree(bench.work)
    if left:
        raise RestoreError(f"the restore of {bench.target} stopped: {' '.join(left)}")
    sync_folder(bench.base)


def _refuse_holders(target: Path, side_files: tuple[str, ...]) -> None:
    paths = (target, *(_beside(target, suffix) for suffix in side_files))
    if not filesystem.holders(*paths):  # one look at all open files for all of them
        return
    for path in paths:
        pids = filesystem.holders(path)
        if pids:
            who = f"process {pids[0]}" if len(pids) == 1 else f"processes {', '.join(map(str, pids))}"
            raise BusyError(f"{path} is open in {who}", "Stop it, then restore again.")


def _inherit_owner(bench: _Bench) -> None:
    """Root restores for whoever owned what was there: otherwise the application could not open its own data."""
    if os.geteuid() != 0 or not os.path.lexists(bench.target):
        return
    owner = bench.target.lstat()
    if (owner.st_uid, owner.st_gid) == (os.geteuid(), os.getegid()):
        return
    for path in (bench.staged, *bench.staged.rglob("*")):
        mode = path.lstat().st_mode
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        if mode & 0o6000 and not path.is_symlink():
            path.chmod(mode & 0o7777)  # chown(2) takes these bits away


def _swap(
    bench: _Bench, now: datetime, side_files: tuple[str, ...], stays: tuple[str, ...], exchange: Exchange
) -> Placement:
    moves, kept = (_entry_moves(bench, now) if bench.inside else _moves(bench, now, side_files)), ""
    aside = [move for move in moves if move.role == "aside"]
    if aside:
        kept = str(bench.base / (aside[0].target.split("/")[0] if bench.inside else aside[-1].target))
    status = bench.staged.stat()
    root = (status.st_mode & 0o7777, status.st_mtime_ns) if bench.inside else None
    intent = _Intent(this_owner(now), moves, root, stays)
    _write_intent(bench.work, intent)
    if bench.inside and kept:
        Path(kept).mkdir(mode=0o700)
    try:
        _carry_out(bench, moves, exchange)
        _finish(bench, intent)
    except OSError:
        if not _resolve(bench, intent).finished:
            raise
    return Placement(str(bench.target), kept)


def _moves(bench: _Bench, now: datetime, side_files: tuple[str, ...]) -> tuple[_Move, ...]:
    kept = kept_path(bench.target, now)
    pairs = [(_beside(bench.target, suffix), _beside(kept, suffix)) for suffix in side_files]
    pairs.append((bench.target, kept))
    aside = [_move(bench, here, there, "aside") for here, there in pairs if os.path.lexists(here)]
    return (*aside, _move(bench, bench.staged, bench.target, "new"))


def _entry_moves(bench: _Bench, now: datetime) -> tuple[_Move, ...]:
    kept = kept_path(bench.target / bench.target.name, now)
    present = [path for path in sorted(bench.target.iterdir()) if not is_kept_name(path.name, bench.target.name)]
    aside = [_move(bench, path, kept / path.name, "aside") for path in present]
    coming = sorted(bench.staged.iterdir())
    return (*aside, *(_move(bench, path, bench.target / path.name, "new") for path in coming))


def _move(bench: _Bench, source: Path, target: Path, role: Literal["aside", "new"]) -> _Move:
    return _Move(bench.relative(source), bench.relative(target), source.lstat().st_ino, role)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _carry_out(bench: _Bench, moves: tuple[_Move, ...], exchange: Exchange) -> None:
    base = bench.base
    *before, last = moves
    present = before[-1] if before and before[-1].source == last.target else None
    for move in before:
        if move is not present:
            (base / move.source).rename(base / move.target)
    sync_folder(base)  # side files are gone for good before the new one can appear
    if present and not exchange(base / last.source, base / last.target):
        (base / present.source).rename(base / present.target)
        present = None
    if present is None:
        (base / last.source).rename(base / last.target)


def _resolve(bench: _Bench, intent: _Intent) -> _Outcome:
    """Finishes when the new one is in place, takes everything back when it is not."""
    new = [move for move in intent.moves if move.role == "new"]
    if intent.moves and all(_is_at(bench, move.target, move.inode) for move in new):
        aside = [move for move in intent.moves if move.role == "aside"]
        if new or all(_is_at(bench, move.target, move.inode) for move in aside):
            _finish(bench, intent)
            return _Outcome(finished=True)
    _refuse_to_guess(bench, new)
    left = [line for move in reversed(intent.moves) for line in _take_back(bench, move)]
    for move in intent.moves:
        if bench.inside and move.role == "aside":
            with contextlib.suppress(OSError):  # gone, or not empty because something could not be taken back
                (bench.base / move.target).parent.rmdir()
    return _Outcome(finished=False, left=left)


def _refuse_to_guess(bench: _Bench, new: list[_Move]) -> None:
    """What is staged is about to be thrown away, so it has to be the new one: some file systems change inode numbers."""
    staged = bench.relative(bench.staged)
    if new and not bench.inside and os.path.lexists(bench.staged) and not _is_at(bench, staged, new[0].inode):
        raise RestoreError(
            f"it cannot be told whether {bench.target} or {bench.staged} is the restored one",
            "Look at both, put the right one in place, move the other one away, then try again.",
        )


def _finish(bench: _Bench, intent: _Intent) -> None:
    """Moves the old one, which an exchange has put where the new one was staged, to where it is kept."""
    place = bench.relative(bench.target) if not bench.inside else ""
    for move in intent.moves:
        kept = bench.base / move.target
        if move.source == place and os.path.lexists(bench.staged) and not os.path.lexists(kept):
            bench.staged.rename(kept)
    _move_on(bench, intent)
    if intent.root:
        mode, mtime = intent.root
        bench.target.chmod(mode)
        os.utime(bench.target, ns=(mtime, mtime))
    sync_folder(bench.base)


def _move_on(bench: _Bench, intent: _Intent) -> None:
    """Moves what stays from the old one into the new one, with the folders around it where the new one lacks them."""
    aside = [move.target for move in intent.moves if move.role == "aside"]
    if not (intent.stays and aside):
        return
    kept = bench.base / (aside[0].split("/")[0] if bench.inside else aside[-1])
    for path in intent.stays:
        here, there = kept / path, bench.target / path
        if os.path.lexists(here) and not os.path.lexists(there):
            _make_like(kept, bench.target, PurePosixPath(path).parent)
            _rename_unless_mounted(here, there)


def _rename_unless_mounted(here: Path, there: Path) -> None:
    """What is mounted, or lies in what is mounted, cannot follow: it goes where the folder around it went."""
    try:
        here.rename(there)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EBUSY):
            raise
    sync_folder(there.parent)
    sync_folder(here.parent)


def _make_like(old: Path, new: Path, folder: PurePosixPath) -> None:
    """Makes a folder and those around it in `new` as they are in `old`."""
    for step in (*reversed(folder.parents), folder):
        if not os.path.lexists(new / step):
            (new / step).mkdir(mode=0o700)
            status = (old / step).lstat()
            if os.geteuid() == 0:
                os.chown(new / step, status.st_uid, status.st_gid)
            (new / step).chmod(status.st_mode & 0o7777)


def _take_back(bench: _Bench, move: _Move) -> list[str]:
    source, target = bench.base / move.source, bench.base / move.target
    if not _is_at(bench, move.target, move.inode):
        return []
    if os.path.lexists(source):
        return [f"{source} has been made anew meanwhile; what was there before stays as {target}."]
    target.rename(source)
    return []


def _is_at(bench: _Bench, path: str, inode: int) -> bool:
    try:
        return (bench.base / path).lstat().st_ino == inode
    except (FileNotFoundError, NotADirectoryError):
        return False


def _write_intent(work: Path, intent: _Intent) -> None:
    document = {
        "owner": json.loads(write_owner(intent.owner)),
        "moves": [asdict(move) for move in intent.moves],
        "root": intent.root,
        "stays": intent.stays,
    }
    write_atomic(work / _INTENT, json.dumps(document).encode())


def _read_intent(work: Path) -> _Intent | None:
    """The intent; None when it was not written yet, or was removed as the last things of a finished restore.

    Raises:
        RestoreError: it is damaged.
    """
    try:
        document: dict[str, Any] = json.loads((work / _INTENT).read_bytes())
        owner = read_owner(json.dumps(document["owner"]).encode())
        moves = tuple(_read_move(fields) for fields in document["moves"])
        root = document["root"]
        stays = tuple(checked_relative(path) for path in document.get("stays", ()))
        return _Intent(owner, moves, (int(root[0]), int(root[1])) if root else None, stays)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, IndexError):
        raise RestoreError(
            f"{work / _INTENT}, the journal of an interrupted restore, is damaged",
            f"Look into {work}: what was there before, or the new one, may lie in it. Move it away, then try again.",
        ) from None


def _read_move(fields: dict[str, Any]) -> _Move:
    role: Literal["aside", "new"] = "new" if fields["role"] == "new" else "aside"
    return _Move(checked_relative(fields["source"]), checked_relative(fields["target"]), int(fields["inode"]), role)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turns the machine's refusals into errors that name the place."""
    try:
        yield
    except OSError as error:
        hint = "Free some space and try again." if error.errno in _FULL else ""
        if error.errno == errno.EBUSY:
            hint = "A single file that is a mount point cannot be replaced: mount its folder instead."
        reason = (error.strerror or str(error)).lower()
        kind = NoSpaceError if error.errno in _FULL else RestoreError
        raise kind(f"cannot restore to {shown(str(target))}: {reason}", hint) from error
