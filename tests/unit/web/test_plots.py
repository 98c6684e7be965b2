"""The calendar, what sets tell of the past, and how it is drawn."""

from datetime import UTC, date, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from recoup.model.figures import size, span
from recoup.model.marks import Standing
from recoup.model.reports import SetInfo
from recoup.web._calendar import Day, level_of, month_before, month_of, months
from recoup.web._history import MOST, Point, growth, restores, sizes, thinned
from recoup.web._plots import HEIGHT, WIDTH, Kind, plot
from unit.web.set_infos import NOW, info, unreadable


def points(*values: float, days: float = 1) -> tuple[Point, ...]:
    first = NOW - timedelta(days=days * len(values))
    return tuple(Point(first + timedelta(days=days * n), value) for n, value in enumerate(values))


# --- calendar ---------------------------------------------------------------------------------------------------------


def test_a_month_has_each_of_its_days_once_and_the_sets_on_theirs() -> None:
    newest, older = info(0), info(1)
    (month,) = months([newest, older], UTC, date.max, 12)
    days = [day for week in month.weeks for day in week if day is not None]
    assert [day.date.day for day in days] == list(range(1, 31))
    assert {day.date.day: day.infos for day in days if day.infos} == {22: (newest,), 21: (older,)}
    assert all(len(week) == 7 for week in month.weeks)
    assert month.weeks[0].index(days[0]) == date(2026, 11, 1).weekday()


def test_months_go_back_from_the_newest_with_sets_and_no_further_than_the_oldest() -> None:
    infos = [info(0), info(100)]
    assert [f"{month.first:%Y-%m}" for month in months(infos, UTC, date.max, 12)] == [
        "2026-11",
        "2026-10",
        "2026-09",
        "2026-08",
    ]
    assert [f"{month.first:%Y-%m}" for month in months(infos, UTC, date(2026, 10, 31), 12)] == ["2026-08"]
    assert months(infos, UTC, date(2026, 7, 31), 12) == ()
    assert months([], UTC, date.max, 12) == ()


def test_the_month_before_january_is_of_the_year_before() -> None:
    assert month_before(date(2026, 1, 1)) == date(2025, 12, 1)
    assert month_of("2026-01") == date(2026, 1, 1)


@given(st.text(max_size=12))
def test_what_is_no_month_is_none(text: str) -> None:
    found = month_of(text)
    assert found is None or found.day == 1


@pytest.mark.parametrize(
    ("one", "level"),
    [
        (info(0), "good"),
        (info(0, outcomes={"notes": "suspicious"}), "warning"),
        (info(0, outcomes={"notes": "suspicious"}, standing=Standing(accepted=True)), "good"),
        (info(0, outcomes={"notes": "failed"}), "bad"),
        (info(0, standing=Standing(damaged=NOW)), "bad"),
        (info(0, standing=Standing(failed_proof=NOW)), "bad"),
        (unreadable(0), "bad"),
    ],
)
def test_a_day_is_as_good_as_its_worst_set(one: SetInfo, level: str) -> None:
    assert level_of(one) == level
    assert Day(date(2026, 11, 22), (info(0), one)).level == level


def test_a_day_says_in_words_what_its_colour_says() -> None:
    day = Day(
        date(2026, 11, 22),
        (unreadable(0), info(0, standing=Standing(proven=NOW, pinned=True)), info(0, outcomes={"notes": "failed"})),
    )
    assert day.text == "3 sets, 1 unreadable, 1 proven, 1 pinned, 1 incomplete"
    assert Day(date(2026, 11, 22)).level is None


# --- history ----------------------------------------------------------------------------------------------------------


def test_a_set_of_some_sources_does_not_make_the_stack_smaller() -> None:
    infos = [info(2, {"notes": 100, "chat": 10}), info(1, {"notes": 120}), info(0, {"chat": 30})]
    assert [point.value for point in sizes(infos, ["notes", "chat"])] == [110, 130, 150]
    assert [point.value for point in sizes(infos, ["chat"])] == [10, 30]


def test_copies_of_a_cut_count_once_and_what_is_not_good_not_at_all() -> None:
    infos = [
        info(2, {"notes": 100}, id_="same"),
        info(2, {"notes": 100}, id_="same", repository="other"),
        info(1, {"notes": 3}, outcomes={"notes": "suspicious"}),
        unreadable(0),
    ]
    assert [point.value for point in sizes(infos, ["notes"])] == [100]


