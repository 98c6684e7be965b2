"""Restores in place, killed at every file operation. Run by `crash.light`, as one case kills hundreds of forked processes."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from crash.killing import kill_points, run_killed_at
from recoup.model.part import TreePart
from recoup.sources import _placing
from recoup.system import filesystem
from recoup.system.clock import SystemClock
from recoup.system.tempdirs import remove_tree
from recoup.system.unpacking import write_tree

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
SIDES = ("-wal", "-shm")

Swap = Callable[[Path, Path], bool]


def never(_left: Path, _right: Path) -> bool:
    """A file system without an exchange of names."""
    return False


SWAPS: dict[str, Swap] = {"exchange": filesystem.exchange, "renames": never}
"""Ways to put a new one in the place of an old one."""


def picture(folder: Path) -> dict[str, str]:
    """Everything in a folder, with the files' text."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else "/"
        for path in sorted(folder.rglob("*"))
    }


def write_file(path: Path) -> None:
    path.write_text("new")


def write_folder(path: Path) -> None:
    (path / "inner").mkdir(parents=True)
    (path / "common").write_text("new")
    (path / "inner" / "only-new").write_text("new")


def make_old_file(target: Path) -> None:
    target.write_text("old")
    for suffix in SIDES:
        target.with_name(target.name + suffix).write_text(f"old{suffix}")


def make_old_folder(target: Path) -> None:
    (target / "deep").mkdir(parents=True)
    (target / "common").write_text("old")
    (target / "deep" / "only-old").write_text("old")


STATES = {"nothing": None, "file": make_old_file, "folder": make_old_folder}
"""What may be there before."""

RESTORED = {"file": write_file, "folder": write_folder}
"""What may be put there."""


def placing(target: Path, write: Callable[[Path], None], swap: Swap, *, inside: bool | None = None) -> None:
    _placing.place(
        target, now=NOW, write=write, check=lambda _: None, side_files=SIDES, exchange=swap, entry_by_entry=inside
    )


def fresh(folder: Path, make: Callable[[Path], None] | None) -> Path:
    remove_tree(folder)
    folder.mkdir()
    if make:
        make(folder / "data")
    return folder / "data"


def both_ends(
    folder: Path, make: Callable[[Path], None] | None, write: Callable[[Path], None], inside: bool | None
) -> list[dict[str, str]]:
    """What the folder looks like before and after."""
    target = fresh(folder, make)
    before = picture(folder)
    placing(target, write, filesystem.exchange, inside=inside)
    return [before, picture(folder)]


def the_old_or_the_new_one(place: str, swap: str, before: str, after: str, inside: bool | None) -> None:
    """A killed restore leaves one of the two and nothing else."""
    folder, make, write = Path(place), STATES[before], RESTORED[after]
    ends = both_ends(folder, make, write, inside)
    seen = set()
    for n in kill_points(lambda: partial(placing, fresh(folder, make), write, SWAPS[swap], inside=inside)):
        said = _placing.recover(folder / "data")
        found = picture(folder)
        assert found in ends, f"killed at operation {n}"
        assert len(said) <= 1
        seen.add(ends.index(found))
        assert _placing.recover(folder / "data") == ()
    assert seen == {0, 1}, "the kills never hit both sides of the swap"


def what_stays_in_the_old_or_in_the_new_folder(place: str, swap: str, inside: bool | None) -> None:
    """A killed restore leaves what is not replaced in one of the two."""
    folder, stays = Path(place), ("common", "deep/only-old")

    def restore(target: Path) -> None:
        _placing.place(
            target,
            now=NOW,
            write=write_folder,
            check=lambda _: None,
            stays=lambda _: stays,
            exchange=SWAPS[swap],
            entry_by_entry=inside,
        )

    target = fresh(folder, make_old_folder)
    before = picture(folder)
    restore(target)
    ends = [before, picture(folder)]
    assert (target / "deep" / "only-old").read_text() == "old", "what stays moves on, with the folder around it"
    assert (target / "common").read_text() == "new", "what the set has is not covered by what was there"
    for n in kill_points(lambda: partial(restore, fresh(folder, make_old_folder))):
        _placing.recover(target)
        assert picture(folder) in ends, f"killed at operation {n}"


def shown_before_anything_recovers(place: str, swap: str) -> None:
    """A kill shows the old or the new file even then."""
    folder = Path(place)

    def old(target: Path) -> None:
        target.write_text("old")

    for _ in kill_points(lambda: partial(placing, fresh(folder, old), write_file, SWAPS[swap])):
        target = folder / "data"
        if target.exists():
            assert target.read_text() in ("old", "new")
        else:
            assert swap == "renames", "an exchange never leaves the place empty"


def recovery_killed_too(place: str, swap: str, kind: str) -> None:
    """A recovery that is killed is done by the next one."""
    folder, make, write = Path(place), STATES[kind], RESTORED[kind]
    ends = both_ends(folder, make, write, None)
    for n in range(1, 100):
        for m in range(1, 100):
            target = fresh(folder, make)
            if run_killed_at(n, partial(placing, target, write, SWAPS[swap])):
                return
            finished = run_killed_at(m, partial(_placing.recover, target))
            _placing.recover(target)
            assert picture(folder) in ends, f"killed at {n}, recovery killed at {m}"
            if finished:
                break
    raise AssertionError("no end")


def next_restore_just_works(place: str, swap: str) -> None:
    """After a kill."""
    folder = Path(place)
    for _ in kill_points(lambda: partial(placing, fresh(folder, make_old_folder), write_folder, SWAPS[swap])):
        placing(folder / "data", write_folder, SWAPS[swap])
        assert (folder / "data" / "common").read_text() == "new"
        assert not [name for name in picture(folder) if "recoup-restore" in name]


def files_made_anew_after_a_kill(place: str) -> None:
    """What an application made is not overwritten."""
    folder = Path(place)
    told = []
    for _ in kill_points(lambda: partial(placing, fresh(folder, make_old_file), write_file, never)):
        target = folder / "data"
        moved_away = not target.exists()
        if moved_away:
            target.write_text("made by the application")
        said = _placing.recover(target)
        if moved_away:
            told.append(said)
            assert target.read_text() == "made by the application"
            assert (folder / "data.before-restore-20261121_020000").read_text() == "old"
    assert told
    assert all("made anew" in " ".join(said) for said in told)


def merge(place: str) -> None:
    """One that is killed leaves every file old or new, and the next one tidies up."""
    from recoup.sources._base import Site
    from recoup.sources.files import Options, connect  # larger than all that the other cases load

    tmp_path = Path(place)
    tmp_path.mkdir()
    (tmp_path / "new" / "inner").mkdir(parents=True)
    for name in ("a", "inner/b"):
        (tmp_path / "new" / name).write_text("new")
    target = tmp_path / "place"
    site = Site("data", tmp_path, tmp_path / "staging", SystemClock())

    def merged() -> None:
        with connect(Options(kind="files", path=tmp_path / "new"), site).capture() as capture:
            for part in capture.parts():
                assert isinstance(part, TreePart)
                write_tree(part, target, overwrite="always")

    def prepare() -> Callable[[], None]:
        remove_tree(target)
        (target / "inner").mkdir(parents=True)
        for name in ("a", "inner/b"):
            (target / name).write_text("old")
        return merged

    left = 0
    for _ in kill_points(prepare):
        assert {(target / name).read_text() for name in ("a", "inner/b")} <= {"old", "new"}
        left += len(list(target.rglob(".recoup-*")))
        merged()
        assert picture(target) == {"a": "new", "inner": "/", "inner/b": "new"}
    assert left, "no kill hit a file under its temporary name"
