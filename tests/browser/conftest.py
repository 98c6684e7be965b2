"""One browser for the tests of a file, and windows for each test, whose faults fail it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.rig import stories
from browser.rig.chromium import launched
from browser.rig.serving import Server, served
from browser.rig.stacks import PATIENCE, Stack, build, copied, made_once, proven
from browser.rig.windows import Windows

expect.set_options(timeout=1000 * PATIENCE)  # a loaded machine is not a fault


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


@pytest.fixture(scope="session")
def pristine(preloaded: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack whose repository is empty; others are copies of it."""
    python = preloaded / "python"
    return made_once(tmp_path_factory, "pristine", lambda root: build(root, python), python)


@pytest.fixture(scope="session")
def backed_up(pristine: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The same with a set that a drill has proven."""
    return made_once(tmp_path_factory, "backed_up", lambda root: proven(copied(pristine, root)), pristine.python)


@pytest.fixture(scope="session")
def with_past(pristine: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The same with a past, in which people meant harm, too."""
    return made_once(tmp_path_factory, "with_past", lambda root: stories.tell(copied(pristine, root)), pristine.python)


@pytest.fixture(scope="module")
def new_server(pristine: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page of a stack that was never backed up."""
    with served(copied(pristine, tmp_path_factory.mktemp("new") / "stack")) as server:
        yield server


@pytest.fixture(scope="module")
def server(backed_up: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page of a stack with a proven set, for the tests of a file."""
    with served(copied(backed_up, tmp_path_factory.mktemp("served") / "stack")) as server:
        yield server


@pytest.fixture(scope="module")
def storied(with_past: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page of a stack with a past: proven, pinned and damaged sets, hostile texts, jobs that went well and wrong."""
    stack = copied(with_past, tmp_path_factory.mktemp("storied") / "stack")
    with served(stack) as server:
        stories.run_jobs(stack, ("backup", "--note", stories.HOSTILE), ("drill", "no-such-set"))
        yield server
