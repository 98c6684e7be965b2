"""The lines of `schedule:`: what they mean, and how a mistake in one is told."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from recoup.config._schedule import SAMPLE, jobs
from recoup.config.discover import discover, render
from recoup.config.explain import effective
from recoup.config.loading import load
from recoup.errors import ConfigError
from unit.config.conftest import Load

STACK = (
    "sources:\n  db: {kind: files, path: .}\n  chat: {kind: files, path: .}\nrepositories: {local: {path: backups}}\n"
)


def mistake(load_text: Load, *lines: str) -> str:
    """What is said about a schedule."""
    with pytest.raises(ConfigError) as error:
        load_text(STACK + "schedule:\n" + "".join(f"  - {line}\n" for line in lines))
    return f"{error.value.message} {error.value.hint}"


@pytest.mark.requirement("CO-17")
def test_each_source_may_have_a_line_of_its_own(load_text: Load) -> None:
    text = """\
schedule:
  - {run: backup, sources: [db], cron: "0 2 * * *", timezone: Europe/Berlin, jitter: 10m, catch_up: false}
  - {run: backup, sources: [chat, db], every: 1d12h}
"""
    night, often = jobs(load_text(STACK + text).settings.schedule, "docmind", "host-1")
    assert (night.name, night.cron, night.zone) == ("backup-db", "0 2 * * *", ZoneInfo("Europe/Berlin"))
    assert timedelta(0) <= night.jitter <= timedelta(minutes=10)
    assert not night.catch_up
    assert (often.name, often.every, often.jitter) == ("backup-chat-db", timedelta(hours=36), timedelta(0))
    assert often.sources == ("chat", "db")


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("{run: backup, every: 1d}", "backup"),
        ("{run: backup, every: 1d, sources: [db, chat], to: [local]}", "backup --source db,chat --to local"),
        ("{run: prune, every: 1d, repository: local}", "prune --yes --repository local"),
        ("{run: verify, every: 1d, read_data_subset: 10%}", "verify --read-data-subset 10%"),
        ("{run: drill, every: 1d, full: true}", "drill --full"),
        ("{run: drill, every: 1d, report: found/drill.md}", "drill --report found/drill.md"),
        ("{run: status, every: 1h}", "status --notify"),
    ],
)
def test_a_line_is_the_command_that_one_would_type(load_text: Load, line: str, arguments: str) -> None:
    (job,) = jobs(load_text(f"{STACK}schedule:\n  - {line}\n").settings.schedule, "docmind", "host-1")
    assert " ".join(job.arguments) == arguments


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{run: backup}", "it says no time"),
        ("{run: drill, every: 1d, report: drill.pdf}", "End its name in .json, .md or .html"),
        ("{run: verify, every: 1d, report: found.md}", "`report` has no meaning with `run: verify`"),
        ('{run: backup, cron: "0 2 * * *", every: 6h}', "`cron` and `every` are both given"),
        ('{run: backup, cron: "0 2 * *"}', "`schedule.0.cron` cannot be used: '0 2 * *' is not what cron takes"),
        ('{run: backup, cron: "0 0 30 2 *"}', "is not what cron takes (bad day-of-month)"),
        ("{run: backup, every: 6}", "'6' is no length of time"),
        ("{run: backup, every: 30s}", "shorter than a minute"),
        ("{run: backup, every: 99999w}", "longer than ten years"),
        ("{run: backup, every: 6h, jitter: 99999w999999d}", "longer than a month"),
        ("{run: backup, every: 6h, timezone: Europe/Berlin}", "`timezone` has no meaning with `every`"),
        ('{run: backup, cron: "0 2 * * *", timezone: Berlin}', "Did you mean 'Europe/Berlin'?"),
        ("{run: verify, every: 6h, sources: [db]}", "`sources` has no meaning with `run: verify`"),
        ("{run: backup, every: 6h, read_data_subset: 10%}", "`read_data_subset` has no meaning with `run: backup`"),
        ("{run: verify, every: 6h, read_data_subset: 10}", "'10' is no subset"),
        ("{run: copy, every: 6h}", "needs one repository that gets the sets"),
        ("{run: drill, every: 6h, full: true, sources: [db]}", "`full` is everything"),
        ("{run: restore, every: 6h}", "`schedule.0.run` is the text 'restore'"),
        (
            "{run: backup, every: 6h, sources: [chta]}",
            "names the source `chta`, which is not configured. Did you mean `chat`?",
        ),
        ("{run: prune, every: 6h, repository: offsite}", "names the repository `offsite`, which is not configured"),
    ],
)
def test_a_line_that_cannot_run_is_told_with_its_place(load_text: Load, line: str, said: str) -> None:
    told = mistake(load_text, line)
    assert said in told
    assert "recoup.yaml:8: `schedule.0" in told


def test_two_lines_of_one_name_are_told(load_text: Load) -> None:
    told = mistake(load_text, "{run: backup, every: 6h}", "{run: backup, every: 1d}")
    assert "recoup.yaml:9: `schedule.1` is called `backup`, as is `schedule.0`" in told
    assert "name" in told


def test_a_copy_goes_to_one_repository_but_a_backup_to_all(load_text: Load) -> None:
    (line,) = load_text(STACK + "schedule:\n  - {run: backup, every: 6h, to: [all]}\n").settings.schedule
    assert line.arguments == ("backup", "--to", "all")
    assert "names the repository `all`" in mistake(load_text, "{run: copy, every: 6h, to: [all]}")


def test_what_works_on_one_repository_says_on_which(load_text: Load) -> None:
    two = STACK.replace("{local: {path: backups}}", "{local: {path: backups}, vault: {path: vault}}")
    good = "schedule:\n  - {run: copy, every: 1d, repository: local, to: [vault]}\n"
    (line,) = load_text(two + good).settings.schedule
    assert line.arguments == ("copy", "--to", "vault", "--repository", "local")
    for verb in ("prune", "copy, to: [vault]"):
        with pytest.raises(ConfigError, match="does not say on which of the 2 repositories") as error:
            load_text(f"{two}schedule:\n  - {{every: 1d, run: {verb}}}\n")
        assert "Known: local, vault." in error.value.hint
    with pytest.raises(ConfigError, match="copies `vault` into itself"):
        load_text(two + good.replace("local, to", "vault, to"))
    assert "copies `local` into itself" in mistake(load_text, "{run: copy, every: 1d, to: [local]}")


def test_the_sample_is_a_right_schedule(load_text: Load) -> None:
    assert len(load_text(STACK + SAMPLE).settings.schedule) == 5


def test_a_jitter_is_that_of_the_host_the_stack_and_the_line(load_text: Load) -> None:
    lines = load_text(STACK + "schedule:\n  - {run: backup, every: 6h, jitter: 2w}\n").settings.schedule
    found = {jobs(lines, stack, host)[0].jitter for stack in ("a", "b") for host in ("x", "y")}
    assert len(found) == 4


def test_the_effective_schedule_has_a_line_and_a_place_for_each_job(load_text: Load) -> None:
    text = STACK + 'schedule:\n  - {run: backup, every: 1d}\n  - {run: prune, cron: "0 4 * * *"}\n'
    loaded = load_text(text)
    shown = effective(loaded)
    assert "schedule:\n  - {run: backup, every: 1d, jitter: 0s," in shown
    assert "# recoup.yaml:9" in next(line for line in shown.splitlines() if "{run: prune" in line)
    again = load_text(STACK + shown[shown.index("schedule:") : shown.index("watch:")])
    assert again.settings.schedule == loaded.settings.schedule


def test_what_init_writes_has_a_schedule_that_is_right_when_its_marks_are_taken_away(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letter.txt").write_text("Dear reader")
    text = render(discover(tmp_path, {}, 1), "shop")
    before, _, lines = text.partition("# schedule:\n")
    (tmp_path / "recoup.yaml").write_text(before + "schedule:\n" + lines.replace("#   - ", "  - "))
    assert len(load([], (), {}, tmp_path).settings.schedule) == 5
