"""The page without a mouse."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.rig.serving import Server

_FOCUSED = """() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    return {
        number: [...document.querySelectorAll("*")].indexOf(element),
        shown: element.outerHTML.slice(0, 120),
        marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
        inside: box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight,
    };
}"""
_REACHABLE = """() => {
    const every = [...document.querySelectorAll("*")];
    return every.filter((element) => element.matches("a[href], button, input:not([type=hidden]), select, textarea, summary")
        && !element.disabled && element.checkVisibility({visibilityProperty: true})
        && !(element.type === "radio" && !element.checked)  // one of a group is a stop; arrows choose
    ).map((element) => [every.indexOf(element), element.outerHTML.slice(0, 120)]);
}"""


def stops(page: Page) -> list[dict[str, Any]]:
    """What has the focus, from the beginning of the page to its end, as Tab is pressed."""
    found = list[dict[str, Any]]()
    while True:
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused is None or (found and focused["number"] == found[0]["number"]):
            return found
        assert len(found) < 500, "the focus never comes to an end"
        found.append(focused)


@pytest.mark.parametrize("path", ["/", "/sets", "/restore", "/drills"])
def test_tab_reaches_everything_in_order_and_shows_where_it_is(server: Server, page: Page, path: str) -> None:
    page.goto(f"{server.url}{path}")
    found = stops(page)
    assert len(found) > 6
    assert [stop["number"] for stop in found] == sorted(stop["number"] for stop in found)
    assert not [stop["shown"] for stop in found if not (stop["marked"] and stop["inside"])]
    missed = [shown for number, shown in page.evaluate(_REACHABLE) if number not in {stop["number"] for stop in found}]
    assert not missed


def test_the_first_stop_leads_past_the_navigation(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
