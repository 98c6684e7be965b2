"""The panel on a page of Streamlit's own test application; jobs are real processes."""

import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import DownloadButton

import recoup
from recoup.errors import UsageError
from recoup.scheduler._starting import job_lock
from recoup.web import _panel_opening, streamlit_panel
from recoup.web._panel_text import literal
from recoup.web.jobs import Jobs
from sealing_keys import age_key
from unit.web.running import CLOCK, folder_of, scripted, supervisor, through, until


def page(*configs: str, sources: list[str] | None) -> None:
    """The page of an application; Streamlit runs its source."""
    from recoup.web.streamlit_panel import render

    for config in configs:
        render(config, sources=sources)


def shown(*configs: Path, sources: list[str] | None = None) -> AppTest:
    """A page with panels, as somebody sees it first."""
    app = AppTest.from_function(page, default_timeout=60, args=tuple(map(str, configs)), kwargs={"sources": sources})
    return seen(app)


def seen(app: AppTest) -> AppTest:
    """The page, drawn anew."""
    app.run()
    assert not app.exception, app.exception
    return app


def labels(app: AppTest) -> dict[str, bool]:
    """The buttons, and which of them can be pressed."""
    return {button.label: not button.disabled for button in app.button}


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    return seen(app)


def texts(app: AppTest) -> str:
    """All that is said in boxes and lines, without the escapes of Markdown."""
    kinds = (app.error, app.warning, app.info, app.success, app.markdown, app.text)
    return "\n".join(str(element.value).replace("\\", "") for kind in kinds for element in kind)


def downloads(app: AppTest) -> list[str]:
    """What the buttons for downloads are called."""
    return [element.label for element in app.get("download_button") if isinstance(element, DownloadButton)]


def jobs_of(config: Path) -> Jobs:
    return Jobs("shop", ["-c", str(config)], CLOCK)


@pytest.fixture
def config(stack_folder: Path) -> Path:
    return stack_folder / "recoup.yaml"


