"""What goes wrong in a page without being seen on it."""

import re

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, WebError

_LEFT = "net::ERR_ABORTED"
"""The browser gave a request up itself: the page was left, or the answer was a download."""


class Watch:
    """Collects what goes wrong in all pages of a context: errors of scripts, warnings and errors in the console (what breaks the
    Content-Security-Policy is such a one), failed requests, and dialogs (ours have none, so a hostile text opened it).

    Attributes:
        faults: what went wrong and was not expected.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.faults = list[str]()
        self._expected = list[re.Pattern[str]]()
        context.on("console", self._said)
        context.on("weberror", self._thrown)
        context.on("requestfailed", self._failed)
        context.on("dialog", self._asked)

    def expect(self, pattern: str) -> None:
        """Faults that a regular expression finds are part of the story from now on."""
        self._expected.append(re.compile(pattern))

    def _note(self, fault: str, page: Page | None) -> None:
        if not any(pattern.search(fault) for pattern in self._expected):
            self.faults.append(f"{page.url if page else 'a page that is gone'}: {fault}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._note(f"console {message.type}: {message.text}", message.page)

    def _thrown(self, error: WebError) -> None:
        self._note(f"error of a script: {error.error}", error.page)

    def _asked(self, dialog: Dialog) -> None:
        self._note(f"a dialog opened: {dialog.message}", dialog.page)
        dialog.dismiss()

    def _failed(self, request: Request) -> None:
        if request.failure != _LEFT:
            self._note(f"request failed: {request.method} {request.url}: {request.failure}", None)
