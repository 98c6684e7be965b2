"""One browser for the tests of a file, and windows for each test, whose faults fail it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from browser.rig.chromium import launched
from browser.rig.windows import Windows


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: tests of other files run event loops of their own."""
    with launched() as browser:
        yield browser


@pytest.fixture
def windows(browser: Browser) -> Iterator[Windows]:
    """Any number of windows; whatever goes wrong in one of them fails the test, unless it was expected."""
    opened = Windows(browser)
    yield opened
    faults = opened.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def page(windows: Windows) -> Page:
    """One window as most people have it."""
    return windows.open()
