"""The system's own Chromium, driven by Playwright: no browser is downloaded, and none is left out silently."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Its names as a program; `./dev` looks for the same."""

APPLICATIONS = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)
"""Where macOS has it."""

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""It talks to nobody but our servers."""


def executable(path: str | None = None) -> Path:
    """The browser's program.

    Args:
        path: folders to look in, as PATH has them; PATH itself by default.

    Raises:
        AssertionError: there is none; it says which package to install.
    """
    found = [program for program in (shutil.which(name, path=path) for name in NAMES) if program]
    there = [Path(found[0])] if found else [place for place in APPLICATIONS if place.exists() and path is None]
    assert there, "these tests need a browser: install the package chromium (./dev test does it where it may)"
    return there[0]


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser, for as long as it is needed; meanwhile Playwright's event loop is this thread's, and no other can run."""
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]  # its sandbox refuses to start as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=flags)
        yield browser
        browser.close()
