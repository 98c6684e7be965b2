"""A dedup backup killed at every file operation: no false set, and the next run goes on where the killed one was."""

from pathlib import Path

import pytest

from crash import dedup_cases as cases
from crash.light import run_light


@pytest.mark.requirement("DM-12", "DM-8")
def test_a_dedup_backup_killed_anywhere_leaves_no_false_set_and_the_next_one_goes_on(tmp_path: Path) -> None:
    run_light(cases.backup, tmp_path)


@pytest.mark.requirement("DM-12")
def test_a_prune_of_chunks_killed_anywhere_loses_nothing_and_is_finished_by_the_next(tmp_path: Path) -> None:
    run_light(cases.prune, tmp_path)


def test_a_copy_killed_anywhere_leaves_no_false_set_and_the_next_one_goes_on(tmp_path: Path) -> None:
    run_light(cases.copy, tmp_path)
