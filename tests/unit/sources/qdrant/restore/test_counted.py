"""What a restore says that it has counted: no more than was compared with the record."""

from dataclasses import replace

import pytest

from .conftest import POINTS, Rig, Set


@pytest.mark.requirement("CO-11")
def test_a_restore_says_how_many_points_are_there_now(rig: Rig, a_set: Set) -> None:
    assert rig.restore(a_set, mode="new", rename={"docs": "docs_copy"}).counted == {"points of docs_copy": POINTS}


def test_a_restore_says_nothing_of_what_was_not_counted_at_the_backup(rig: Rig, a_set: Set) -> None:
    a_set.change("docs", lambda one: replace(one, shards=tuple(replace(s, points=-1) for s in one.shards)))
    assert rig.restore(a_set, mode="new", rename={"docs": "docs_copy"}).counted == {}


def test_what_was_written_into_a_present_collection_is_not_said_to_be_all_of_it(rig: Rig, a_set: Set) -> None:
    assert rig.restore(a_set, mode="merge").counted == {}
