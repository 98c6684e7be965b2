"""A small real stack with two sets, its site, and a browser without a window."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

import recoup
from recoup.app import open_stack
from recoup.system.clock import SystemClock
from recoup.web._place import Place
from recoup.web._site import Site
from recoup.web.jobs import Jobs
from recoup.web.server import create_app

CONFIG = """\
version: 1
stack: shop
sources:
  notes: {kind: files, path: notes}
  chat: {kind: sqlite, path: chat.db}
repositories:
  local: {path: backups}
"""

BASE = "http://127.0.0.1:8642"
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


@pytest.fixture(scope="session")
def _stack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: tests get copies."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "recoup.yaml").write_text(CONFIG)
    (folder / "notes" / "sub").mkdir(parents=True)
    (folder / "notes" / "first.txt").write_text("the first note\n")
    with sqlite3.connect(folder / "chat.db") as chat:
        chat.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, text TEXT)")
        chat.executemany("INSERT INTO messages (text) VALUES (?)", [(f"message {n}",) for n in range(5)])
    chat.close()
    stack = recoup.open(folder / "recoup.yaml")
    stack.create_repositories()
    stack.backup()
    (folder / "notes" / "sub" / "second.txt").write_text("the second note\n")
    stack.backup(note="with a second note")
    return folder


@pytest.fixture
def stack_folder(_stack_folder: Path, tmp_path: Path) -> Path:
    """The folder of a stack: `recoup.yaml`, `notes/`, `chat.db`, and `backups/` with two sets."""
    return shutil.copytree(_stack_folder, tmp_path / "stack")


@pytest.fixture
def site(stack_folder: Path) -> Site:
    """What the pages stand on."""
    return site_of(stack_folder / "recoup.yaml")


def site_of(config: Path) -> Site:
    """The site of a configuration."""
    clock = SystemClock()
    return Site(lambda: open_stack([config]), Jobs("shop", ["-c", str(config)], clock), clock)


def place_of(site: Site) -> Place:
    """Where it would be served."""
    settings = site.stack.settings.web
    return Place.parsed(settings.bind, settings.path)


@pytest.fixture
def client(site: Site) -> Iterator[Browser]:
    """A browser of somebody who may do everything: on this machine, where nobody signs in."""
    with Browser(create_app(site, place_of(site)), base_url=BASE, follow_redirects=False, client=HERE) as found:
        yield found