@pytest.fixture(autouse=True)
def _started_quickly(preloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run commands that are forks of a process which has loaded Recoup."""

    def jobs(stack: str, options: Any, clock: Any) -> Jobs:
        return Jobs(stack, options, clock, (str(preloaded / "recoup"),))

    monkeypatch.setattr(_panel_opening, "Jobs", jobs)


# --- the journey ------------------------------------------------------------------------------------------------------


def test_a_backup_and_a_drill_are_made_by_pressing_buttons(config: Path) -> None:
    app = shown(config)
    assert labels(app) == {"Create backup now": True, "Drill now": True}
    assert len(app.dataframe[0].value) == 2
    assert set(app.dataframe[0].value["Proven"]) == {"not yet"}

    press(app, "Create backup now")
    (job,) = jobs_of(config).all()
    assert job.arguments == ("backup",)
    through(jobs_of(config), job)
    newest = recoup.open(config).show().name
    assert f"{newest} is complete" in seen(app).success[0].value.replace("\\", "")
    assert app.dataframe[0].value["Set"][0] == newest
    assert len(app.dataframe[0].value) == 3
    assert app.selectbox[0].value == 0
    assert downloads(app) == ["Download manifest"]

    press(app, "Drill now")
    through(jobs_of(config), jobs_of(config).all()[0])
    assert f"{newest} restores: 2 sources" in seen(app).success[0].value.replace("\\", "")
    assert list(app.dataframe[0].value["Proven"]) == ["just now", "not yet", "not yet"]


def test_only_the_sources_that_the_application_names_are_backed_up(config: Path) -> None:
    press(shown(config, sources=["notes"]), "Create backup now")
    (job,) = jobs_of(config).all()
    through(jobs_of(config), job)
    assert list(recoup.open(config).show().manifest.sources) == ["notes"]  # type: ignore[union-attr] # it is there


def test_a_stack_that_is_open_already_is_taken_with_its_overrides(stack_folder: Path, config: Path) -> None:
    stack = recoup.open(config, overrides=["repositories.local.path=other"])
    panel = _panel_opening.opened(stack, CLOCK)
    assert panel.stack is not stack
    assert panel.stack.settings == stack.settings
    stack.create_repositories()
    assert panel.sets() == []
    job = through(panel.jobs, panel.jobs.start(("backup",)))
    assert job.exit_code == 0
    assert [info.name for info in panel.sets()] == [path.name for path in (stack_folder / "other").glob("backup_*")]


# --- a job that runs --------------------------------------------------------------------------------------------------

WORKING = """
echo '{"event": "progress", "work": "backup chat", "done": 512, "total": 2048, "unit": "", "finished": false}' >&2
echo '{"event": "progress", "work": "backup notes", "done": 7, "total": null, "unit": "files", "finished": false}' >&2
echo '{"event": "progress", "work": "freeze", "done": 7, "total": 7, "unit": "", "finished": true}' >&2
echo 'chat.db is read' >&2
trap 'exit 130' INT
while [ ! -e "$GO" ]; do sleep 0.05; done
exit 75
"""


@contextmanager
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Jobs, str]]:
    """A job that tells how far it is, and ends when it is stopped, or at the end."""
    go = tmp_path / "go"
    monkeypatch.setenv("GO", str(go))
    jobs = scripted(WORKING)
    job = jobs.start(("backup",))
    until(lambda: len(jobs.news(job.id).records) == 4)
    yield jobs, job.id
    go.touch()
    through(jobs, job)


def test_a_running_job_shows_its_progress_to_everybody(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(tmp_path, monkeypatch):
        for app in (shown(config), shown(config)):
            assert labels(app) == {"Create backup now": False, "Drill now": False, "Stop": True}
            assert "Running for" in texts(app)
            (bar,) = app.progress
            assert (bar.value, bar.text.replace("\\", "")) == (25, "backup chat: 512 B of 2.0 KiB")
            assert "backup notes: 7 files" in texts(app)
            assert "1 step done." in texts(app)
            assert app.text[0].value == "chat.db is read"
            assert not app.success
    found = seen(app)
    assert labels(found) == {"Create backup now": True, "Drill now": True}
    assert "recoup backup: it was skipped" in found.warning[0].value.replace("\\", "")


def test_a_job_is_stopped_and_called_so(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with working(tmp_path, monkeypatch) as (jobs, job_id):
        app = press(shown(config), "Stop")
        until(lambda: jobs.running is None)
        assert "recoup backup: it was stopped" in seen(app).warning[0].value.replace("\\", "")
        found = jobs.job(job_id)
        assert found
        assert found.exit_code == 130


def test_who_presses_while_a_job_runs_is_told_which_and_starts_none(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(config)
    with working(tmp_path, monkeypatch) as (jobs, job_id):
        press(app, "Create backup now")
        assert "A job runs already." in app.info[0].value
        assert "backup, begun" in app.info[0].value.replace("\\", "")
        assert "Stop" in labels(app)
        assert [job.id for job in jobs.all()] == [job_id]


def test_a_job_of_the_schedule_is_in_the_way_too(config: Path) -> None:
    app = shown(config)
    with job_lock("shop").held("the nightly backup", "another job runs"):
        press(app, "Drill now")
    assert "the nightly backup" in app.info[0].value
    assert jobs_of(config).all() == ()
    assert not seen(app).info


def test_two_presses_before_the_page_is_drawn_anew_are_one(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = dict[str, object]()
    monkeypatch.setattr("streamlit.session_state", state)
    panel = _panel_opening.opened(config, CLOCK)
    for _ in range(2):
        streamlit_panel._start(panel, "key", ("list",), "none")
        through(panel.jobs, panel.jobs.all()[0])
    (first,) = panel.jobs.all()
    streamlit_panel._start(panel, "key", ("list",), first.id)
    through(panel.jobs, panel.jobs.all()[0])
    assert len(panel.jobs.all()) == 2


def test_a_job_whose_processes_were_killed_is_an_error(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(tmp_path, monkeypatch) as (jobs, _):
        os.killpg(supervisor(jobs.all()[0]), 9)
        until(lambda: jobs.running is None)
        app = shown(config)
        assert "nobody knows how it ended" in app.error[0].value
        assert not app.success


def test_results_that_are_cut_short_are_no_success(config: Path) -> None:
    jobs = scripted("true")
    job = through(jobs, jobs.start(("backup",)))
    (folder_of(job) / "results.jsonl").write_text('{"type": "backup", "manifest": {"name": "back')
    app = shown(config)
    assert "without a report of what was done" in app.error[0].value
    assert not app.success


# --- what is not as it should be --------------------------------------------------------------------------------------


def test_a_repository_that_is_not_there_is_said_and_not_made(stack_folder: Path, config: Path) -> None:
    shutil.rmtree(stack_folder / "backups")
    before = sorted(stack_folder.rglob("*"))
    app = shown(config)
    assert "recoup init" in app.error[0].value.replace("\\", "")
    press(app, "Create backup now")
    job = through(jobs_of(config), jobs_of(config).all()[0])
    assert job.exit_code == 10
    assert "recoup backup failed" in seen(app).error[0].value
    assert sorted(stack_folder.rglob("*")) == before


def test_a_repository_without_sets_is_not_called_good(config: Path, stack_folder: Path) -> None:
    for path in (stack_folder / "backups").glob("backup_*"):
        shutil.rmtree(path)
    app = shown(config)
    assert [info.value for info in app.info] == ["There is no set yet."]
    assert not app.success


def test_a_configuration_that_is_wrong_is_told_without_its_secrets(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + "notify: [{kind: webhook, url: 'https://x:planted-5577@h/', secrt: 1}]\n")
    app = shown(config)
    assert "secrt" in app.error[0].value
    assert "planted" not in texts(app)
    assert labels(app) == {}
    assert "recoup init" in shown(tmp_path / "nowhere.yaml").error[0].value.replace("\\", "")


def test_a_set_that_cannot_be_read_is_named_and_the_others_are_shown(config: Path, stack_folder: Path) -> None:
    newest = max((stack_folder / "backups").glob("backup_*"))
    (newest / "manifest.json").write_text("{}")
    app = shown(config)
    assert f"{newest.name} in local cannot be read" in app.warning[0].value.replace("\\", "")
    assert list(app.dataframe[0].value["Outcome"]) == ["unreadable", "complete"]
    assert not downloads(app)
    app.selectbox[0].set_value(1)
    assert downloads(seen(app))


def test_one_of_several_repositories_that_is_not_there_is_named(config: Path) -> None:
    config.write_text(config.read_text() + "  far: {path: far}\n")
    app = shown(config)
    assert "far was not looked into" in app.warning[0].value.replace("\\", "")
    assert len(app.dataframe[0].value) == 2


def test_the_newest_good_set_is_not_shown_as_proven_when_its_drill_failed(config: Path, stack_folder: Path) -> None:
    newest = max((stack_folder / "backups").glob("backup_*"))
    victim = newest / "notes/first.txt"
    victim.write_text(victim.read_text().replace("first", "FIRST"))
    app = press(shown(config), "Drill now")
    through(jobs_of(config), jobs_of(config).all()[0])
    assert "is not proven" in seen(app).error[0].value
    assert list(app.dataframe[0].value["Proven"]) == ["drill FAILED just now", "not yet"]


HOSTILE = "![x](http://127.0.0.1:9/leak) <script>alert(1)</script> **bold**"


def test_a_hostile_note_is_shown_as_text(config: Path) -> None:
    recoup.open(config).backup(note=HOSTILE)
    assert f"Note: {literal(HOSTILE)}" in [element.value for element in shown(config).markdown]


def test_the_manifest_of_an_encrypted_set_is_called_decrypted(config: Path, stack_folder: Path) -> None:
    public, identity = age_key(stack_folder)
    sealed = f"  local: {{path: sealed, encrypt: {{age: {{recipients: [{public}], identity_file: {identity}}}}}"
    config.write_text(config.read_text().replace("  local: {path: backups", sealed + ", encrypt_manifest: true"))
    stack = recoup.open(config)
    stack.create_repositories()
    stack.backup()
    assert downloads(shown(config)) == ["Download manifest, decrypted"]
    Path(identity).unlink()
    app = shown(config)
    assert "cannot be read" in app.warning[0].value
    assert not downloads(app)


# --- several panels, and the application's process --------------------------------------------------------------------


def test_panels_of_several_stacks_stand_on_one_page(config: Path, stack_folder: Path) -> None:
    other = stack_folder / "other.yaml"
    other.write_text(config.read_text().replace("stack: shop", "stack: attic"))
    app = shown(config, other)
    assert len(app.button) == 4
    app.button[2].click()
    seen(app)
    jobs = Jobs("attic", [], CLOCK)
    assert through(jobs, jobs.all()[0]).exit_code == 0
    assert jobs_of(config).all() == ()


_HEARD: list[tuple[str, str]] | None = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _HEARD is not None and event in ("open", "subprocess.Popen"):
        _HEARD.append((event, str(arguments[0])))


def _hear_threads(heard: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the page's own run starts; Streamlit starts one for that run."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if threading.current_thread().name == "ScriptRunner.scriptThread":
            heard.append(("thread", thread.name))
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)


def test_the_panel_calls_streamlit_from_no_thread_of_its_own_and_opens_no_file_of_the_application(
    config: Path, stack_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is opened and closed in the application's process loses the locks that the application has on it."""
    sys.addaudithook(_hear)  # it stays as long as the process, and costs next to nothing
    heard = list[tuple[str, str]]()
    monkeypatch.setattr(sys.modules[__name__], "_HEARD", heard)
    _hear_threads(heard, monkeypatch)
    app = press(shown(config), "Create backup now")
    through(jobs_of(config), jobs_of(config).all()[0])
    seen(app)
    monkeypatch.setattr(sys.modules[__name__], "_HEARD", None)

    assert {kind for kind, _ in heard} == {"open", "subprocess.Popen", "thread"}
    threads = [name for kind, name in heard if kind == "thread"]
    assert [name for name in threads if not name.startswith("wait for process ")] == []  # which only wait for a job
    opened = {Path(name) for kind, name in heard if kind == "open" and name.startswith("/")}
    assert any(path.is_relative_to(stack_folder / "backups") for path in opened)
    live = {path for path in opened if path.is_relative_to(stack_folder)} - {config}
    assert [path for path in live if not path.is_relative_to(stack_folder / "backups")] == []


def test_without_streamlit_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    spec = importlib.util.spec_from_file_location("panel_without", streamlit_panel.__file__)
    assert spec and spec.loader
    with pytest.raises(UsageError, match=r"pip install 'recoup\[streamlit\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
