"""One browser for the tests of a file, and windows for each test, whose faults fail it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from browser.rig.chromium import launched
from browser.rig.serving import Server
from browser.rig.stacks import Stack, build, copied
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


@pytest.fixture(scope="session")
def pristine(preloaded: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack whose repository is empty; others are copies of it."""
    return build(tmp_path_factory.mktemp("pristine") / "stack", preloaded / "python")


@pytest.fixture(scope="session")
def backed_up(pristine: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The same with a set that a drill has proven."""
    stack = copied(pristine, tmp_path_factory.mktemp("backed_up") / "stack")
    stack.recoup("backup", "--note", "the first one")
    stack.recoup("drill")
    return stack


@contextmanager
def _served(stack: Stack) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", stack.environ["XDG_STATE_HOME"])
        server = Server(stack)
        try:
            server.start()
            yield server
        finally:
            server.close()


@pytest.fixture(scope="module")
def new_server(pristine: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page of a stack that was never backed up."""
    with _served(copied(pristine, tmp_path_factory.mktemp("new") / "stack")) as server:
        yield server


@pytest.fixture(scope="module")
def server(backed_up: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page of a stack with a proven set, for the tests of a file."""
    with _served(copied(backed_up, tmp_path_factory.mktemp("served") / "stack")) as server:
        yield server
