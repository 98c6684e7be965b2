"""Export: one set as a plain repository in a folder or in a tar, which needs no key, and which other programs can read."""

import contextlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from recoup.errors import NoRepositoryError, RecoupError, RefusedError, StorageError, UsageError
from recoup.model.events import Emit, Event
from recoup.model.reports import ExportReport, SetInfo
from recoup.model.structs import Struct
from recoup.operations import copy
from recoup.operations._pump import storage_error
from recoup.repository._base import Repository
from recoup.system.atomicfile import PRIVATE_FILE, PRIVATE_FOLDER, create_private, make_private_folder, sync_folder
from recoup.system.clock import Clock
from recoup.system.tempdirs import beside, remove_tree, temporary_folder

Opened = Callable[[Path], Repository]
"""Opens a plain repository in a folder, whether it is there yet or not."""

_FACTOR = 1.02  # free space for a set, as a multiple of what it holds: files are rounded up to blocks


class Plan(Struct):
    """What an export will do.

    Attributes:
        info: the set.
        repository: where it is.
        target: folder or file; None is standard output.
        tar: whether it becomes a tar.
        was_sealed: whether it is encrypted where it is: what comes out is not.
    """

    info: SetInfo
    repository: str
    target: Path | None
    tar: bool
    was_sealed: bool = False

    @property
    def bytes(self) -> int:
        """What the set holds, plain."""
        return self.info.manifest.bytes if self.info.manifest else 0

    @property
    def where(self) -> str:
        """The target, for people."""
        return "standard output" if self.target is None else str(self.target)


def plan(info: SetInfo, target: Path | None, *, was_sealed: bool) -> Plan:
    """Looks whether a set can be exported; changes nothing.

    Args:
        info: the set.
        target: a folder, or a file that ends in `.tar`; None is a tar on standard output.
        was_sealed: whether its repository encrypts.

    Raises:
        RefusedError: there is such a file already.
        UsageError: it is neither a folder nor a tar.
    """
    if target is None or target.is_dir():
        return Plan(info, info.repository, target, target is None, was_sealed)
    if os.path.lexists(target):
        raise RefusedError(f"{target} is there already", "Nothing was written over; name another file.")
    packed = (".tgz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz", ".zip")
    if target.name.lower().endswith(packed):
        raise UsageError(
            f"{target.name} would be a compressed archive, and exports are not compressed",
            "Name a .tar, or write to a pipe: `recoup export SET --to - | zstd > FILE.tar.zst`.",
        )
    return Plan(info, info.repository, target, target.suffix.lower() == ".tar", was_sealed)


class Around(Struct):
    """The surroundings of an export.

    Attributes:
        origin: where the set is; the caller holds a shared lock there.
        opened: opens the plain repository that the set is copied into.
        clock: time.
        emit: where news go.
        spool: where a tar for standard output is made ready; the system's temporary folder when None.
        output: standard output, for a plan without a target.
    """

    origin: Repository
    opened: Opened
    clock: Clock
    emit: Emit
    spool: Path | None = None
    output: IO[bytes] | None = None


def run(plan: Plan, around: Around) -> ExportReport:
    """Exports. Nothing that looks whole is left of one that fails or is interrupted: what is written lies under another
    name until all of it was compared with the manifest.

    Raises:
        DamagedError: what is stored of the set is damaged.
        RefusedError: the folder has something else in it, or that set already.
        NoSpaceError: there is too little room.
        StorageError: it cannot be written.
    """
    begun = around.clock.monotonic()
    try:
        if plan.target is not None and not plan.tar:
            name = _into_folder(plan, plan.target, around)
        elif plan.target is not None:
            name = _into_file(plan, plan.target, around)
        else:
            name = _into_output(plan, around)
    except OSError as error:
        raise _unwritten(plan, error) from error
    text = f"{plan.info.name} of {plan.repository} was exported to {plan.where}"
    fields = {"from": plan.repository, "to": plan.where, "bytes": plan.bytes}
    around.emit(Event("set_exported", around.clock.now(), text, set=plan.info.name, fields=fields))
    return ExportReport(plan.info.name, plan.repository, plan.where, name, plan.bytes, around.clock.monotonic() - begun)


