"""The panel in a real Streamlit application: the document assistant, which has its cache open all the time."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

import recoup
from browser.rig.looking import assert_accessible, assert_no_overflow
from browser.rig.serving import _free_port
from browser.rig.stacks import PATIENCE, wait_until
from browser.rig.windows import NARROW, WIDE, Scheme, Size, Windows
from recoup.system.clock import SystemClock
from recoup.web.jobs import Jobs

EXAMPLE = Path(__file__).parents[2] / "examples/docmind"
NOBODY = "http://127.0.0.1:9"
"""Where no Qdrant answers."""

LOOKED_FOR = "404"
"""Streamlit's page looks for its server below its own path first."""

HOSTILE = "![x](http://127.0.0.1:9/leak) <script>alert(1)</script> https://evil.example **bold** :red[no] :smile:"


class Assistant:
    """The example's application, as a person starts it.

    Args:
        root: its folder, with its data.
        memory: where this machine remembers what became of its backups.
    """

    def __init__(self, root: Path, memory: Path) -> None:
        self.root, self.memory = root, memory
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def config(self) -> Path:
        return self.root / "recoup.yaml"

    @property
    def places(self) -> dict[str, str]:
        return {f"XDG_{kind}_HOME": str(self.memory / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG")}

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECOUP", "DOCMIND"))}
        return {**kept, **self.places, "DOCMIND_QDRANT__URL": NOBODY, "HOME": str(self.memory)}

    def start(self) -> None:
        self.memory.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={self._port}"]
        command += [
            "--server.headless=true",
            "--server.fileWatcherType=none",
        ]  # no browser, and no watching of all modules
        with (self.memory / "streamlit.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.root, env=self.environ, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def _answers(self) -> bool:
        log = self.memory / "streamlit.log"
        assert self._process and self._process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{self.url}/_stcore/health", timeout=PATIENCE, trust_env=False).is_success
        except httpx.TransportError:
            return False

    @property
    def cache_is_locked(self) -> bool:
        """Whether another process may not open the cache: the application has it."""
        script = "import duckdb; duckdb.connect('cache/docmind.duckdb')"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=self.root, capture_output=True, text=True, check=False
        )
        return done.returncode != 0 and "lock" in done.stderr

    @property
    def newest(self) -> Path:
        """The folder of the newest set."""
        return max((self.root / "data/backups").glob("backup_*"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assistant]:
    base = tmp_path_factory.mktemp("assistant")
    root = shutil.copytree(
        EXAMPLE, base / "docmind", ignore=shutil.ignore_patterns("__pycache__", "data", "cache", "logs")
    )
    assistant = Assistant(root, base / "memory")
    subprocess.run([sys.executable, "make_data.py"], cwd=root, env=assistant.environ, check=True, capture_output=True)
    recoup.open(assistant.config, environ={}).create_repositories()
    assistant.start()
    yield assistant
    assistant.end()


@pytest.fixture
def assistant(running: Assistant, monkeypatch: pytest.MonkeyPatch) -> Iterator[Assistant]:
    """The application; what this machine remembers of it is there for the test, too."""
    for name, value in running.places.items():
        monkeypatch.setenv(name, value)
    yield running
    jobs = jobs_of(running)
    if job := jobs.running:
        jobs.cancel(job.id)
        wait_until(lambda: jobs.running is None)


def jobs_of(assistant: Assistant) -> Jobs:
    return Jobs("docmind", ["-c", str(assistant.config)], SystemClock())


def settings(page: Page, assistant: Assistant) -> Page:
    """The application's settings, come upon as a person does."""
    page.goto(assistant.url)
    expect(page.get_by_role("heading", name="Documents")).to_be_visible()
    page.get_by_role("link", name="Settings").click()
    expect(button(page, "Create backup now")).to_be_visible()
    return page


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def ready(page: Page, name: str) -> Locator:
    """A button that can be pressed, alone: while Streamlit draws a page anew, what was there before is there, too."""
    expect(button(page, name)).to_have_count(1)
    expect(button(page, name)).to_be_enabled()
    return button(page, name)


def is_off(page: Page, name: str) -> None:
    """The button is there, and cannot be pressed."""
    expect(button(page, name)).to_have_count(1)
    expect(button(page, name)).to_be_disabled()


def hosts(page: Page) -> set[str]:
    """Whom the page asks for anything, from now on."""
    found = set[str]()
    page.on("request", lambda request: found.update(re.findall(r"^\w+://([^/]*)", request.url)))
    return found


def says(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.get_by_test_id("stAlert").filter(has_text=text).first).to_be_visible()


@pytest.mark.slow
@pytest.mark.requirement("DM-13")
def test_a_backup_is_made_watched_downloaded_and_proven_while_the_application_works(
    assistant: Assistant, page: Page
) -> None:
    asked = hosts(page)
    settings(page, assistant)
    assert assistant.cache_is_locked
    says(page, "There is no set yet.")

    ready(page, "Create backup now").click()
    says(page, re.compile("is complete: .*It holds cache, storage, env, and is stored in local.", re.DOTALL))
    says(page, assistant.newest.name)
    assert assistant.cache_is_locked

    with page.expect_download() as downloading:
        ready(page, "Download manifest").click()
    assert downloading.value.suggested_filename == f"{assistant.newest.name}.manifest.json"
    assert downloading.value.path().read_bytes() == (assistant.newest / "manifest.json").read_bytes()

    ready(page, "Drill now").click()
    says(page, f"{assistant.newest.name} restores: 3 sources")
    assert assistant.cache_is_locked
    page.get_by_role("link", name="Documents").click()
    expect(page.get_by_text("320", exact=True)).to_be_visible()

    assert recoup.open(assistant.config).show().standing.proven
    assert asked == {assistant.url.split("/")[2]}


@pytest.mark.slow
@pytest.mark.requirement("DM-13")
def test_a_backup_goes_on_through_reloads_other_tabs_and_the_death_of_the_application(
    assistant: Assistant, windows: Windows
) -> None:
    windows.expect(LOOKED_FOR)
    windows.expect("WebSocket|ERR_|Network ?Error|disconnected from|server endpoint|not responding|Failed to fetch")
    own = assistant.config.read_text()
    assistant.config.write_text(re.sub(r"env: .*", "env: {kind: sqlite, path: notes.db, busy_timeout: 600}", own))
    first = settings(windows.open(), assistant)
    second = settings(first.context.new_page(), assistant)
    jobs = jobs_of(assistant)
    before = len(jobs.all())
    with closing(sqlite3.connect(assistant.root / "notes.db", isolation_level=None)) as notes:
        notes.execute("CREATE TABLE notes (text)")
        notes.execute("PRAGMA locking_mode = EXCLUSIVE")
        notes.execute("BEGIN EXCLUSIVE")  # the backup waits for the end of this

        ready(first, "Create backup now").dblclick()
        expect(first.get_by_text("Running for")).to_be_visible()
        is_off(first, "Create backup now")
        is_off(first, "Drill now")
        ready(second, "Create backup now").click()
        says(second, "A job runs already.")
        expect(second.get_by_text("Running for")).to_be_visible()
        first.reload()
        expect(first.get_by_text("Running for")).to_be_visible()
        first.close()

        assistant.end(signal.SIGKILL)
        assert jobs.running
        assistant.start()
        second.reload()
        expect(second.get_by_text("Running for")).to_be_visible()
        is_off(second, "Drill now")
        notes.execute("ROLLBACK")
    says(second, "is complete")
    ready(second, "Create backup now")
    assert len(jobs.all()) == before + 1
    assert jobs.all()[0].exit_code == 0


@pytest.mark.slow
def test_what_others_wrote_is_shown_as_text_to_everybody_and_asks_nobody(
    assistant: Assistant, windows: Windows, tmp_path: Path
) -> None:
    """Also looked at, in the folder that RECOUP_SCREENSHOTS names."""
    windows.expect(LOOKED_FOR)
    recoup.open(assistant.config, environ={}).backup(sources=["storage"], note=HOSTILE)
    looks: list[tuple[str, Size, Scheme]] = [("narrow-dark", NARROW, "dark"), ("wide-light", WIDE, "light")]
    for name, size, scheme in looks:
        page = windows.open(size=size, scheme=scheme)
        asked = hosts(page)
        page.goto(f"{assistant.url}/settings")
        ready(page, "Download manifest")
        note = page.get_by_text("Note: ")
        assert note.inner_text().replace("\N{WORD JOINER}", "") == f"Note: {HOSTILE}"
        assert page.locator("img[src*=leak], a[href*=evil]").count() == 0
        assert asked == {assistant.url.split("/")[2]}
        page.screenshot(path=Path(os.environ.get("RECOUP_SCREENSHOTS", tmp_path)) / f"streamlit-{name}.png")
        assert_no_overflow(page)
        assert_accessible(page)
