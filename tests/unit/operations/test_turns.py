from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import UsageError
from recoup.operations.turns import Turn, Turns, last_round
from recoup.repository import _subset
from recoup.repository._base import Subset
from recoup.repository._subset import Portion

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@given(st.lists(st.floats(0.02, 1), min_size=1, max_size=60), st.floats(0, 1), st.integers(1, 3))
def test_shares_that_follow_each_other_read_everything_in_a_round(
    shares: list[float], begin: float, factor: int
) -> None:
    paths = {f"packs/{n}" for n in range(200)}
    left, together = set(paths), 0.0
    for share in [*shares, *([0.3] * 4 * factor)]:
        subset = Portion(share).of(0, begin)
        left -= {path for path in left if subset.has(path)}
        begin, together = (subset.begin + (subset.share or 0.0)) % 1.0, together + share
        if together >= 1:
            assert not left
            break


def test_a_part_goes_on_where_the_last_one_ended_and_says_how_far_it_came() -> None:
    turns = Turns("stack", "main")
    begins, said = [], []
    for n in range(5):
        subset = Portion(0.4).of(0, turns.begin())
        begins.append(subset.begin)
        said.append(turns.read_now(subset, NOW + timedelta(days=n)).message)
    assert all((b - a) % 1.0 == pytest.approx(0.4) for a, b in pairwise(begins))
    assert said[0] == "40% of the bytes of main were read since 2026-11-21; the others come in turn"
    assert said[1].startswith("80%")
    assert said[2:] == [f"every byte of main was read since 2026-11-{21 + n}" for n in range(3)]
    assert len(turns.read()) == 3
    told = turns.read_now(Portion(0.4).of(0, turns.begin()), NOW + timedelta(days=9), unread=2)
    assert told.message.endswith("2 of its sets cannot be read at all")
    assert Turns("stack", "other").read() == Turns("stack", "main", "latest").read() == []


def test_a_round_is_the_newest_turns_that_read_everything() -> None:
    turns = [Turn(NOW, 0.0, 0.5), Turn(NOW, 0.5, 0.75), Turn(NOW, 0.25, 0.25)]
    assert last_round(turns) == turns[1:]
    assert last_round(turns[:1]) == turns[:1]


def test_a_number_of_bytes_is_a_share_of_all() -> None:
    assert _subset.parsed("10G") == Portion(size=10 * 2**30)
    assert _subset.parsed("1.5MB") == Portion(size=1_500_000)
    assert Portion(size=25).of(100, 0.5).share == pytest.approx(0.25)
    assert Portion(size=100).of(100, 0.5) == Portion(size=5).of(0, 0.5) == Subset()
    assert _subset.parsed("100%") == Subset()
    assert _subset.parsed("2/7") == Subset(2, 7)


@pytest.mark.parametrize("text", ["", "0G", "G", "-1G", "1e3", "nan%", "0/0", "8/7", "101%", "1X"])
def test_what_is_no_subset_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no subset"):
        _subset.parsed(text)


def test_reading_nothing_and_a_part_contradict_each_other() -> None:
    assert not _subset.structure_only("100%").whole
    with pytest.raises(UsageError):
        _subset.structure_only("5%")
