"""Windows of the browser, as different people have them."""

from typing import Literal

from playwright.sync_api import Browser, BrowserContext, Page

from browser.rig.stacks import PATIENCE
from browser.rig.watching import Watch

Scheme = Literal["light", "dark"]
Size = tuple[int, int]

NARROW: Size = (360, 740)
USUAL: Size = (1280, 800)
WIDE: Size = (1920, 1080)


class Windows:
    """Opens windows, and closes them at the end.

    Args:
        browser: whose windows.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts = list[BrowserContext]()
        self._watches = list[Watch]()
        self._expected = list[str]()

    def open(self, *, javascript: bool = True, size: Size = USUAL, scheme: Scheme = "light") -> Page:
        """A window of somebody else: with cookies of its own. A second tab of the same person is `page.context.new_page()`.

        Args:
            javascript: whether pages may run scripts.
            size: width and height of the page in pixels.
            scheme: the colours that the person prefers.
        """
        context = self._browser.new_context(
            java_script_enabled=javascript,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
            service_workers="block",
        )
        context.set_default_timeout(1000 * PATIENCE)
        watch = Watch(context)
        for pattern in self._expected:
            watch.expect(pattern)
        self._contexts.append(context)
        self._watches.append(watch)
        return context.new_page()

    def expect(self, pattern: str) -> None:
        """Faults that a regular expression finds belong to the test from now on, in all windows."""
        self._expected.append(pattern)
        for watch in self._watches:
            watch.expect(pattern)

    def close(self) -> list[str]:
        """Closes all, and says what went wrong in them."""
        for context in self._contexts:
            context.close()
        return [fault for watch in self._watches for fault in watch.faults]
