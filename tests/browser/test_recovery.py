"""The journey that all of this is for: a new stack is backed up, proven, harmed, and put back, by somebody who only clicks."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.rig import stories
from browser.rig.looking import assert_accessible
from browser.rig.serving import Server
from browser.rig.stacks import NAME
from browser.rig.windows import Windows
from recoup.demo.damage import damage, look


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def verdict(page: Page) -> Locator:
    return page.locator(".verdict").first


def drill_now(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/drills")
    press(page, "Drill now")
    page.wait_for_url("**/jobs/*")


@pytest.mark.slow
def test_a_new_stack_is_backed_up_proven_harmed_and_put_back(new_server: Server, page: Page, windows: Windows) -> None:
    windows.expect("status of 422")  # what is not typed right
    stack = new_server.stack
    before = look(stack.root)

    page.goto(f"{new_server.url}/")
    assert_accessible(page)
    expect(verdict(page)).not_to_have_class(re.compile("good"))
    expect(page.get_by_role("heading", name="Make the first backup")).to_be_visible()

    with stack.busy():
        press(page, "Back up now")
        page.wait_for_url("**/jobs/*")
        page.evaluate("window.here = 'still the same page'")
        expect(page.locator(".job-state")).to_contain_text("running")
        expect(page.get_by_text(re.compile(r"Running for [1-9]"))).to_be_visible()
        assert_accessible(page)
    expect(verdict(page)).to_contain_text("Backed up as backup_")
    expect(page.locator(".works li").filter(has_text="backup documents")).to_contain_text("ended at")
    expect(page.get_by_text("broken off")).to_have_count(0)
    assert page.evaluate("window.here") == "still the same page"
    assert_accessible(page)

    drill_now(page, new_server)
    expect(verdict(page)).to_contain_text(re.compile(r"Proven: .* restores"))
    proven = stories.newest(stack).name
    page.goto(f"{new_server.url}/")
    expect(verdict(page)).to_have_class(re.compile("good"))

    press(page, "Back up now")
    expect(verdict(page)).to_contain_text("Backed up as backup_")
    stories.damage_newest(stack)
    drill_now(page, new_server)
    expect(verdict(page)).to_contain_text("Not proven")
    expect(page.locator(".job-state")).to_contain_text("damage found")
    page.goto(f"{new_server.url}/")
    expect(verdict(page)).to_have_class(re.compile("bad"))
    expect(verdict(page)).to_contain_text("Not safe")

    damage(stack.root)
    assert look(stack.root) != before
    restore_in_place(page, new_server, proven)
    assert look(stack.root) == before

    page.goto(f"{new_server.url}/")
    press(page, "Back up now")
    expect(verdict(page)).to_contain_text("Backed up as backup_")
    drill_now(page, new_server)
    expect(verdict(page)).to_contain_text(re.compile(r"Proven: .* restores"))
    page.goto(f"{new_server.url}/")
    expect(verdict(page)).to_have_class(re.compile("good"))


def restore_in_place(page: Page, server: Server, name: str) -> None:
    """By the wizard; what is not typed right begins nothing."""
    page.goto(f"{server.url}/")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Restore").click()
    page.get_by_label("Set", exact=True).select_option(name)
    press(page, "Show what it holds")
    expect(page.get_by_role("group", name=f"Sources of {name}")).to_be_visible()
    press(page, "Next: where to")
    page.get_by_label("In place").check()
    press(page, "Next: see the plan")
    expect(page.get_by_text("changes what is there")).to_have_count(4)
    expect(page.locator(".command")).to_contain_text(f"restore {name}")
    expect(page.locator(".command")).to_contain_text("--in-place")
    assert_accessible(page)

    harmed = look(server.stack.root)
    typed = page.get_by_label(re.compile("Type the name of the stack"))
    typed.fill("another one")
    press(page, "Restore in place")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was begun")
    assert look(server.stack.root) == harmed
    typed.fill(NAME)
    press(page, "Restore in place")
    page.wait_for_url("**/jobs/*")
    expect(verdict(page)).to_contain_text("Restored: 4 sources")
    expect(page.get_by_text("kept as").first).to_be_visible()
