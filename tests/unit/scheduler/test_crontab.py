"""Our lines in a crontab: all others stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import RecoupError
from recoup.scheduler._crontab import begin_line, block_in, end_line, with_block

LINES = st.lists(st.sampled_from([b"0 1 * * * x\n", b"# note\n", b"\n", b"\xff\xfe\n", b"# END recoup other\n"])).map(
    b"".join
)
BLOCK = b"* * * * * recoup\n"


@given(table=LINES, last=st.sampled_from([b"", b"5 * * * * without an end"]))
def test_our_lines_come_and_go_and_all_others_stay(table: bytes, last: bytes) -> None:
    whole = with_block(table + last, "s", BLOCK)
    assert block_in(whole, "s") == BLOCK
    assert whole.startswith(table + last)
    assert with_block(whole, "s", BLOCK) == whole
    assert with_block(whole, "s", b"") == table + last + (b"\n" if last else b"")


@given(before=LINES, after=LINES)
def test_lines_that_were_added_below_ours_keep_their_place(before: bytes, after: bytes) -> None:
    table = before + begin_line("s") + BLOCK + end_line("s") + after
    new = b"@reboot recoup\n"
    assert with_block(table, "s", new) == before + begin_line("s") + new + end_line("s") + after
    assert with_block(table, "s", b"") == before + after


def test_two_stacks_have_lines_of_their_own() -> None:
    both = with_block(with_block(b"", "a", b"1\n"), "b", b"2\n")
    assert (block_in(both, "a"), block_in(both, "b")) == (b"1\n", b"2\n")
    assert with_block(both, "a", b"") == with_block(b"", "b", b"2\n")


@pytest.mark.parametrize(
    "table",
    [
        begin_line("s") + b"x\n",
        b"x\n" + end_line("s"),
        end_line("s") + begin_line("s"),
        (begin_line("s") + end_line("s")) * 2,
    ],
)
def test_marks_that_somebody_broke_are_left_to_that_person(table: bytes) -> None:
    with pytest.raises(RecoupError, match="not as they were written"):
        with_block(table, "s", BLOCK)
