"""What the pages of sets are made of, without a browser: the cut, facts, marks, lists, ranges, names of files."""

import itertools
import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import NoSuchSetError
from recoup.model.facts import Facts, Probe, Value
from recoup.model.manifest import Frozen, Host, Manifest, SourceRecord
from recoup.model.marks import Mark
from recoup.model.reports import SetInfo
from recoup.operations.contents import Entry
from recoup.web import _browsing
from recoup.web._attachment import attachment
from recoup.web._browsing import ROWS, Cursor, Listing, listing
from recoup.web._cut import WIDTH, cut_of, offset
from recoup.web._fact_changes import MOST, fact_changes
from recoup.web._lookup import Looked, chosen
from recoup.web._ranges import span_of
from recoup.web._set_view import MOST_ROWS, counts, learned, source_view, text_of

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(milliseconds: float) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def source(first: float | None = None, last: float | None = None, facts: Facts | None = None) -> SourceRecord:
    if first is None:
        return SourceRecord("files", "failed", "it was away")
    return SourceRecord("files", "complete", frozen=Frozen(at(first), at(first if last is None else last)), facts=facts)


def manifest(**sources: SourceRecord) -> Manifest:
    host = Host("vm", "Linux")
    return Manifest(
        "0" * 32, "backup_20261122_120000", "shop", host, "1", "3", NOON, NOON, "complete", tuple(sources), sources
    )


# --- the cut ------------------------------------------------------------------------------------------------------------


def test_the_cut_puts_each_source_where_it_stood_still() -> None:
    cut = cut_of(manifest(late=source(40), early=source(0), middle=source(10)))
    assert [(row.source, row.x) for row in cut.rows] == [("early", 0), ("middle", WIDTH / 4), ("late", WIDTH)]
    assert (cut.spread_ms, cut.seconds, cut.intervals, cut.never) == (40, 0.04, (), ())
    assert [offset(row.seconds) for row in cut.rows] == ["+0 ms", "+10 ms", "+40 ms"]


def test_an_interval_is_no_moment_and_a_failed_source_is_not_in_the_cut() -> None:
    cut = cut_of(manifest(read=source(0, 1000), frozen=source(500), lost=source()))
    (interval,) = cut.intervals
    assert (interval.source, interval.x, interval.width, interval.lasted) == ("read", 0, WIDTH, 1.0)
    assert [row.source for row in cut.moments] == ["frozen"]
    assert cut.never == ("lost",)


def test_a_set_of_nothing_has_no_cut() -> None:
    assert cut_of(manifest(lost=source())).rows == ()


@given(st.lists(st.tuples(st.floats(0, 1e8), st.floats(0, 1e8)), min_size=1, max_size=8))
def test_whatever_the_times_the_picture_stays_on_its_axis(times: list[tuple[float, float]]) -> None:
    cut = cut_of(manifest(**{f"s{n}": source(a, a + b) for n, (a, b) in enumerate(times)}))
    assert len(cut.rows) == len(times)
    assert all(row.x >= 0 and row.x + row.width <= WIDTH + 0.01 for row in cut.rows)


# --- facts and marks ----------------------------------------------------------------------------------------------------


def facts(**values: Value) -> Facts:
    return Facts({"table messages": values})


def test_facts_that_are_others_than_before_are_told_also_those_that_came_and_went() -> None:
    before = manifest(chat=source(0, facts=facts(rows=5, schema="a", gone=1)))
    after = manifest(chat=source(0, facts=facts(rows=8, schema="a", new=2)), more=source(0, facts=facts(rows=1)))
    found = {(one.source, one.name): (one.before, one.after) for one in fact_changes(before, after)}
    assert found == {
        ("chat", "rows"): (5, 8),
        ("chat", "gone"): (1, None),
        ("chat", "new"): (None, 2),
        ("more", "rows"): (None, 1),
    }
    assert fact_changes(after, after) == ()


def test_very_many_changes_are_cut_so_that_a_reader_can_tell() -> None:
    many = manifest(chat=source(0, facts=Facts({f"table t{n}": {"rows": n} for n in range(MOST + 50)})))
    assert len(fact_changes(manifest(), many)) == MOST + 1


def test_long_tables_of_facts_say_how_much_more_there_is() -> None:
    probes = tuple(Probe("docs", "", str(n), ()) for n in range(3))
    record = source(0, facts=Facts({f"table t{n}": {"rows": 1000} for n in range(MOST_ROWS + 7)}, probes))
    view = source_view(record)
    assert (len(view.facts.shown), view.facts.more) == (MOST_ROWS, 7)
    assert view.facts.shown[0] == ("table t0", "rows", "1,000")
    assert view.probes.shown == (("docs", "", "3"),)
    assert source_view(source()).facts.shown == ()


