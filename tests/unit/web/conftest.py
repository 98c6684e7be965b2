"""A small real stack with two sets, its site, and a browser without a window."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import recoup
from recoup.web._site import Site
from unit.web.browsing import Browser, browsing, site_of

CONFIG = """\
version: 1
stack: shop
sources:
  notes: {kind: files, path: notes}
  chat: {kind: sqlite, path: chat.db}
repositories:
  local: {path: backups}
"""


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


@pytest.fixture
def client(site: Site) -> Iterator[Browser]:
    """A browser of somebody who may do everything: on this machine, where nobody signs in."""
    with browsing(site) as found:
        yield found
