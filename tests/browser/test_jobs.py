"""Jobs outlive pages, tabs and servers, and there is one at a time."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.rig.serving import Server
from browser.rig.windows import Windows

GONE = (
    r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|\[object Event\]"
)
"""What the browser, and htmx with an event of its EventSource, say while no server is there."""


def begin(page: Page, server: Server) -> None:
    """A backup, which waits as long as the stack is busy."""
    page.goto(f"{server.url}/")
    page.get_by_role("button", name="Back up now").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator(".job-state")).to_contain_text("running")


def sets(server: Server) -> set[Path]:
    return set(server.stack.backups.glob("backup_*"))


def test_the_second_tab_is_told_what_runs_and_begins_nothing(server: Server, page: Page, windows: Windows) -> None:
    windows.expect("status of 409")
    before = sets(server)
    other = page.context.new_page()
    other.goto(f"{server.url}/")
    with server.stack.busy():
        begin(page, server)
        other.get_by_role("button", name="Back up now").click()
        expect(other.get_by_role("alert")).to_contain_text("backup")
        expect(other.locator(".banner.busy")).to_contain_text("Running now: recoup backup")
        other.goto(f"{server.url}/")
        expect(other.get_by_role("button", name="Back up now")).to_be_disabled()
    expect(page.locator(".verdict")).to_contain_text("Backed up as")
    assert len(sets(server) - before) == 1


def test_a_page_that_is_loaded_again_shows_the_same_job_and_its_end(server: Server, page: Page) -> None:
    with server.stack.busy():
        begin(page, server)
        page.reload()
        expect(page.locator(".job-state")).to_contain_text("running")
        page.goto(f"{server.url}/jobs")
        expect(page.get_by_role("row").nth(1)).to_contain_text("running")
        page.locator(".banner.busy").get_by_role("link").click()
        expect(page.locator(".job-state")).to_contain_text("running")
    expect(page.locator(".verdict")).to_contain_text("Backed up as")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_job_goes_on_without_its_server_and_its_end_is_shown(
    server: Server, page: Page, windows: Windows, how: str
) -> None:
    windows.expect(GONE)
    with server.stack.busy():
        begin(page, server)
        server.stop() if how == "stop" else server.kill()
        server.start()
        expect(page.locator(".job-state")).to_contain_text("running")
    expect(page.locator(".verdict")).to_contain_text("Backed up as")


def test_a_browser_that_goes_away_ends_nothing(server: Server, windows: Windows) -> None:
    before, page = sets(server), windows.open()
    with server.stack.busy():
        begin(page, server)
        where = page.url
        page.context.close()
    back = windows.open()
    back.goto(where)
    expect(back.locator(".verdict")).to_contain_text("Backed up as")
    assert len(sets(server) - before) == 1


def test_a_cancelled_backup_leaves_no_set(server: Server, page: Page) -> None:
    before = sets(server)
    with server.stack.busy():
        begin(page, server)
        expect(page.get_by_text(re.compile(r"Running for [2-9]"))).to_be_visible()  # it waits for the chat by now
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".job-state")).to_contain_text(re.compile("interrupted|killed"))
    assert sets(server) == before


def test_without_scripts_a_backup_is_begun_watched_and_seen_to_end(server: Server, windows: Windows) -> None:
    page = windows.open(javascript=False)
    with server.stack.busy():
        begin(page, server)
    expect(page.locator(".verdict")).to_contain_text("Backed up as")