def test_a_fact_is_shown_as_people_write_it() -> None:
    assert [text_of(value) for value in (None, True, 1234567, "x" * 400)] == [
        "not recorded",
        "True",
        "1,234,567",
        "x" * 300 + "...",
    ]


def test_only_what_was_counted_counts() -> None:
    record = source(0, facts=facts(rows=5, schema="x", is_empty=False, user_version=3))
    assert counts(record) == (("table messages", "rows", 5),)


@pytest.mark.parametrize(
    ("mark", "level", "words"),
    [
        (Mark("proof", NOON, "", {"level": "drill", "passed": True, "whole": True}), "good", "Drill passed"),
        (Mark("proof", NOON, "", {"level": "drill", "passed": True, "whole": False}), "neutral", "of a part only"),
        (Mark("proof", NOON, "", {"level": "drill", "passed": False, "whole": True}), "bad", "Drill failed"),
        (Mark("proof", NOON, "", {"level": "verify", "passed": True}), "neutral", "of a part only"),
        (Mark("proof", NOON, "", {"level": "verify"}), "bad", "Hash check failed"),
        (Mark("pin", NOON, "", {"reason": "why\x07", "until": "2027"}), "neutral", "Pinned, until 2027: why\ufffd"),
        (Mark("note", NOON, "", {"text": "<b>"}), "neutral", "Note: <b>"),
        (Mark("unpin", NOON), "neutral", "pin was taken off"),
        (Mark("accepted", NOON), "neutral", "Accepted"),
        (Mark("restored", NOON), "neutral", "Restored"),
    ],
)
def test_a_mark_is_good_only_when_all_of_it_was_seen_to_be(mark: Mark, level: str, words: str) -> None:
    told, sentence = learned(mark)
    assert told == level
    assert words in sentence


# --- sets ---------------------------------------------------------------------------------------------------------------


def info(name: str, repository: str = "local", number: str = "0", requested: tuple[str, ...] = ("a",)) -> SetInfo:
    made = replace(manifest(), id=number * 32, name=name, requested=requested)
    return SetInfo(repository, name, made)


def test_the_set_before_is_of_the_same_sources_and_repository_where_there_is_one() -> None:
    new = info("backup_20261122_120000", number="3")
    other = info("backup_20261121_120000", number="2", requested=("b",))
    old = info("backup_20261120_120000", number="1")
    afar = info("backup_20261121_130000", "second", "4")
    assert Looked(new, (new, afar, other, old)).before == old
    assert Looked(new, (new, afar, other)).before == other
    assert Looked(old, (new, other, old)).before is None


def test_copies_are_of_the_same_cut_elsewhere_and_names_are_compared_whole() -> None:
    one, copy = info("backup_20261122_120000"), info("backup_20261122_120000_2", "second")
    other = info("backup_20261122_120000", "third", "9")
    looked = Looked(one, (one, copy, other))
    assert looked.copies == (copy,)
    assert chosen(looked.infos, "third", "backup_20261122_120000") == other
    for repository, name in (("local", "backup_2026"), ("../local", one.name), ("local", "..")):
        with pytest.raises(NoSuchSetError):
            chosen(looked.infos, repository, name)


def test_a_set_that_cannot_be_read_has_no_copies_and_nothing_to_compare_it_with() -> None:
    lost = SetInfo("local", "backup_20261122_120000", None, problem="damaged")
    looked = Looked(lost, (lost, info("backup_20261121_120000"), SetInfo("second", lost.name, None)))
    assert (looked.copies, looked.before, looked.comparable) == ((), None, ())


# --- lists --------------------------------------------------------------------------------------------------------------


def tree(folders: int, files: int) -> Iterator[Entry]:
    for folder in range(folders):
        yield Entry(f"notes/d{folder:04}", "folder", 0)
        yield from (Entry(f"notes/d{folder:04}/f{n:04}", "file", 3) for n in range(files))


def pages(entries: list[Entry], path: str) -> Iterator[Listing]:
    begin: Cursor | None = Cursor()
    while begin is not None:
        page = listing(iter(entries), path, begin)
        yield page
        begin = page.next


def test_a_folder_shows_what_is_right_below_it_and_nothing_deeper() -> None:
    found = listing(tree(3, 4), "notes", Cursor())
    assert [row.name for row in found.rows] == ["d0000", "d0001", "d0002"]
    assert (found.next, found.itself, found.looked_at) == (None, None, 15)


