"""A restore in place, killed at every file operation: the next run finds the old one or the new one, and tidies up."""

from pathlib import Path

import pytest

from crash import placing_cases as cases
from crash.light import run_light

swaps = pytest.mark.parametrize("swap", cases.SWAPS)


@swaps
@pytest.mark.parametrize(
    ("before", "after", "inside"),
    [
        ("file", "file", None),
        ("nothing", "file", None),
        ("folder", "folder", None),
        ("nothing", "folder", None),
        ("folder", "folder", True),
        ("file", "folder", None),
        ("folder", "file", None),
    ],
    ids=["file", "new file", "folder", "new folder", "mount point", "folder for file", "file for folder"],
)
def test_a_killed_restore_leaves_the_old_or_the_new_one_and_nothing_else(
    tmp_path: Path, swap: str, before: str, after: str, inside: bool | None
) -> None:
    run_light(cases.the_old_or_the_new_one, tmp_path / "place", swap, before, after, inside)


@swaps
@pytest.mark.parametrize("inside", [None, True], ids=["folder", "mount point"])
def test_a_killed_restore_leaves_what_is_not_replaced_in_the_old_or_in_the_new_folder(
    tmp_path: Path, swap: str, inside: bool | None
) -> None:
    run_light(cases.what_stays_in_the_old_or_in_the_new_folder, tmp_path / "place", swap, inside)


@swaps
def test_a_kill_shows_the_old_or_the_new_file_even_before_anything_recovers(tmp_path: Path, swap: str) -> None:
    run_light(cases.shown_before_anything_recovers, tmp_path / "place", swap)


@swaps
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_recovery_that_is_killed_too_is_done_by_the_next_one(tmp_path: Path, swap: str, kind: str) -> None:
    run_light(cases.recovery_killed_too, tmp_path / "place", swap, kind)


@swaps
def test_after_a_kill_the_next_restore_just_works(tmp_path: Path, swap: str) -> None:
    run_light(cases.next_restore_just_works, tmp_path / "place", swap)


def test_files_that_an_application_made_anew_after_a_kill_are_not_overwritten(tmp_path: Path) -> None:
    run_light(cases.files_made_anew_after_a_kill, tmp_path / "place")


def test_a_merge_that_is_killed_leaves_every_file_old_or_new_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    run_light(cases.merge, tmp_path / "place")