def test_growth_is_bytes_a_day_whatever_the_distance() -> None:
    assert [point.value for point in growth(points(0, 50, 30))] == [50, -20]
    assert [point.value for point in growth(points(0, 50, 100, days=10))] == [5, 5]
    assert growth(points(1, 2, 3, days=0.1)) == ()
    assert growth(()) == ()


def test_restore_times_are_those_of_passed_drills_in_their_order() -> None:
    drilled = [
        info(1, standing=Standing(proven=NOW, restore_seconds=3.0)),
        info(5, standing=Standing(proven=NOW - timedelta(days=4), restore_seconds=2.0)),
        info(0, standing=Standing(proven=NOW)),
        info(3),
    ]
    assert [point.value for point in restores(drilled)] == [2.0, 3.0]


@given(st.lists(st.floats(0, 1e15), max_size=300), st.floats(0, 3))
def test_thinned_points_are_some_of_them_in_their_order_with_the_last(values: list[float], days: float) -> None:
    all_of_them = points(*values, days=days)
    found = thinned(all_of_them)
    assert len(found) <= MOST
    assert list(found) == [point for point in all_of_them if point in found][-len(found) :] or not found
    assert found[-1:] == all_of_them[-1:]


# --- drawing ----------------------------------------------------------------------------------------------------------


@given(
    values=st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=60),
    days=st.floats(0, 100),
    kind=st.sampled_from(["line", "bars", "dots"]),
    unit=st.sampled_from([1000.0, 1024.0]),
)
def test_every_drawing_is_well_formed_and_nothing_leaves_it(
    values: list[float], days: float, kind: Kind, unit: float
) -> None:
    drawn = plot("size", "Size", kind, points(*values, days=days), lambda value: f"{value:.1f} B", unit)
    root = ET.fromstring(drawn.svg)
    assert root.get("role") == "img"
    assert {child.get("id") for child in root} >= set(str(root.get("aria-labelledby")).split())
    for element in root.iter():
        assert "style" not in element.attrib
        for name, limit in (("x", WIDTH), ("cx", WIDTH), ("x1", WIDTH), ("x2", WIDTH), ("y", HEIGHT), ("cy", HEIGHT)):
            assert 0 <= float(element.get(name, 0)) <= limit
        assert float(element.get("height", 1)) > 0
    for line in root.iter("polyline"):
        for place in str(line.get("points")).split():
            x, y = map(float, place.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


def test_a_drawing_says_in_words_what_it_shows() -> None:
    drawn = plot("size", "Size", "line", points(1024, 4096, 2048), size, 1024)
    assert drawn.summary == "From 1.0 KiB on 2026-11-19 to 2.0 KiB on 2026-11-21; at least 1.0 KiB, at most 4.0 KiB."
    assert f'<desc id="size-text">{drawn.summary}</desc>' in drawn.svg
    assert plot("size", "Size", "dots", points(5), size).summary == "5 B on 2026-11-21."
    soon = plot("size", "Size", "line", points(5, 7, days=0.01), size)
    assert soon.summary == "From 5 B to 7 B on 2026-11-22; at least 5 B, at most 7 B."


@pytest.mark.parametrize(
    ("most", "spell", "unit", "ticks"),
    [
        (1_900_000, size, 1024.0, ["0 B", "1 MiB", "2 MiB"]),
        (1300.0, size, 1024.0, ["0 B", "500 B", "1000 B", "1.5 KiB"]),
        (0, size, 1024.0, ["0 B", "1 B"]),
        (7.3, span, 1000.0, ["0 s", "5 s", "10 s"]),
    ],
)
def test_ticks_are_even_values_in_the_unit_of_a_person(
    most: float, spell: type[str], unit: float, ticks: list[str]
) -> None:
    drawn = plot("size", "Size", "line", points(0, most), spell, unit)
    root = ET.fromstring(drawn.svg)
    assert [text.text for text in root.iter("text") if text.get("text-anchor") == "end"][: len(ticks)] == ticks


def test_texts_in_a_drawing_stay_texts() -> None:
    evil = "</svg><script>alert('&\"')</script>"
    drawn = plot("size", evil, "dots", points(1, 2), lambda _: evil)
    assert isinstance(drawn.svg, Markup)
    assert "<script" not in drawn.svg
    root = ET.fromstring(drawn.svg)
    assert root[0].text == evil
