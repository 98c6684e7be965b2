"""A browser without a window, and the site that it looks at."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from recoup.app import open_stack
from recoup.system.clock import SystemClock
from recoup.web._place import Place
from recoup.web._site import Site
from recoup.web.jobs import RECOUP, Jobs
from recoup.web.server import create_app

BASE = "http://127.0.0.1:8642"
NOTHING = ("/bin/sh", "-c", "exit 0", "recoup")
"""A command for jobs that are only looked at."""

HERE = ("127.0.0.1", 50000)


class Browser(TestClient):
    """Asks the application, and follows a redirect only when told to."""

    @property
    def csrf(self) -> str:
        """The token of this session, as the pages have it."""
        found = re.search(r'name="csrf" value="([^"]+)"|"X-CSRF-Token": "([^"]+)"', self.get("/").text)
        assert found
        return found[1] or found[2]

    def post_form(self, path: str, **fields: Any) -> Response:
        """Sends a form, with the session's token."""
        return self.post(path, data={"csrf": self.csrf, **fields}, headers={"Origin": BASE})


def site_of(config: Path, command: tuple[str, ...] = RECOUP) -> Site:
    """The site of a configuration, whose jobs run a command."""
    clock = SystemClock()
    return Site(lambda: open_stack([config]), Jobs("shop", ["-c", str(config)], clock, command), clock)


@contextmanager
def browsing(site: Site) -> Iterator[Browser]:
    """A browser on this machine; where nobody signs in, it may do everything."""
    settings = site.stack.settings.web
    app = create_app(site, Place.parsed(settings.bind, settings.path))
    with Browser(app, base_url=BASE, follow_redirects=False, client=HERE) as found:
        yield found


def idle(config: Path) -> Site:
    """A site whose jobs do nothing."""
    return site_of(config, NOTHING)


def text_of(page: str) -> str:
    """What a page says, without markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