def _unwritten(plan: Plan, error: OSError) -> RecoupError:
    told = storage_error(error)
    if isinstance(told, StorageError):
        return StorageError(
            f"{plan.where} cannot be written: {error.strerror or error}", "Look at its folder and its disk."
        )
    return type(told)(f"the disk is full: {plan.where} was not written", "Free space, or export to another disk.")


def _copied(plan: Plan, target: Repository, around: Around, factor: float) -> str:
    row = copy.Row(plan.info.name, "", plan.bytes)
    return str(copy.copy_one(row, factor, copy.Way(around.origin, target, around.clock, around.emit)).name)


def _into_folder(plan: Plan, folder: Path, around: Around) -> str:
    """Adds the set to a plain repository that is there, or makes one of it."""
    if folder.is_dir() and any(folder.iterdir()):
        target = _repository_at(folder, around)
        _require_new(plan, target, around)
        return _copied(plan, target, around, _FACTOR)
    staged = beside(folder, "exporting")
    try:
        name = _into_new(plan, staged, around, _FACTOR)
        if folder.is_dir():
            folder.rmdir()
        staged.rename(folder)
    except BaseException:
        remove_tree(staged)
        raise
    sync_folder(folder.parent)
    return name


def _repository_at(folder: Path, around: Around) -> Repository:
    target = around.opened(folder)
    try:
        target.check()
    except (NoRepositoryError, RefusedError):
        raise RefusedError(
            f"{folder} is neither empty nor a plain repository", "Nothing was changed; name another folder."
        ) from None
    return target


def _require_new(plan: Plan, target: Repository, around: Around) -> None:
    planned = copy.plan([plan.info], around.origin, target, _FACTOR, around.clock)
    for row in planned.rows:
        if row.there:
            raise RefusedError(f"{plan.where} has {row.set} already, as {row.there}", "Nothing was changed.")


def _into_new(plan: Plan, folder: Path, around: Around, factor: float) -> str:
    """Makes a repository of the set in a folder that is not there yet."""
    make_private_folder(folder)
    target = around.opened(folder)
    target.create()
    name = _copied(plan, target, around, factor)
    for left in folder.iterdir():
        with contextlib.suppress(OSError):  # the empty folders of locks and of files on their way, which nobody misses
            left.rmdir()
    return name


def _into_file(plan: Plan, file: Path, around: Around) -> str:
    """Makes the repository beside the file first: a tar is begun when all its bytes were compared."""
    make_private_folder(file.parent)
    staged = beside(file, "exporting")
    with temporary_folder("export", file.parent) as room:
        name = _into_new(plan, room / "set", around, 2 * _FACTOR)
        try:
            with os.fdopen(create_private(staged), "wb") as out:
                write_tar(room / "set", out)
                out.flush()
                os.fsync(out.fileno())
            _appear(staged, file)
        finally:
            staged.unlink(missing_ok=True)
    sync_folder(file.parent)
    return name


def _appear(staged: Path, file: Path) -> None:
    """Gives a whole file its name, unless something has taken it meanwhile."""
    try:
        os.link(staged, file)
    except FileExistsError:
        raise RefusedError(f"{file} is there already", "Nothing was written over; name another file.") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(file):
            raise RefusedError(f"{file} is there already", "Nothing was written over; name another file.") from None
        staged.rename(file)


def _into_output(plan: Plan, around: Around) -> str:
    if around.output is None:
        raise UsageError("there is no standard output to write to")
    with temporary_folder("export", around.spool) as room:
        name = _into_new(plan, room / "set", around, _FACTOR)
        write_tar(room / "set", around.output)
        around.output.flush()
    return name


def write_tar(folder: Path, out: IO[bytes]) -> None:
    """Writes all that is in a folder as a tar in the POSIX format, in the order of names, without owners.

    Args:
        folder: its own name is not in the tar.
        out: gets the bytes; it need not be able to seek.
    """

    def bare(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mode = PRIVATE_FOLDER if info.isdir() else PRIVATE_FILE
        return info

    with tarfile.open(
        fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry in sorted(folder.iterdir()):
            tar.add(entry, entry.name, filter=bare)
            tar.members.clear()  # type: ignore[attr-defined] # what was written need not be remembered
