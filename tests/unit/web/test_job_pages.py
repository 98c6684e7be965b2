"""The pages of jobs say what is true of them, whoever wrote the texts."""

import html
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from recoup.web._following import AT_ONCE
from recoup.web._live import event
from recoup.web._told import MOST_LINES
from recoup.web.jobs import Job
from unit.web.browsing import Browser, browsing, site_of
from unit.web.running import supervisor, through, until
from web_access import TOKEN, accounts

HOSTILE = "<script>alert(1)</script>\x1b[31m\"'"

Opening = Callable[[str], Browser]


@pytest.fixture
def opening(stack_folder: Path) -> Iterator[Opening]:
    """Opens a browser on a site whose jobs run a script of the shell; ends what a failed test left."""
    with ExitStack() as opened:

        def open_one(script: str) -> Browser:
            site = site_of(stack_folder / "recoup.yaml", ("/bin/sh", "-c", script, "recoup"))
            browser = opened.enter_context(browsing(site))
            opened.callback(_end, browser)
            return browser

        yield open_one


def _end(browser: Browser) -> None:
    jobs = browser.app.state.site.jobs  # type: ignore[attr-defined]
    if (job := jobs.running) is not None:
        os.killpg(supervisor(job), signal.SIGKILL)
        until(lambda: jobs.running is None)


def ran(browser: Browser, *arguments: str, by: str = "") -> Job:
    """A job that has ended."""
    jobs = browser.app.state.site.jobs  # type: ignore[attr-defined]
    found: Job = through(jobs, jobs.start(arguments or ("backup",), by))
    return found


def begun(browser: Browser, *arguments: str) -> Job:
    found: Job = browser.app.state.site.jobs.start(arguments or ("backup",))  # type: ignore[attr-defined]
    return found


