"""The page of all sets."""

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recoup
from recoup.model.manifest import Outcome
from recoup.model.marks import Standing
from recoup.model.names import SetName
from recoup.retention import Candidate, Group, Verdict
from recoup.system.clock import SystemClock, local_zone
from recoup.web._set_rows import A_PAGE, STATES, Wanted, row
from recoup.web.sets import sheet_of
from unit.web.browsing import Browser, browsing, site_of
from unit.web.set_infos import NOW, add_sets, info, prove, unreadable, words

AGAIN = {"Cache-Control": "max-age=0"}  # what a browser asks with that is told to load a page again
SOME = [info(n / 100) for n in range(350)]


def listed(html: str) -> list[str]:
    """Names of the sets in the list, in its order."""
    return re.findall(r'<th scope="row" class="name"><a href="[^"]*">(backup_[0-9_]+)</a>', html)


def test_the_newest_set_comes_first_and_each_leads_to_its_page(client: Browser, stack_folder: Path) -> None:
    names = [one.name for one in recoup.open(stack_folder / "recoup.yaml").sets()]
    page = client.get("/sets")
    assert page.status_code == 200
    assert listed(page.text) == names[::-1]
    assert "with a second note" in page.text
    assert "2 sets" in words(page.text)


def test_a_set_says_by_which_rule_it_is_kept(client: Browser, stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(config.read_text().replace("path: backups", "path: backups, keep: {last: 1}"))
    stack = recoup.open(config)
    text = words(client.get("/sets").text)
    assert "no rule; nothing prunes here" in text
    stack.pin("oldest", "for the audit")
    text = words(client.get("/sets?page=1&state=pinned", headers=AGAIN).text)
    assert "pinned for the audit" in text
    assert "1 set, of those asked for" in text
    stack.prune()
    assert "nothing prunes here" not in words(client.get("/sets").text)


def test_filters_are_links_and_forms_that_work_without_scripts(client: Browser, stack_folder: Path) -> None:
    stack = recoup.open(stack_folder / "recoup.yaml")
    stack.backup(sources=["notes"], tags={"release": "1.2"})
    newest = stack.show().name
    assert listed(client.get("/sets", params={"tag": "release=1.2"}).text) == [newest]
    assert listed(client.get("/sets", params={"text": "RELEASE"}).text) == [newest]
    assert len(listed(client.get("/sets", params={"source": "chat"}).text)) == 2
    today = SystemClock().now().astimezone(local_zone()).date()
    assert newest in listed(client.get("/sets", params={"day": today.isoformat()}).text)
    none = client.get("/sets", params={"day": (today - timedelta(days=400)).isoformat()})
    assert listed(none.text) == []
    assert "No set is like this. There are 3 sets in all." in words(none.text)


@pytest.mark.parametrize("query", [{"state": "fine"}, {"day": "2026-02-30"}, {"day": "today"}, {"month": "13"}])
def test_what_means_nothing_is_said_and_shows_nothing(client: Browser, query: dict[str, str]) -> None:
    page = client.get("/sets", params=query)
    assert listed(page.text) == []
    assert "There is no such state" in page.text or "That is no" in page.text


@pytest.mark.parametrize("query", ["page=0", "page=x", "text=" + "x" * 300])
def test_a_query_that_no_page_makes_is_refused(client: Browser, query: str) -> None:
    assert client.get(f"/sets?{query}").status_code in (400, 422)


def test_a_set_that_cannot_be_read_is_loud(client: Browser, stack_folder: Path) -> None:
    name = recoup.open(stack_folder / "recoup.yaml").show().name
    (stack_folder / "backups" / name / "manifest.json").write_text("{")
    page = client.get("/sets")
    assert name in listed(page.text)
    assert "✗ unreadable" in words(page.text)
    assert 'class="day bad"' in page.text
    assert "1 set cannot be read and tell nothing here." in words(page.text)
    assert listed(client.get("/sets", params={"state": "unreadable"}).text) == [name]


def test_a_repository_that_cannot_be_read_is_loud(client: Browser, stack_folder: Path) -> None:
    with (stack_folder / "recoup.yaml").open("a") as file:
        file.write("  other: {path: other}\n")
    page = client.get("/sets")
    assert 'role="alert"' in page.text
    assert "other cannot be read, so its sets are missing here." in words(page.text)
    assert len(listed(page.text)) == 2
    shutil.rmtree(stack_folder / "backups")
    page = client.get("/sets", params={"text": ""})
    assert "There is no set yet" not in page.text


def test_sets_of_other_stacks_are_counted_and_not_shown(client: Browser, stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    other = stack_folder / "other.yaml"
    other.write_text(config.read_text().replace("stack: shop", "stack: another"))
    recoup.open(other).backup()
    page = client.get("/sets")
    assert len(listed(page.text)) == 2
    assert "1 set of other stacks lie in the same repositories and are not shown." in words(page.text)


def test_many_sets_come_a_page_at_a_time_and_each_once(client: Browser, stack_folder: Path) -> None:
    add_sets(stack_folder / "backups", 105)
    names = {one.name for one in recoup.open(stack_folder / "recoup.yaml").sets()}
    pages = [client.get("/sets", params={"page": number}) for number in (1, 2)]
    found = [name for page in pages for name in listed(page.text)]
    assert len(listed(pages[0].text)) == A_PAGE
    assert (len(found), set(found)) == (107, names)
    assert found == sorted(found, reverse=True)
    assert "Page 1 of 2" in words(pages[0].text)
    assert 'href="/sets?page=2#list"' in pages[0].text
    assert listed(client.get("/sets", params={"page": 99}).text) == listed(pages[1].text)


def test_plots_have_a_text_and_a_table(client: Browser, stack_folder: Path) -> None:
    add_sets(stack_folder / "backups", 60)
    prove(stack_folder / "backups")
    page = client.get("/sets")
    assert re.findall(r'<title id="([a-z]+)-title">', page.text) == ["size", "growth", "restores"]
    assert page.text.count("<summary>As a table</summary>") == 3
    assert "Restore time, measured by drills" in page.text
    assert "style=" not in page.text


def test_what_others_wrote_stays_text(client: Browser, stack_folder: Path) -> None:
    evil = "<script>alert('&\"')</script>\x1b[31m\u202e"
    stack = recoup.open(stack_folder / "recoup.yaml")
    stack.backup(tags={evil: evil}, note=evil)
    stack.note("latest", evil)
    stack.pin("latest", evil)
    for query in ({}, {"text": evil}, {"tag": f"{evil}={evil}"}, {"source": evil}, {"repository": evil}):
        page = client.get("/sets", params=query)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "\x1b" not in re.sub(r'value="[^"]*"', "", page.text)


def test_an_empty_stack_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "recoup.yaml").write_text(
        "version: 1\nstack: shop\nsources:\n  notes: {kind: files, path: notes}\nrepositories:\n  local: {path: b}\n"
    )
    recoup.open(tmp_path / "recoup.yaml").create_repositories()
    with browsing(site_of(tmp_path / "recoup.yaml")) as client:
        page = client.get("/sets")
        assert "There is no set yet" in page.text
        assert "<svg" not in page.text


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_each_state_means_what_it_says() -> None:
    infos = {
        "good": info(0, {"notes": 1}, Standing(restore_seconds=1.0)),
        "suspicious": info(0, outcomes={"notes": "suspicious"}),
        "incomplete": info(0, outcomes={"notes": "failed"}),
        "unreadable": unreadable(0),
        "damaged": info(0, standing=Standing(damaged=NOW)),
        "drill failed": info(0, standing=Standing(failed_proof=NOW)),
        "proven": info(0, standing=Standing(proven=NOW)),
        "pinned": info(0, standing=Standing(pinned=True)),
    }
    assert {*infos, "not proven"} == {*STATES}
    for state, one in infos.items():
        assert Wanted(state=state).fits(one)
        others = {name for name, other in infos.items() if Wanted(state=state).fits(other)} - {state}
        assert state == "good" or not others
    assert not Wanted(state="good").fits(infos["unreadable"])
    assert {*get_args(Outcome)} - {"complete"} <= {*STATES}


@given(st.builds(Wanted, *[st.text(max_size=6)] * 7, st.integers(1, 10**6)))
def test_a_query_leads_back_to_what_was_asked_for(wanted: Wanted) -> None:
    query = wanted.query(page=wanted.page)
    number = int(query.pop("page", "1"))
    assert Wanted(**query, page=number) == wanted
    assert isinstance(wanted.fits(info(0)), bool)
    assert "page" not in wanted.query(source="notes")


@given(st.integers(0, 350), st.integers(1, 10))
def test_every_page_number_shows_a_page(count: int, number: int) -> None:
    sheet = sheet_of(SOME[:count], number)
    assert sheet.total == count
    assert 1 <= sheet.number <= sheet.count
    assert len(sheet.infos) == min(A_PAGE, count - (sheet.number - 1) * A_PAGE)
    assert count == 0 or sheet.infos


def test_what_no_rule_keeps_has_no_reason_and_what_nobody_can_read_stays() -> None:
    candidate = Candidate(SetName.at(NOW), Group("shop", ("notes",)))
    gone = Verdict(candidate, keep=False, reasons=("no rule keeps it",))
    assert row(info(0), gone).kept == row(info(0), None).kept == ()
    assert row(info(0), replace(gone, keep=True, reasons=("daily",))).kept == ("daily",)
    assert row(unreadable(0), gone).kept == ("stays until somebody deletes it",)
    assert row(unreadable(1), None).begun == NOW - timedelta(days=1)
