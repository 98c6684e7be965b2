"""The page of settings: what is in effect and where it was set, what is wrong now, what runs when, and who is told."""

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import recoup
from recoup.config.explain import Line
from recoup.scheduler import outlook
from recoup.scheduler._jobs import Job, Row
from recoup.scheduler.state import StackMemory
from recoup.system.statefile import state_path
from recoup.web._site import Site
from recoup.web.settings import access, receivers, set_lines, timetable
from unit.web.browsing import Browser, browsing, site_of
from web_access import TOKEN, accounts

NOTHING = ("/bin/sh", "-c", "exit 0", "recoup")
SCHEDULE = 'schedule:\n  - {run: backup, cron: "0 3 * * *"}\n  - {run: drill, every: 7d, sources: [notes]}\n'


@pytest.fixture
def config(stack_folder: Path) -> Path:
    return stack_folder / "recoup.yaml"


@pytest.fixture
def site(config: Path) -> Site:
    return site_of(config, NOTHING)


@pytest.fixture
def client(site: Site) -> Iterator[Browser]:
    with browsing(site) as found:
        yield found


def add(config: Path, text: str) -> None:
    config.write_text(config.read_text() + text)


def text_of(page: str) -> str:
    """What a page says, without markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def cells(page: str, key: str) -> list[str]:
    """The cells of the rows of a key in the table of what is in effect."""
    rows = re.findall(r"<tr[^>]*>.*?</tr>", page, re.DOTALL)
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [text_of(cell) for row in found if row and text_of(row[0]) == key for cell in row[1:]]


# --- what is in effect ----------------------------------------------------------------------------------------------------


def test_each_value_stands_beside_the_place_where_it_was_set(client: Browser, config: Path) -> None:
    page = client.get("/settings").text
    assert cells(page, "stack") == ["shop", f"{config}:2"]
    assert cells(page, "chat") == [""]
    assert f"{config}:5" in cells(page, "path")
    assert "default" not in cells(page, "kind")
    assert cells(page, "allow_remote") == []


def test_what_nobody_set_is_shown_when_it_is_asked_for(client: Browser) -> None:
    hidden = re.search(r"([0-9]+) values that nobody set are left out", text_of(client.get("/settings").text))
    every = client.get("/settings", params={"defaults": "true"}).text
    assert cells(every, "allow_remote") == ["true", "default"]
    assert hidden
    assert every.count('<td data-label="Set at">default</td>') == int(hidden[1]) > 20


def test_the_page_has_every_value_that_the_command_line_has(client: Browser, config: Path) -> None:
    stack = recoup.open(config)
    page = client.get("/settings", params={"defaults": "true"}).text
    assert page.count('data-label="Set at"') == sum(line.value is not None for line in stack.effective)
    values = re.findall(r'data-label="Value"><code>(.*?)</code>', page)
    assert [html.unescape(value) for value in values] == [
        line.value for line in stack.effective if line.value is not None
    ]


def test_the_command_that_says_the_same_is_for_this_configuration(client: Browser, config: Path) -> None:
    said = text_of(client.get("/settings").text)
    assert f"recoup -c {config} config show" in said
    assert f"recoup -c {config} config check" in said


def test_lines_that_were_set_keep_those_above_them() -> None:
    top, group = Line(("a",)), Line(("a", "b"))
    given, left_out = Line(("a", "b", 0), "x", "f:1"), Line(("a", "c"), "y", "default", is_default=True)
    assert set_lines([top, group, given, left_out, Line(("d",))]) == (top, group, given)
    assert set_lines([left_out]) == ()


def test_no_secret_is_on_the_page(config: Path) -> None:
    add(config, f"web:\n{accounts('operator')}")
    add(
        config,
        "notify:\n  - {kind: webhook, name: team, url: 'https://u:planted-one@example.org/planted-two-0123456789'}\n",
    )
    with browsing(site_of(config, NOTHING)) as client:
        found = client.get("/settings?defaults=true", headers={"Authorization": f"Bearer {TOKEN['operator']}"})
        assert found.status_code == 200
        assert "planted" not in found.text
        assert TOKEN["operator"] not in found.text
        assert "$argon2" not in found.text
        said = text_of(found.text)
        assert "operator by a password or a token" in said
        assert "team webhook" in said
        assert '"***"' in said


# --- whether it is right --------------------------------------------------------------------------------------------------


def test_mistakes_that_are_there_now_are_named_with_their_lines(client: Browser, config: Path) -> None:
    assert "The configuration is right" in client.get("/settings").text
    add(config, "nonsense: 1\nstagging: <script>\n")
    page = client.get("/settings").text
    said = text_of(page)
    assert "The configuration is right" not in said
    assert "The configuration cannot be used" in said
    assert f"{config}:8: `nonsense` is not a known key" in said
    assert f"{config}:9: `stagging` is not a known key" in said
    assert cells(page, "stack") == ["shop", f"{config}:2"]  # what it said before


def test_a_configuration_that_is_gone_is_not_right(client: Browser, config: Path) -> None:
    config.unlink()
    said = text_of(client.get("/settings").text)
    assert "The configuration cannot be used" in said
    assert "The configuration is right" not in said


def test_a_secret_that_cannot_be_fetched_now_is_a_mistake_now(config: Path) -> None:
    token = config.parent / "token"
    token.write_text("a" * 40)
    add(config, "web:\n  reader: {token_file: token}\n")
    with browsing(site_of(config, NOTHING)) as client:
        token.unlink()
        found = client.get("/settings", headers={"Authorization": f"Bearer {'a' * 40}"})
        assert "The configuration cannot be used" in found.text
        assert "token" in text_of(found.text)


def test_warnings_are_shown(config: Path) -> None:
    (config.parent / ".env").write_text("no variable\n")
    with browsing(site_of(config, NOTHING)) as client:
        assert "is not NAME=value and was left out" in text_of(client.get("/settings").text)


def test_what_is_configured_is_text(config: Path) -> None:
    add(config, "notify:\n  - {kind: prometheus, path: '<script>alert(1)</script>\"''/x.prom'}\n")
    with browsing(site_of(config, NOTHING)) as client:
        page = client.get("/settings").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


# --- what runs when -------------------------------------------------------------------------------------------------------


def test_without_a_schedule_the_page_says_so(client: Browser) -> None:
    said = text_of(client.get("/settings").text)
    assert "No schedule is configured" in said
    assert "Nobody is told when a backup fails" in said
    assert "Runs Something" not in said


def test_a_schedule_that_nothing_runs_is_not_green(client: Browser, config: Path) -> None:
    add(config, SCHEDULE)
    page = client.get("/settings").text
    said = text_of(page)
    assert "Does not run Nothing under this account runs this schedule yet" in said
    assert "Something looked at the schedule" not in said
    assert said.count("never ran") == 2
    assert len(re.findall(r'<time datetime="[^"]+">', page.split('id="told"')[0])) == 6


@pytest.mark.parametrize(
    ("exit_code", "finished", "said"),
    [(0, True, "ended well"), (4, True, "exit code 4"), (None, False, "interrupted")],
)
def test_the_last_run_of_a_job_is_said_as_it_ended(
    client: Browser, site: Site, config: Path, exit_code: int | None, finished: bool, said: str
) -> None:
    add(config, SCHEDULE)
    now = site.now()
    row = Row(
        name="backup",
        timing=site.stack.jobs[0].timing,
        anchor=now,
        settled=now,
        due=now,
        started=now,
        finished=now if finished else None,
        exit_code=exit_code,
        missed=3,
    )
    StackMemory("shop", [config]).write([row], [], now)
    page = text_of(client.get("/settings").text)
    assert "Something looked at the schedule in the last minutes" in page
    assert said in page
    assert ("ended well" in page) == (exit_code == 0)


def test_a_memory_that_cannot_be_read_is_said(client: Browser, config: Path) -> None:
    add(config, SCHEDULE)
    file = state_path("shop")
    file.mkdir(parents=True)
    said = text_of(client.get("/settings").text)
    assert "What this machine remembers of the schedule cannot be read" in said
    assert "Something looked at the schedule" not in said


def test_a_timetable_knows_the_next_times(config: Path) -> None:
    add(config, SCHEDULE)
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    found = timetable(recoup.open(config), now, 2)
    assert [job.name for job in found.jobs] == ["backup", "drill-notes"]
    assert [time - now < timedelta(days=2) for time in found.jobs[0].next] == [True, True]
    assert found.jobs[1].arguments == ("drill", "--source", "notes")


def test_a_job_says_when_it_runs() -> None:
    every = Job("backup", ("backup",), "", UTC, timedelta(hours=6), timedelta(minutes=5))
    [known] = outlook.planned("nowhere", [every], datetime(2026, 11, 22, tzinfo=UTC), 2)
    assert known.when == "every 6h, 5m later"
    assert known.next[1] - known.next[0] == timedelta(hours=6)
    assert (known.started, known.running, known.missed) == (None, False, 0)


# --- who is told, and who may come in ---------------------------------------------------------------------------------------


def test_receivers_are_shown_with_what_is_set_of_them() -> None:
    [one] = receivers({"notify": [{"name": "team", "kind": "webhook", "url": "***", "level": None, "events": ["a b"]}]})
    assert (one.name, one.kind) == ("team", "webhook")
    assert one.settings == {"url": '"***"', "events": '["a b"]'}


def test_who_may_come_in_is_said_for_each_role(config: Path) -> None:
    assert access(recoup.open(config).settings) == {}
    add(config, f"web:\n{accounts('reader', tokens=False)}")
    assert access(recoup.open(config).settings) == {"reader": "a password"}


def test_a_reader_sees_the_settings(config: Path) -> None:
    add(config, f"web:\n{accounts('reader')}")
    with browsing(site_of(config, NOTHING)) as client:
        assert client.get("/settings").status_code == 303
        headers = {"Authorization": f"Bearer {TOKEN['reader']}"}
        assert client.get("/settings", headers=headers).status_code == 200
        assert json.loads(client.get("/api/v1/config", headers=headers).text)["stack"] == "shop"
