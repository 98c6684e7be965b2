"""What jobs tell is read as it grows: nothing twice, nothing lost, whatever a program writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.web._job_news import PIECE, News, parsed, read

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(), values, max_size=3).flatmap(
    lambda fields: st.text(max_size=8).map(lambda name: {**fields, "event": name})
)


def read_all(file: Path, *, ended: bool, after: int = 0) -> News:
    """All that can be read now, piece by piece."""
    found: list[dict[str, Any]] = []
    while True:
        news = read(file, after, ended=ended)
        found += news.records
        if news.end == after:
            return News(tuple(found), after)
        after = news.end


def text(message: str) -> dict[str, str]:
    return {"event": "text", "message": message}


@given(st.lists(records, max_size=6))
def test_records_come_back_as_they_were_told(told: list[dict[str, Any]]) -> None:
    data = b"".join(json.dumps(record).encode() + b"\n" for record in told)
    assert parsed(data, 7, ended=False) == News(tuple(told), 7 + len(data))


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from([b'{"event":', b'"x"}', b"\n", b"\r\n", b"{}", b"\xff", b"\\ud800", b'"']), max_size=30
    ).map(b"".join),
    st.lists(st.integers(0, 300)),
    st.integers(1, 40),
)
def test_whatever_is_written_in_whatever_steps_is_read_once_and_can_be_passed_on(
    data: bytes, steps: list[int], piece: int
) -> None:
    end = 0
    found: list[dict[str, Any]] = []
    for size in [*sorted(steps), len(data)]:
        written = data[:size]
        while True:
            news = parsed(written[end : end + piece], end, ended=False, piece=piece)
            found += news.records
            if news.end == end:
                break
            end = news.end
    last = parsed(data[end : end + piece], end, ended=True, piece=piece)
    assert last.end == len(data)
    lines = data.split(b"\n")
    if max(map(len, lines)) < piece:
        assert len(found) + len(last.records) == len([line for line in lines if line.strip()])
    for record in (*found, *last.records):
        assert isinstance(record["event"], str)
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def test_half_a_line_is_left_for_the_next_time_and_told_when_nothing_more_comes(tmp_path: Path) -> None:
    file = tmp_path / "news"
    assert read(file, 0, ended=False) == News((), 0)
    file.write_bytes(b'{"event": "a"}\n{"event"')
    first = read(file, 0, ended=False)
    assert first == News(({"event": "a"},), 15)
    with file.open("ab") as more:
        more.write(b': "b"}\n{"ev')
    second = read(file, first.end, ended=False)
    assert second == News(({"event": "b"},), 30)
    assert read(file, second.end, ended=True) == News((text('{"ev'),), 34)
    assert read(file, 34, ended=True) == News((), 34)


@pytest.mark.parametrize(
    "line",
    [
        "Nothing to remove.",
        "[1]",
        "{}",
        '{"event": 1}',
        '{"event": "a", "x": NaN}',
        '{"event": "a", "x": "\\ud800"}',
        '{"event": "a", "x": ' + "9" * 5000 + "}",
        "[" * 100_000,
        "<script>alert(1)</script>",
    ],
    ids=range(9),
)
def test_a_line_that_is_no_record_is_text(line: str) -> None:
    assert parsed(line.encode() + b"\r\n", 0, ended=False).records == (text(line),)


def test_what_is_no_text_is_shown_as_far_as_it_goes() -> None:
    assert parsed(b"\xff\n\n  \n", 0, ended=False).records == (text("\N{REPLACEMENT CHARACTER}"),)


def test_a_file_is_read_in_pieces_and_never_whole(tmp_path: Path) -> None:
    file, line = tmp_path / "news", b'{"event": "a"}\n'
    file.write_bytes(line * 200_000)
    first = read(file, 0, ended=True)
    assert PIECE - len(line) < first.end <= PIECE
    assert len(read_all(file, ended=True, after=first.end).records) == 200_000 - len(first.records)


def test_a_line_that_is_longer_than_a_piece_is_left_out_and_said(tmp_path: Path) -> None:
    file = tmp_path / "news"
    file.write_bytes(b"x" * (PIECE + 10) + b'\n{"event": "a"}\n')
    told = read_all(file, ended=False).records
    assert told == (text("A line of more than 1,048,576 bytes is not shown."), text("x" * 10), {"event": "a"})


@pytest.mark.parametrize(("after", "end"), [(-5, 2), (1, 2), (2, 2), (3, 3), (10**30, 10**30)])
def test_an_offset_that_nobody_was_given_does_no_harm(tmp_path: Path, after: int, end: int) -> None:
    file = tmp_path / "news"
    file.write_bytes(b"x\n")
    assert read(file, after, ended=True).end == end