def text_of(page: str) -> str:
    """What a page says, without markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page[page.index("<main") :])).split())


# --- what ended -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "level", "words"),
    [
        ("exit 0", "good", "done The verb did all that was asked. (exit code 0)"),
        ("exit 3", "warning", "incomplete Some sources failed or are doubtful"),
        ("exit 4", "bad", "damage found A verification or a drill found damage. (exit code 4)"),
        ("exit 1", "bad", "failed It failed, and nothing usable was written. (exit code 1)"),
        ("exit 42", "bad", "failed Unknown exit codes count as failure. (exit code 42)"),
        ("kill -9 $$", "bad", "killed It was ended by the signal SIGKILL. (signal 9)"),
    ],
)
def test_a_list_and_a_job_say_by_sign_and_word_how_it_ended(
    opening: Opening, script: str, level: str, words: str
) -> None:
    browser = opening(script)
    job = ran(browser, "backup", "--note", "x y")
    for path in ("/jobs", f"/jobs/{job.id}"):
        page = browser.get(path).text
        assert f'class="badge {level}"' in page
        assert words in text_of(page)
        assert page.count('class="badge good"') == (level == "good")
    assert "recoup -c" in page
    assert "backup --note 'x y'" in text_of(page)
    assert 'id="running"' not in page


def test_a_job_whose_processes_were_killed_is_lost_and_not_done(opening: Opening) -> None:
    browser = opening("sleep 100")
    job = begun(browser)
    os.killpg(supervisor(job), signal.SIGKILL)
    until(lambda: browser.app.state.site.jobs.running is None)  # type: ignore[attr-defined]
    page = browser.get(f"/jobs/{job.id}").text
    assert 'class="badge bad"' in page
    assert 'class="badge good"' not in page
    assert "before it could be noted how it ended" in text_of(page)
    assert "not known" in text_of(browser.get("/jobs").text)


def test_a_failure_is_shown_with_the_hint_that_the_command_printed(opening: Opening) -> None:
    browser = opening('echo \'{"type": "error", "message": "no room", "hint": "Make some."}\'; exit 1')
    page = browser.get(f"/jobs/{ran(browser).id}").text
    assert re.search(r'class="banner bad" role="alert">\s*<p><strong>.*no room', page)
    assert "Make some." in page


def test_a_job_that_printed_nothing_has_no_result_even_when_it_says_that_it_went_well(opening: Opening) -> None:
    browser = opening("exit 0")
    assert "printed no result" in text_of(browser.get(f"/jobs/{ran(browser).id}").text)


def test_results_that_are_too_large_are_said_to_be_so(opening: Opening) -> None:
    browser = opening("head -c 4194305 /dev/zero; exit 0")
    page = browser.get(f"/jobs/{ran(browser).id}")
    assert page.status_code == 200
    assert "are larger than 4,194,304 bytes" in text_of(page.text)


def test_a_real_backup_is_shown_with_its_set(client: Browser, preloaded: Path) -> None:
    client.app.state.site.jobs._command = (str(preloaded / "recoup"),)  # type: ignore[attr-defined]
    job = ran(client, "backup")
    page = client.get(f"/jobs/{job.id}").text
    assert "Backed up as backup_" in page
    assert "stored as backup_" in page
    assert "ended at" in text_of(page)
    assert "<progress" not in page


# --- texts of others --------------------------------------------------------------------------------------------------


def test_every_text_is_shown_as_text(opening: Opening, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.write_text(f'{HOSTILE}\n{{"event": "progress", "work": "<script>alert(1)</script>", "done": 1, "total": 2}}\n')
    browser = opening(f"cat {told} >&2")
    job = ran(browser, "backup", f"--note={HOSTILE}", by=HOSTILE)
    for path in ("/jobs", f"/jobs/{job.id}"):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert "\x1b" not in page
        assert "&lt;script&gt;" in page
    log = browser.get(f"/jobs/{job.id}/log")
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert log.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("job_id", ["20261122T031500-ab12cd", "%2e%2e%2fweb.key", "x" * 300, "%00"])
def test_what_is_no_job_is_not_found(client: Browser, job_id: str) -> None:
    for end in ("", "/log", "/events"):
        assert client.get(f"/jobs/{job_id}{end}").status_code in (400, 404)
    assert client.post_form(f"/jobs/{job_id}/cancel").status_code in (400, 404, 405)


# --- the log ----------------------------------------------------------------------------------------------------------


def test_the_page_has_the_newest_lines_and_the_text_has_all(opening: Opening) -> None:
    browser = opening("seq -f 'line %.0f.' 700 >&2")
    job = ran(browser)
    page = browser.get(f"/jobs/{job.id}").text
    assert page.count("<li class=") == MOST_LINES
    assert "line 700." in page
    assert "line 200." not in page
    assert "200 older lines not shown" in text_of(page)
    assert [line.strip() for line in browser.get(f"/jobs/{job.id}/log").text.splitlines()] == [
        f"line {n}." for n in range(1, 701)
    ]


def test_levels_are_words_and_not_colours_alone(opening: Opening) -> None:
    browser = opening(
        'echo \'{"event": "a", "time": "2026-11-22T03:15:00+00:00", "level": "error", "message": "bad"}\' >&2;'
        'echo \'{"event": "b", "time": "2026-11-22T03:15:01+00:00", "level": "warning", "message": "so so"}\' >&2'
    )
    job = ran(browser)
    text = text_of(browser.get(f"/jobs/{job.id}").text)
    assert "✗ error bad" in text
    assert "! warning so so" in text
    assert re.search(r"^2026-11-22 \S+  error    bad$", browser.get(f"/jobs/{job.id}/log").text, re.MULTILINE)


# --- what runs --------------------------------------------------------------------------------------------------------

STEP = """echo '{"event": "progress", "time": "2026-11-22T03:15:0%d+00:00", "work": "a", "done": %d, "total": 1048576}' >&2;"""
PROGRESS = STEP % (0, 0) + STEP % (2, 262144)


def test_a_running_job_says_how_far_it_is_and_a_page_without_scripts_loads_itself_again(opening: Opening) -> None:
    browser = opening(f"{PROGRESS} sleep 100")
    job = begun(browser)
    until(lambda: "256.0 KiB" in browser.get(f"/jobs/{job.id}").text)
    page = browser.get(f"/jobs/{job.id}").text
    assert 'max="100" value="25"' in page
    assert "25 %: 256.0 KiB of 1.0 MiB, 128.0 KiB/s, about 6 s left" in text_of(page)
    assert '<noscript><meta http-equiv="refresh"' in page
    assert 'id="running"' in page
    assert "running" in text_of(browser.get("/jobs").text)


def test_a_work_that_was_broken_off_has_no_bar_that_moves(opening: Opening) -> None:
    browser = opening(f"{PROGRESS} exit 1")
    page = browser.get(f"/jobs/{ran(browser).id}").text
    assert "<progress" not in page
    assert "broken off at 256.0 KiB of 1.0 MiB" in text_of(page)


def test_cancel_ends_a_job_as_ctrl_c_does(opening: Opening) -> None:
    browser = opening("trap 'exit 130' INT; echo ready >&2; while :; do sleep 0.05; done")
    job = begun(browser)
    until(lambda: "ready" in browser.get(f"/jobs/{job.id}").text)
    answer = browser.post_form(f"/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job.id}")
    assert through(browser.app.state.site.jobs, job).exit_code == 130  # type: ignore[attr-defined]
    assert "interrupted Interrupted by the user. (exit code 130)" in text_of(browser.get(f"/jobs/{job.id}").text)


def test_a_job_that_was_asked_to_end_says_so_while_it_still_runs(opening: Opening) -> None:
    browser = opening("trap '' INT; echo ready >&2; sleep 100")
    job = begun(browser)
    until(lambda: "ready" in browser.get(f"/jobs/{job.id}").text)
    browser.post_form(f"/jobs/{job.id}/cancel")
    assert "Its end was asked for. It takes back" in text_of(browser.get(f"/jobs/{job.id}").text)


def test_a_second_job_is_refused_and_led_to_the_first_one(opening: Opening) -> None:
    browser = opening("sleep 100")
    job = begun(browser, "drill")
    refused = browser.post_form("/backup")
    assert refused.status_code == 409
    assert "another job of this stack runs: drill" in text_of(refused.text)
    assert f'href="/jobs/{job.id}"' in refused.text


def test_a_reader_sees_jobs_and_ends_none(stack_folder: Path, opening: Opening) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(f"{config.read_text()}web:\n{accounts('operator', 'reader')}")
    browser = opening("sleep 100")
    browser.headers["Authorization"] = f"Bearer {TOKEN['reader']}"
    job = begun(browser)
    page = browser.get(f"/jobs/{job.id}")
    assert page.status_code == 200
    assert "Cancel" not in page.text
    assert browser.post(f"/jobs/{job.id}/cancel").status_code == 403
    assert browser.app.state.site.jobs.asked_to_end(job.id) is None  # type: ignore[attr-defined]


# --- live -------------------------------------------------------------------------------------------------------------


def events_of(browser: Browser, job: Job, seen: str = "") -> list[tuple[str, str, str]]:
    """Name, id and data of the events of a job until its end."""
    answer = browser.get(f"/jobs/{job.id}/events", headers={"Last-Event-ID": seen} if seen else {})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    found = []
    for block in answer.text.split("\n\n")[:-1]:
        fields = [line.partition(": ")[::2] for line in block.split("\n")]
        assert {name for name, _ in fields} <= {"event", "id", "data", "data:", "retry"}
        if ("retry", "2000") not in fields:
            known = dict(fields)
            found.append((known["event"], known["id"], "\n".join(data for name, data in fields if name == "data")))
    return found


def names_of(events: list[tuple[str, str, str]]) -> list[str]:
    return [name for name, _, _ in events]


def test_what_changes_is_sent_until_the_job_has_ended_and_then_the_result(opening: Opening, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    browser = opening(f"echo first >&2; until [ -e {go_on} ]; do sleep 0.02; done; {PROGRESS} echo second >&2; exit 3")
    job = begun(browser)
    until(lambda: "first" in browser.get(f"/jobs/{job.id}/log").text)
    with ThreadPoolExecutor(1) as other:
        reading = other.submit(events_of, browser, job)
        until(lambda: browser.app.state.streams._open)  # type: ignore[attr-defined]
        go_on.touch()
        events = reading.result()
    assert names_of(events)[:3] == ["log", "works", "state"]
    assert "first" in events[0][2]
    assert "running" in events[2][2]
    assert [data for name, _, data in events if name == "lines"] == ['<li class="text">second</li>\n']
    assert "256.0 KiB of 1.0 MiB" in [data for name, _, data in events if name == "works"][-1]
    assert names_of(events)[-2:] == ["state", "ended"]
    assert "incomplete" in events[-2][2]
    assert "<title>backup: incomplete - shop - Recoup</title>" in events[-1][2]
    assert "<h2>Result</h2>" in events[-1][2]
    assert "second" in events[-1][2]
    assert browser.app.state.streams._open == 0  # type: ignore[attr-defined]


def test_who_connects_again_gets_what_was_missed_and_nothing_twice(opening: Opening) -> None:
    browser = opening("seq 10 >&2")
    job = ran(browser)
    everything = events_of(browser, job)
    assert everything[0][0] == "log"
    assert everything[0][2].count("<li") == 10
    missed = events_of(browser, job, seen="10")  # "1\n" to "5\n"
    assert missed[0][0] == "lines"
    assert re.findall(r">(\d+)<", missed[0][2]) == ["6", "7", "8", "9", "10"]
    assert missed[0][1] == everything[0][1] == "21"
    assert names_of(events_of(browser, job, seen="21")) == ["works", "state", "state", "ended"]


@pytest.mark.parametrize("seen", ["22", "-1", "x", "9" * 30, "٣"])
def test_who_says_no_place_of_the_log_gets_it_anew(opening: Opening, seen: str) -> None:
    browser = opening("seq 10 >&2")
    found = browser.get(f"/jobs/{ran(browser).id}/events", headers=[(b"Last-Event-ID", seen.encode())])
    assert "event: log\n" in found.text
    assert "event: lines\n" not in found.text


def test_who_missed_too_much_gets_the_newest_lines(opening: Opening) -> None:
    browser = opening("seq 700 >&2")
    events = events_of(browser, ran(browser), seen="2")
    assert events[0][0] == "log"
    assert events[0][2].count("<li class=") == MOST_LINES


@given(st.text(), st.integers(0, 10**12))
def test_no_text_breaks_out_of_its_event(data: str, end: int) -> None:
    sent = event("lines", data, end)
    assert sent.endswith("\n\n")
    lines = re.split(r"\r\n|\r|\n", sent[:-2])
    assert lines[:2] == ["event: lines", f"id: {end}"]
    assert all(line.startswith("data: ") for line in lines[2:])
    assert [line[6:] for line in lines[2:]] == re.split(r"\r\n|\r|\n", data)


def test_hostile_texts_stay_texts_in_events(opening: Opening, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.write_text(
        f'a\rb {HOSTILE}\n{{"event": "progress", "work": "<script>alert(1)</script>", "done": 1, "total": 2}}\n'
    )
    browser = opening(f"cat {told} >&2; sleep 0.2")
    job = begun(browser, "backup", f"--note={HOSTILE}")
    text = "".join(data for _, _, data in events_of(browser, job))
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text


def test_a_server_that_ends_ends_its_streams_and_not_the_job(opening: Opening) -> None:
    browser = opening("sleep 100")
    job = begun(browser)
    streams = browser.app.state.streams  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as other:
        reading = other.submit(events_of, browser, job)
        until(lambda: streams._open)
        streams.ending = True
        assert "ended" not in names_of(reading.result())
    assert browser.app.state.site.jobs.running is not None  # type: ignore[attr-defined]


def test_a_browser_that_goes_away_ends_its_stream_and_not_the_job(opening: Opening) -> None:
    browser = opening("sleep 100")
    job = begun(browser)
    site, streams = browser.app.state.site, browser.app.state.streams  # type: ignore[attr-defined]
    headers = [(b"host", b"127.0.0.1:8642")]
    asked = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET"}
    there = {"path": f"/jobs/{job.id}/events", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 50000)}

    async def visit() -> None:
        shown = anyio.Event()

        async def receive() -> Message:
            await shown.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message.get("body"):
                assert streams._open <= 1
                shown.set()

        with anyio.fail_after(60):
            await browser.app({**asked, **there, "scheme": "http", "state": {}}, receive, send)

    anyio.run(visit)
    assert streams._open == 0
    assert site.jobs.running is not None


def test_more_streams_than_the_server_can_take_are_refused(opening: Opening) -> None:
    browser = opening("sleep 100")
    job = begun(browser)
    with ExitStack() as opened:
        for _ in range(AT_ONCE):
            opened.enter_context(browser.app.state.streams.one())  # type: ignore[attr-defined]
        assert browser.get(f"/jobs/{job.id}/events").status_code == 503
        assert browser.get(f"/api/v1/jobs/{job.id}/events").status_code == 503


def test_only_a_page_of_a_running_job_asks_for_events(opening: Opening) -> None:
    browser = opening("exit 0")
    assert "sse-connect" not in browser.get(f"/jobs/{ran(browser).id}").text
    browser = opening("sleep 100")
    job = begun(browser)
    assert f'sse-connect="/jobs/{job.id}/events"' in browser.get(f"/jobs/{job.id}").text


def test_a_secret_of_the_configuration_that_a_command_printed_is_not_shown(
    opening: Opening, stack_folder: Path
) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(f"{config.read_text()}web:\n{accounts('operator')}")
    browser = opening(f'echo {TOKEN["operator"]} >&2; echo \'{{"type": "x", "y": "{TOKEN["operator"]}"}}\'')
    browser.headers["Authorization"] = f"Bearer {TOKEN['operator']}"
    job = ran(browser)
    for end in ("", "/log", "/events"):
        page = browser.get(f"/jobs/{job.id}{end}")
        assert page.status_code == 200
        assert TOKEN["operator"] not in page.text
