"""The page that says whether a stack is safe."""

import shutil
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode, UsageError
from recoup.model.reports import StatusRow, VerbRun
from recoup.system.runs import remember
from recoup.web._site import Site
from recoup.web.overview import _change, _ended, _length, backup_arguments
from recoup.web.set_page import LONGEST_TEXT
from unit.web.browsing import Browser, browsing, site_of
from unit.web.conftest import CONFIG
from unit.web.set_infos import NOW, add_sets, prove, words


def test_a_stack_without_a_proof_is_not_called_safe(client: Browser) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert '<div class="verdict warning"' in page.text
    assert "no drill has ever proven any source" in words(page.text)


def test_a_proven_stack_is_safe_and_the_answer_has_a_sign_and_a_word(client: Browser, stack_folder: Path) -> None:
    prove(stack_folder / "backups")
    page = client.get("/")
    assert '<div class="verdict good"' in page.text
    assert "✓ Good: Safe: all 2 sources have a recent good copy" in words(page.text)
    newest = recoup.open(stack_folder / "recoup.yaml").show().name
    assert f'href="/sets/local/{newest}"' in page.text
    assert "of at most 24 h" in words(page.text)


def test_a_proof_in_one_repository_is_none_of_the_copy_in_another(client: Browser, stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    shutil.copytree(stack_folder / "backups", stack_folder / "away")
    config.write_text(config.read_text() + "  away: {path: away}\n")
    prove(stack_folder / "backups")
    said = words(client.get("/").text)
    assert "No drill has ever proven a set in away." in said
    assert said.count("never here (in another repository") == 2  # one for each source
    assert "(an older set)" not in said


def test_each_problem_stands_there_with_its_hint(client: Browser, stack_folder: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(config.read_text().replace("sources:", "sources:\n  late: {kind: files, path: late}"))
    page = client.get("/")
    assert '<div class="verdict bad"' in page.text
    assert "✗ Bad: Not safe: late in local: never backed up." in words(page.text)
    assert "<code>recoup backup --source late</code> makes one." in page.text


def test_the_first_visit_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "recoup.yaml").write_text(CONFIG.replace("  chat: {kind: sqlite, path: chat.db}\n", ""))
    with browsing(site_of(tmp_path / "recoup.yaml")) as client:
        page = client.get("/")
        assert '<div class="verdict neutral"' in page.text
        assert "no repository has been created" in page.text
        assert 'action="/repositories"' in page.text
        assert "Back up now" not in page.text
        recoup.open(tmp_path / "recoup.yaml").create_repositories()
        created = client.post_form("/backup", sources="nothing")  # what is refused is looked at anew, too
        assert created.status_code >= 400
        page = client.get("/")
        assert "There is no backup yet." in page.text
        assert 'action="/repositories"' not in page.text
        assert "Make the first backup" in page.text


def test_a_repository_that_is_gone_is_no_first_visit(client: Browser, stack_folder: Path) -> None:
    remember("shop", VerbRun("backup", (), "local", NOW, NOW, ExitCode.OK))
    shutil.rmtree(stack_folder / "backups")
    page = client.get("/")
    assert '<div class="verdict bad"' in page.text
    assert "no repository is where it was" in page.text
    assert "If it is on a disk that is not mounted, mount it" in page.text


def test_a_configuration_that_is_wrong_now_is_a_doubt(client: Browser, stack_folder: Path) -> None:
    prove(stack_folder / "backups")
    assert '<div class="verdict good"' in client.get("/").text
    with (stack_folder / "recoup.yaml").open("a") as file:
        file.write("nonsense: 1\n")
    page = client.get("/")
    assert '<div class="verdict warning"' in page.text
    assert "the configuration has an error now" in page.text


def test_a_stack_without_a_repository_is_not_called_safe(tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: shop\nsources: {}\nrepositories: {}\n")
    with browsing(site_of(tmp_path / "recoup.yaml")) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert '<div class="verdict good"' not in page.text
        assert "verdict bad" in page.text


def test_a_schedule_that_nothing_runs_is_said(client: Browser, stack_folder: Path) -> None:
    with (stack_folder / "recoup.yaml").open("a") as file:
        file.write("schedule:\n  - {run: backup, every: 6h, name: often}\n")
    text = words(client.get("/").text)
    assert "nothing runs it" in text
    assert "often" in text


def test_what_others_wrote_stays_text(client: Browser, stack_folder: Path, site: Site) -> None:
    with (stack_folder / "recoup.yaml").open("a") as file:
        file.write('schedule:\n  - {run: backup, every: 6h, name: "<script>alert(1)</script>"}\n')
    page = client.get("/")
    assert "<script>alert" not in page.text
    assert site.config_error is None or "name" in str(site.config_error)


def test_a_look_serves_for_some_seconds_and_not_after_a_change(client: Browser, stack_folder: Path) -> None:
    glances = client.app.state.glances  # type: ignore[attr-defined]
    first = glances.take()
    client.get("/")
    assert glances.take() is first
    client.post_form("/backup", sources="nothing")
    second = glances.take()
    assert second is not first
    add_sets(stack_folder / "backups", 1)
    remember("shop", VerbRun("backup", (), "local", NOW, NOW, ExitCode.OK))  # as any run on this machine does
    third = glances.take()
    assert len(third.sets) == len(second.sets) + 1
    assert client.get("/", headers={"Cache-Control": "max-age=0"}).status_code == 200
    assert glances.take() is not third


def test_a_reader_sees_the_answer_and_no_button(stack_folder: Path) -> None:
    token = "token-of-a-reader-" + "0123456789" * 3
    with (stack_folder / "recoup.yaml").open("a") as file:
        file.write(f'web:\n  reader: {{token: "{token}"}}\n')
    with browsing(site_of(stack_folder / "recoup.yaml")) as client:
        page = client.get("/", headers={"Authorization": f"Bearer {token}"})
    assert page.status_code == 200
    assert '<div class="verdict warning"' in page.text
    assert "<button" not in page.text.partition("<main")[2]


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_back_up_now_is_a_job(client: Browser, site: Site) -> None:
    answer = client.post_form("/backup", sources=["notes"], note="  --before\nthe release ")
    assert answer.status_code == 303
    job = site.jobs.newest
    assert job is not None
    assert job.arguments == ("backup", "--source=notes", "--note=--before the release")
    assert answer.headers["location"] == f"/jobs/{job.id}"
    while (job := site.jobs.newest) is not None and job.state == "running":
        site.clock.sleep(0.05)
    assert job is not None
    assert job.exit_code == ExitCode.OK
    sets = [info for info in site.sets() if info.manifest and info.manifest.note == "--before the release"]
    assert [list(info.manifest.sources) for info in sets if info.manifest] == [["notes"]]


def test_all_or_none_chosen_is_no_choice() -> None:
    for chosen in ((), ("a", "b")):
        assert backup_arguments(chosen, (), "", ["a", "b"], ["r"]) == ["backup"]
    assert backup_arguments(["b"], ["r"], "", ["a", "b"], ["r", "s"]) == ["backup", "--source=b", "--to=r"]


@pytest.mark.parametrize(
    ("sources", "to", "note"), [(["c"], [], ""), ([], ["../r"], ""), ([], [], "x" * (LONGEST_TEXT + 1))]
)
def test_what_there_is_not_is_refused(sources: list[str], to: list[str], note: str) -> None:
    with pytest.raises(UsageError):
        backup_arguments(sources, to, note, ["a", "b"], ["r"])


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 min"), (90 * 60, "90 min"), (26 * 3600, "26 h"), (5 * 86400, "5 days")]
)
def test_ages_and_limits_are_told_in_one_unit(seconds: float, text: str) -> None:
    assert _length(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(100, "as usual"), (150, "+50 %"), (10, "-90 %"), (2000, "20 times the usual")]
)
def test_a_change_is_beside_what_is_usual(size: int, text: str) -> None:
    assert _change(StatusRow("local", "notes", "set", NOW, 0.0, size, None, median_bytes=100)) == text
    assert _change(StatusRow("local", "notes", "set", NOW, 0.0, size, None)) == ""


@pytest.mark.parametrize(
    ("code", "sentence", "level"),
    [
        (ExitCode.OK, "", "good"),
        (ExitCode.OK, "a tenth of the bytes was read", "neutral"),
        (ExitCode.INCOMPLETE, "", "warning"),
        (ExitCode.INTERRUPTED, "", "warning"),
        (ExitCode.SKIPPED, "", "warning"),
        (ExitCode.DAMAGED, "", "bad"),
        (99, "", "bad"),
    ],
)
def test_only_a_run_that_did_all_went_well(code: int, sentence: str, level: str) -> None:
    assert _ended(VerbRun("verify", (), "local", NOW, NOW, code, sentence))[0] == level
