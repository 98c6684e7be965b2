"""The rig sees what it is there to see: a test of a page that cannot fail proves nothing."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from browser.rig import chromium
from browser.rig.looking import assert_accessible, assert_no_overflow
from browser.rig.windows import NARROW, Windows

GOOD = """<!doctype html><html lang="en"><head><title>Sets</title></head>
<body><main><h1>Sets</h1><p>Nothing is here yet.</p></main></body></html>"""


def faults_of(browser: Browser, html: str, *expected: str) -> list[str]:
    windows = Windows(browser)
    for pattern in expected:
        windows.expect(pattern)
    windows.open().set_content(html)
    return windows.close()


def test_a_page_without_faults_passes_every_look(page: Page) -> None:
    page.set_content(GOOD)
    assert_accessible(page)
    assert_no_overflow(page)


FAULTY = """
<script>console.error("harm"); alert("hostile")</script>
<script>nothing.there</script>
<meta http-equiv="Content-Security-Policy" content="style-src 'none'"><p style="color: red">red</p>
<img src="http://127.0.0.1:9/picture.png" alt="">"""


def test_what_goes_wrong_unseen_is_a_fault_unless_it_is_expected(browser: Browser) -> None:
    every = [
        "a dialog opened: hostile",
        "console error: harm",
        "error of a script: nothing is not defined",
        "style-src 'none'",
        "request failed: GET http://127",
    ]
    found = faults_of(browser, GOOD + FAULTY)
    assert all(any(fault in one for one in found) for fault in every), found
    left = faults_of(
        browser, GOOD + FAULTY, "harm", "hostile", "style-src", "picture|ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT"
    )
    assert len(left) == 1
    assert "nothing is not defined" in left[0]


@pytest.mark.parametrize(
    ("html", "rule"),
    [
        ('<img src="data:,">', "image-alt"),
        ('<p style="color: #bbb; background: #fff">pale</p>', "color-contrast"),
        ("<input>", "label"),
    ],
)
def test_what_a_screen_reader_or_weak_eyes_cannot_use_is_named(page: Page, html: str, rule: str) -> None:
    page.set_content(GOOD + html)
    with pytest.raises(AssertionError, match=rule):
        assert_accessible(page)


def test_axe_looks_at_pages_whose_policy_allows_no_script(page: Page) -> None:
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'self'\">"
    page.set_content(GOOD.replace("<head>", f"<head>{policy}"))
    assert_accessible(page)


def test_what_is_wider_than_a_telephone_is_named(windows: Windows) -> None:
    page = windows.open(size=NARROW)
    page.set_content(GOOD + '<pre id="wide">' + "x" * 200 + "</pre>")
    with pytest.raises(AssertionError, match='id="wide"'):
        assert_no_overflow(page)
    page.set_content(GOOD + '<div style="overflow: auto"><pre>' + "x" * 200 + "</pre></div>")
    assert_no_overflow(page)


def test_a_machine_without_the_browser_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="install the package chromium"):
        chromium.executable(str(tmp_path))
