"""What holds of every page, whichever there are: they are found by following links."""

import pytest

from browser.rig.crawling import every_page
from browser.rig.looking import assert_accessible, assert_no_overflow
from browser.rig.serving import Server
from browser.rig.windows import NARROW, WIDE, Scheme, Windows


@pytest.fixture(scope="module")
def pages(storied: Server) -> list[str]:
    return every_page(f"{storied.url}/")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(windows: Windows, pages: list[str], scheme: Scheme) -> None:
    page = windows.open(scheme=scheme)
    for url in pages:
        page.goto(url)
        assert_accessible(page)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=lambda size: f"{size[0]}")
def test_nothing_is_wider_than_the_window(windows: Windows, pages: list[str], size: tuple[int, int]) -> None:
    page = windows.open(size=size)
    for url in pages:
        page.goto(url)
        assert_no_overflow(page)


def test_without_scripts_every_page_says_the_same(windows: Windows, pages: list[str]) -> None:
    plain = windows.open(javascript=False)
    for url in pages:
        plain.goto(url)
        assert plain.locator("h1").count() == 1, url
        assert plain.locator("main").inner_text().strip(), url
