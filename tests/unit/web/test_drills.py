"""The page of drills: what is known of those of the past, what is not, and beginning one."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import recoup
from recoup.errors import ExitCode
from recoup.model.marks import Mark
from recoup.model.reports import VerbRun
from recoup.web._past_drills import leading, past_drills
from recoup.web._site import Site
from recoup.web.jobs import Job
from unit.web.browsing import BASE, Browser, browsing, idle, site_of, text_of
from unit.web.running import through
from web_access import TOKEN, accounts

NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)
SET = "backup_20261101_020000"


@pytest.fixture
def site(stack_folder: Path) -> Site:
    return idle(stack_folder / "recoup.yaml")


def noted(minutes: int = 0, **fields: Any) -> tuple[str, str, Mark]:
    known = {"level": "drill", "passed": True, "whole": True, "sources": {"notes": True}, "seconds": 2.5, **fields}
    return "local", SET, Mark("proof", NOW + timedelta(minutes=minutes), "here", known)


def ran(code: int, minutes: int = 0, sentence: str = "") -> VerbRun:
    time = NOW + timedelta(minutes=minutes)
    return VerbRun("drill", (), "local", time - timedelta(seconds=5), time, code, sentence)


def begun(minutes: int = 0, *arguments: str) -> Job:
    time = NOW + timedelta(minutes=minutes)
    return Job("20261122T031500-ab12cd", arguments or ("drill",), "", time - timedelta(seconds=9), "", "ended", 0, time)


# --- the past -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, "passed"),
        ({"whole": False}, "partly"),
        ({"passed": False}, "failed"),
        ({"sources": {"notes": True, "chat": False}}, "failed"),
        ({"sources": {}}, "failed"),
        ({"sources": None}, "failed"),
        ({"sources": "notes"}, "failed"),
        ({"passed": "yes"}, "failed"),
        ({"whole": "yes"}, "partly"),
    ],
)
def test_only_what_says_so_plainly_has_passed(fields: dict[str, Any], verdict: str) -> None:
    assert [drill.verdict for drill in past_drills([noted(**fields)], [], [])] == [verdict]


@pytest.mark.parametrize("seconds", [None, -1, float("inf"), float("nan"), "2", True])
def test_a_length_of_time_that_is_none_is_not_known(seconds: object) -> None:
    (drill,) = past_drills([noted(seconds=seconds, restore_seconds=seconds)], [], [])
    assert (drill.seconds, drill.restore_seconds) == (None, None)


def test_a_run_and_what_it_noted_are_one_drill() -> None:
    (drill,) = past_drills([noted()], [ran(0)], [begun()])
    assert (drill.set, drill.job, drill.seconds) == (SET, begun().id, 2.5)


def test_runs_that_left_nothing_at_a_set_are_told_too() -> None:
    runs = [ran(11, 30, "it is locked"), ran(0, 20), ran(4, 10), ran(1, 5), VerbRun("verify", (), "", NOW, NOW, 1)]
    found = past_drills([noted()], runs, [])
    assert [(drill.verdict, drill.sentence) for drill in found] == [
        ("ended", "it is locked"),
        ("gone", ""),
        ("failed", "it ended with exit code 4"),
        ("ended", "it ended with exit code 1"),
        ("passed", ""),
    ]


def test_a_run_that_found_more_than_its_sets_remember_is_told() -> None:
    recovery = ran(3, 0, "it did not do all that was asked")
    assert [drill.verdict for drill in past_drills([noted()], [recovery], [])] == ["passed", "ended"]
    assert [drill.verdict for drill in past_drills([noted(-1)], [recovery], [])] == ["ended", "passed"]
    assert [drill.verdict for drill in past_drills([noted(passed=False)], [ran(4)], [])] == ["failed"]


def test_a_drill_that_passed_in_another_repository_hides_none_that_failed() -> None:
    failed, passed = noted(0, passed=False), ("away", *noted(1)[1:])
    found = leading(past_drills([failed, passed], [], []))
    assert found is not None
    assert (found.repository, found.verdict) == ("local", "failed")
    found = leading(past_drills([failed, passed, noted(2)], [], []))  # mended since
    assert found is not None
    assert found.verdict == "passed"
    assert leading([]) is None


def test_a_drill_of_a_set_that_lacks_something_is_no_proof_of_all() -> None:
    assert [drill.verdict for drill in past_drills([noted()], [], [], {("local", SET)})] == ["partly"]


def test_hash_checks_and_other_jobs_are_no_drills() -> None:
    assert past_drills([noted(level="verify")], [], []) == []
    (drill,) = past_drills([noted()], [], [begun(0, "backup"), begun(60)])
    assert drill.job == ""


# --- the page -----------------------------------------------------------------------------------------------------------


def test_backups_that_nobody_tried_are_not_green(client: Browser) -> None:
    page = client.get("/drills").text
    assert "No drill is known. Nobody has tried whether these backups restore." in page
    assert "verdict good" not in page
    assert "neither recovery time nor recovery point was measured here" in page


def test_the_page_tells_drills_of_the_command_line(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    recoup.open(config).drill(sources=["notes"])
    with browsing(idle(config)) as client:
        page = client.get("/drills").text
        said = text_of(page)
        assert "The last drill passed, just now, and was not of all that the set should hold." in said
        assert "verdict good" not in page
        assert "What was compared is kept of drills that are begun here" in said
        shutil.rmtree(stack_folder / "backups")
        page = client.get("/drills").text
        assert "Not everything could be looked at. local" in text_of(page)
        assert "verdict good" not in page


def test_a_drill_that_begins_here_shows_expected_and_found(stack_folder: Path, preloaded: Path) -> None:
    site = site_of(stack_folder / "recoup.yaml", (str(preloaded / "recoup"),))
    with browsing(site) as client:
        answer = client.post_form("/drills")
        assert answer.status_code == 303
        good = through(site.jobs, site.jobs.all()[0])
        assert answer.headers["location"] == f"/jobs/{good.id}"
        assert (good.arguments, good.exit_code) == (("drill",), ExitCode.OK)
        page = client.get("/drills").text
        said = text_of(page)
        assert "The last drill passed, just now." in said
        assert "rows 5 5" in said
        assert f'<a href="/jobs/{good.id}">a job here</a>' in page
        assert "The last drill of all was another one." not in said

        newest = max((stack_folder / "backups").glob("backup_*"))
        stored = newest / "chat" / "chat.db"
        stored.chmod(0o600)
        stored.write_bytes(bytes(8192))
        client.post_form("/drills", full="true")
        bad = through(site.jobs, site.jobs.all()[0])
        assert (bad.arguments, bad.exit_code) == (("drill", "--full"), ExitCode.DAMAGED)
        page = client.get("/drills").text
        said = text_of(page)
        assert "The last drill in local failed, just now." in said
        assert "The last drill of all was another one." in said
        assert "Recovery time (RTO) not measured, because not all came back" in said


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"set": "backup_20200101_000000"}, 404, "there is no set"),
        ({"set": "../../etc<script>"}, 404, "there is no set"),
        ({"source": ["notes", "nobody"]}, 404, "no complete set with a good copy of notes and nobody"),
    ],
)
def test_what_is_not_there_is_not_drilled(
    client: Browser, site: Site, fields: dict[str, Any], status: int, sentence: str
) -> None:
    answer = client.post_form("/drills", **fields)
    assert answer.status_code == status
    assert sentence in text_of(answer.text)
    assert "Drill now" in answer.text
    assert "<script>" not in answer.text
    assert site.jobs.all() == ()


def test_one_set_and_some_of_its_sources_can_be_drilled(client: Browser, site: Site, stack_folder: Path) -> None:
    oldest = min((stack_folder / "backups").glob("backup_*")).name
    assert client.post_form("/drills", set=oldest, source="chat").status_code == 303
    (job,) = site.jobs.all()
    assert job.arguments == ("drill", oldest, "--source", "chat")
    through(site.jobs, job)


def test_readers_see_what_drills_found_and_begin_none(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(f"{config.read_text()}web:\n{accounts('operator', 'reader')}")
    site = idle(config)
    with browsing(site) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN['reader']}"
        page = client.get("/drills")
        assert page.status_code == 200
        assert "No drill is known" in page.text
        assert "Drill now" not in page.text
        assert client.post("/drills", headers={"Origin": BASE}).status_code == 403
    assert site.jobs.all() == ()


def test_what_marks_say_is_no_markup(stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    stack = recoup.open(config)
    evil = "<script>alert(1)</script>\x1b[2J"
    name = stack.sets()[-1]
    fields = {"level": "drill", "passed": False, "sources": {evil: False}}
    stack.repository.mark(stack._parsed(name.name), Mark("proof", datetime.now(UTC), evil, fields))
    with browsing(idle(config)) as client:
        page = client.get("/drills").text
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