def test_folders_that_are_known_by_what_is_below_them_are_shown_once() -> None:
    entries = [Entry("snap/a/1", "file", 1), Entry("snap/b", "file", 2), Entry("snap/a/2", "file", 3)]
    rows = listing(entries, "snap", Cursor()).rows
    assert [(row.name, row.kind, row.bytes) for row in rows] == [("a", "folder", None), ("b", "file", 2)]


def test_a_path_that_leads_to_a_file_is_that_file() -> None:
    found = listing([Entry("notes/x.tar", "file", 9), Entry("notes/x.tar/y", "file", 1)], "/notes//x.tar", Cursor())
    assert found.itself is not None
    assert found.itself.path == "notes/x.tar"
    assert [row.path for row in found.rows] == ["notes/x.tar/y"]


def test_pages_go_on_where_the_one_before_ended_without_gap_or_repetition() -> None:
    found = [row.name for page in pages(list(tree(1203, 2)), "notes") for row in page.rows]
    assert found == [f"d{n:04}" for n in range(1203)]


def test_a_page_of_a_million_members_reads_a_stretch_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_browsing, "STRETCH", 1000)
    read = itertools.count()
    stream = (entry for entry in tree(1000, 1000) if next(read) >= 0)
    first = listing(stream, "notes", Cursor())
    assert (first.looked_at, len(first.rows), first.next) == (1000, 1, Cursor(1000, "d0000"))
    assert next(read) == 1001
    assert list(pages(list(tree(3, 900)), "notes"))[-1].next is None


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join), unique=True, max_size=40),
    st.integers(1, 5),
    st.integers(1, 7),
)
def test_no_name_is_lost_however_pages_are_cut(names: list[str], rows: int, stretch: int) -> None:
    entries = [Entry(f"s/{name}", "file", 1) for name in sorted(names)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_browsing, "ROWS", rows)
        patch.setattr(_browsing, "STRETCH", stretch)
        found = [row.name for page in pages(entries, "s") for row in page.rows]
    assert found == sorted({name.partition("/")[0] for name in names})
    assert ROWS == 500


# --- ranges and names of files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "first", "last", "partial"),
    [
        ("", 0, 99, False),
        ("bytes=0-9", 0, 9, True),
        ("bytes=90-", 90, 99, True),
        ("bytes=90-1000", 90, 99, True),
        ("bytes=-5", 95, 99, True),
        ("bytes=-500", 0, 99, True),
        ("bytes=0-1,5-6", 0, 99, False),
        ("bytes=9-2", 0, 99, False),
        ("lines=1-2", 0, 99, False),
        ("bytes=-", 0, 99, False),
        ("bytes=٣-٤", 0, 99, False),
    ],
)
def test_a_range_is_what_the_standard_says(header: str, first: int, last: int, *, partial: bool) -> None:
    span = span_of(header, 100)
    assert span is not None
    assert (span.first, span.last, span.partial, span.length) == (first, last, partial, last + 1 - first)


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-1", 0)])
def test_a_range_that_a_file_does_not_have_is_none(header: str, size: int) -> None:
    assert span_of(header, size) is None


@given(st.text(max_size=30), st.integers(0, 10**6))
def test_whatever_is_asked_for_is_within_the_file(text: str, size: int) -> None:
    span = span_of(f"bytes={text}", size)
    assert span is None or (span.first >= 0 and span.last < max(size, 1) and span.length <= size)


@given(st.text(max_size=300))
def test_a_file_is_saved_under_a_name_that_is_only_a_name(name: str) -> None:
    header = attachment(name)["Content-Disposition"]
    assert header.isascii()
    assert not set(header) & set("\r\n\0\\")
    parsed = Message()
    parsed["Content-Disposition"] = header
    quoted = header.split('"')[1]
    assert set(quoted) <= set(string.ascii_letters + string.digits + "._-")
    assert not quoted.startswith(".")
    assert parsed.get_content_disposition() == "attachment"
    told = unquote(header.partition("filename*=UTF-8''")[2]) or quoted
    assert "/" not in told
    assert told.isprintable()


def test_a_name_in_other_letters_is_told_twice() -> None:
    told = attachment("notes/Übersicht 1.txt")["Content-Disposition"]
    assert told == "attachment; filename=\"_bersicht_1.txt\"; filename*=UTF-8''%C3%9Cbersicht%201.txt"
    assert attachment("a/first.txt")["Content-Disposition"] == 'attachment; filename="first.txt"'
