"""A stack that is watched: runs are remembered, what shrinks is suspicious, and status knows of both."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import recoup
from recoup.errors import ConfigError, ExitCode, RecoupError, RefusedError
from recoup.model.events import Event
from recoup.model.reports import StatusReport
from recoup.repository._base import Subset
from recoup.system.clock import SystemClock
from recoup.system.runs import runs
from recoup.system.statefile import remembered, state_path
from unit.app.small_application import SOURCES, made

CONFIG = (
    SOURCES
    + """\
  near: {path: near, keep: {last: 2}}
  far: {path: far, keep: {last: 3}}
"""
)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Calendar(SystemClock):
    """A clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made(tmp_path, CONFIG)


Opened = Callable[..., recoup.Stack]


@pytest.fixture
def news() -> list[Any]:
    return []


@pytest.fixture
def opened(root: Path, calendar: Calendar, news: list[Any]) -> Opened:
    def make(repository: str | None = None) -> recoup.Stack:
        place = root / "recoup.yaml"
        return recoup.open(place, environ={}, cwd=root, repository=repository, emit=news.append, clock=calendar)

    make().create_repositories()
    return make


def keys(found: StatusReport) -> list[str]:
    return [problem.key for problem in found.problems]


def told(news: list[Any], name: str) -> list[Event]:
    return [event for event in news if isinstance(event, Event) and event.name == name]


def adds(root: Path, text: str) -> None:
    (root / "recoup.yaml").write_text(CONFIG + text)


# --- runs -----------------------------------------------------------------------------------------------------------


def test_what_became_of_each_verb_is_remembered(opened: Opened) -> None:
    opened().backup(prune=True)
    opened().backup(sources=["chat"], to=["far"])
    opened("near").verify()
    opened("near").drill()
    opened().copy(to="far", origin="near")
    found = [(run.verb, run.sources, run.repository, run.exit_code) for run in reversed(runs("small"))]
    assert found == [
        ("prune", (), "near", 0),
        ("prune", (), "far", 0),
        ("backup", (), "near, far", 0),
        ("backup", ("chat",), "far", 0),
        ("verify", (), "near", 0),
        ("drill", (), "near", 0),
        ("copy", (), "far", 0),
    ]


@pytest.mark.requirement("CI-8", "CI-9")
def test_a_run_that_left_no_set_shows_in_status_until_one_goes_well(opened: Opened, root: Path) -> None:
    opened().backup()
    shutil.move(root / "data", root / "hidden")
    assert opened().backup().exit_code == ExitCode.FAILED
    found = opened().status()
    assert keys(found) == ["failed-backup:near, far:"]
    assert "uploads" in found.problems[0].sentence
    shutil.move(root / "hidden", root / "data")
    opened().backup()
    assert keys(opened().status()) == []


def test_a_run_that_an_error_ends_is_remembered(opened: Opened, root: Path) -> None:
    shutil.rmtree(root / "near")
    with pytest.raises(RecoupError):
        opened("near").backup()
    [run] = runs("small")
    assert (run.verb, run.repository, run.exit_code) == ("backup", "near", ExitCode.NO_REPOSITORY)
    assert "near" in run.sentence


def test_one_sound_set_says_nothing_of_the_others_and_one_damaged_does(opened: Opened, root: Path) -> None:
    opened("near").backup()
    opened("near").verify("latest")
    assert [run.verb for run in runs("small")] == ["backup"]
    [stored] = (root / "near").glob("backup_*/chat/*")
    stored.write_bytes(b"harmed")
    opened("near").verify("latest")
    assert next((run.verb, run.exit_code) for run in runs("small")) == ("verify", ExitCode.DAMAGED)
    [problem] = opened("near").status().problems
    assert (problem.key, problem.level) == ("failed-verify:near:", "critical")


def test_a_drill_that_failed_is_remembered_with_what_did_not_restore(opened: Opened, root: Path) -> None:
    opened("near").backup()
    [stored] = (root / "near").glob("backup_*/chat/*")
    stored.write_bytes(b"harmed")
    assert not opened("near").drill().passed
    assert runs("small")[0].sentence == "chat did not restore as it was"


def test_a_part_of_the_bytes_that_is_sound_does_not_end_the_damage_in_the_rest(
    opened: Opened, root: Path, calendar: Calendar
) -> None:
    opened("near").backup()
    [stored] = (root / "near").glob("backup_*/chat/*")
    sound = stored.read_bytes()
    stored.write_bytes(sound.replace(b"h", b"j"))
    assert any(report.damage for report in opened("near").verify())
    subsets = (Subset(share=0.01, begin=n / 99) for n in range(99))
    assert any(not any(one.damage for one in opened("near").verify(subset=subset)) for subset in subsets)
    assert runs("small")[0].exit_code == ExitCode.OK
    assert keys(opened("near").status()) == ["failed-verify:near:"]
    stored.write_bytes(sound)
    calendar.at += timedelta(minutes=1)
    opened("near").verify()
    assert keys(opened("near").status()) == []


def test_a_memory_that_cannot_be_written_is_one_warning_and_the_backup_is_good(opened: Opened, news: list[Any]) -> None:
    state_path("small").parent.parent.mkdir(parents=True)
    state_path("small").parent.write_text("no folder")
    assert opened().backup().exit_code == ExitCode.OK
    [event] = told(news, "run_not_remembered")
    assert event.level.name == "WARNING"
    assert keys(opened().status()) == ["memory"]


def test_an_account_without_a_home_can_back_up(
    opened: Opened, news: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As containers give any number to whoever runs in them."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert opened().backup().exit_code == ExitCode.OK
    assert "no home" in told(news, "run_not_remembered")[0].message
    assert "XDG_STATE_HOME" in opened().status().problems[0].sentence
    assert [one.severity for one in opened().doctor().findings if one.subject == "memory"] == ["warning"]


def test_without_a_configuration_nothing_is_remembered(opened: Opened, root: Path) -> None:
    opened("near").backup()
    before = runs("small")
    (root / "recoup.yaml").unlink()
    stack = recoup.open(environ={}, cwd=root, repository=str(root / "near"))
    stack.drill()
    assert runs("small") == before
    assert not state_path("unnamed").exists()
    assert stack.status().exit_code == ExitCode.OK


# --- status ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SR-12", "CO-16")
def test_each_source_has_its_own_limit(opened: Opened, root: Path, calendar: Calendar) -> None:
    adds(root, "watch: {max_age: 12h, sources: {chat: {max_age: 2d}}}\n")
    opened().backup()
    assert keys(opened().status()) == []
    calendar.at += timedelta(hours=13)
    assert keys(opened("near").status()) == ["too-old:near:uploads"]
    calendar.at += timedelta(hours=36)
    assert set(keys(opened("near").status())) == {"too-old:near:uploads", "too-old:near:chat"}


@pytest.mark.parametrize(
    ("watch", "limits"), [("", {1, 8.75}), ("watch: {max_age: 24h}", {1}), ("watch: {max_age: 3d}", {3})]
)
def test_a_source_of_each_week_is_not_too_old_on_the_second_day_unless_somebody_says_so(
    opened: Opened, root: Path, watch: str, limits: set[float]
) -> None:
    lines = [
        '{run: backup, sources: [chat], cron: "0 2 * * *"}',
        '{run: backup, sources: [uploads], cron: "0 4 * * 0"}',
    ]
    adds(root, "schedule:\n" + "".join(f"  - {line}\n" for line in lines) + f"{watch}\n")
    opened().backup()
    found = {row.max_age_seconds for row in opened().status().rows}
    assert found == {days * 86400 for days in limits}


def test_an_unknown_source_in_watch_is_refused_by_name(opened: Opened, root: Path) -> None:
    adds(root, "watch: {sources: {chta: {max_age: 2d}}}\n")
    with pytest.raises(ConfigError, match="chta"):
        opened()


@pytest.mark.requirement("CI-8")
def test_a_schedule_that_nothing_runs_is_told_and_its_lines_say_how_old_a_verify_may_become(
    opened: Opened, root: Path, calendar: Calendar
) -> None:
    adds(root, 'schedule:\n  - {run: backup, cron: "0 2 * * *", timezone: UTC}\n  - {run: verify, every: 1d}\n')
    opened("near").backup()
    found = opened("near").status()
    assert keys(found) == ["schedule-stopped"]
    assert {row.next_due for row in found.rows} == {datetime(2026, 11, 22, 2, tzinfo=UTC)}
    calendar.at += timedelta(days=2, hours=1)
    opened("near").backup()
    assert keys(opened("near").status()) == ["schedule-stopped", "old-verify"]
    opened("near").verify()
    assert keys(opened("near").status()) == ["schedule-stopped"]


@pytest.mark.requirement("SR-12", "CO-17")
def test_what_the_schedule_brings_into_another_repository_alone_is_missed_in_none_that_it_brings_other_things_to(
    opened: Opened, root: Path
) -> None:
    lines = "schedule:\n  - {run: backup, to: [near], every: 1d}\n"
    adds(root, lines)
    opened().backup(sources=["chat"], to=["far"])
    opened().backup(to=["near"])
    assert "never:far:uploads" in keys(opened().status()), "a repository without a line may have been forgotten"
    adds(root, lines + "  - {run: backup, name: away, sources: [chat], to: [far], every: 1d}\n")
    found = opened().status()
    assert keys(found) == ["schedule-stopped"]
    assert [row.repository for row in found.rows if row.next_due is None and row.source == "uploads"] == ["far"]
    adds(root, lines.replace("[near]", "[far], sources: [chat]"))
    shutil.rmtree(root / "far")
    opened().create_repositories()
    assert "never:far:chat" in keys(opened().status())


@pytest.mark.requirement("CI-9")
def test_where_prune_runs_only_what_really_grows_fills_the_disk(opened: Opened, root: Path, calendar: Calendar) -> None:
    for _ in range(4):
        calendar.at += timedelta(days=1)
        opened("far").backup(prune=True)
        opened("near").backup()
    near, far = opened().status().repositories
    assert far.growth_bytes == pytest.approx(0)
    assert far.days_until_full is None
    assert near.growth_bytes
    assert near.days_until_full


def test_a_folder_that_may_not_be_read_is_told_as_any_repository_that_cannot_be(opened: Opened, root: Path) -> None:
    opened().backup()
    shutil.rmtree(root / "near")
    (root / "near").write_text("a file")
    found = opened().status()
    assert keys(found)[0] == "unreadable:near"
    assert found.repositories[0].failure


# --- shrink gate ----------------------------------------------------------------------------------------------------


def test_each_repository_compares_with_its_own_history_and_each_source_has_its_own_share(
    opened: Opened, root: Path, news: list[Any]
) -> None:
    adds(root, "watch: {sources: {uploads: {shrink: 0.05}}}\n")
    opened().backup(to=["near"])
    (root / "data/chat.db").write_text("hi")
    (root / "data/uploads/note").write_text("note " * 10)
    report = opened().backup()
    assert [(copy.repository, copy.outcome) for copy in report.repositories] == [
        ("near", "suspicious"),
        ("far", "complete"),
    ]
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [event.fields["source"] for event in told(news, "item_suspicious")] == ["chat"]
    assert keys(opened().status()) == ["doubtful:near:chat"]
    name = opened("near").accept("latest")
    assert keys(opened().status()) == []
    assert opened("near").show("latest-complete").name == name


# --- room at once ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CI-9")
def test_when_the_disk_is_full_the_oldest_go_and_the_newest_good_ones_and_pinned_ones_never(
    root: Path, calendar: Calendar
) -> None:
    (root / "recoup.yaml").write_text(CONFIG.replace("path: near, keep: {last: 2}", f"url: memory://{root.name}"))
    stack = recoup.open(root / "recoup.yaml", environ={}, cwd=root, repository="near", clock=calendar)
    stack.create_repositories()
    for _ in range(5):
        calendar.at += timedelta(days=1)
        stack.backup()
    names = [info.name for info in stack.sets()]
    size = stack.plan_prune().rows[0].bytes
    stack.pin(names[1])
    plan = stack.plan_prune(free=size + 1)
    assert [row.set for row in plan.removed] == [names[0], names[2]]
    assert "space is needed" in plan.removed[0].reasons
    done = stack.prune(plan)
    assert done.removed == (names[0], names[2])
    assert done.exit_code == ExitCode.OK
    with pytest.raises(RefusedError, match="cannot be freed"):
        stack.prune(stack.plan_prune(free=2 * size))
    assert [info.name for info in stack.sets()] == [names[1], *names[3:]]
    assert runs("small")[0].verb == "prune"


def test_what_no_rule_keeps_goes_first_and_no_more_than_is_needed(opened: Opened, calendar: Calendar) -> None:
    near = opened("near")
    for _ in range(4):
        calendar.at += timedelta(days=1)
        near.backup()
    plan = near.plan_prune(free=1)
    assert [(row.keep, row.reasons) for row in plan.rows][:2] == [
        (False, ("no rule keeps it",)),
        (True, ("not needed for the space",)),
    ]


def test_what_goes_to_make_room_does_not_wait_in_the_trash(opened: Opened, root: Path, calendar: Calendar) -> None:
    (root / "recoup.yaml").write_text(CONFIG.replace("keep: {last: 2}", "keep: {last: 2}, trash_days: 7"))
    near = opened("near")
    for _ in range(4):
        calendar.at += timedelta(days=1)
        near.backup()
    near.delete(near.plan_delete(["oldest"]))
    plan = near.plan_prune(free=1)
    assert any("the trash is emptied" in note for note in plan.notes)
    near.prune(plan)
    assert near.repository.trashed() == []
    assert len(near.sets()) == 3  # what the trash held was enough


def test_less_room_than_was_asked_for_is_no_success(opened: Opened) -> None:
    from recoup.model.reports import PruneReport

    assert PruneReport(("a",), (), 100, 0.0, 100, None).exit_code == ExitCode.OK
    assert PruneReport(("a",), (), 100, 0.0, 100, 99).exit_code == ExitCode.INCOMPLETE
    assert PruneReport(("a",), (), 100, 0.0).exit_code == ExitCode.OK


def test_a_damaged_memory_is_put_aside_and_told_by_nobody_as_a_failure(opened: Opened) -> None:
    opened().backup()
    state_path("small").write_bytes(b"no database" * 1000)
    opened().backup()
    assert [run.verb for run in runs("small")] == ["backup"]
    assert state_path("small").with_suffix(".db.damaged").exists()
    with remembered("small", ""):
        pass


def test_a_look_has_what_the_status_is_made_of_and_what_the_rules_say_of_each_set(
    opened: Opened, calendar: Calendar
) -> None:
    for days in range(4):
        calendar.at = NOW + timedelta(days=days)
        opened().backup(prune=False)
    stack = opened()
    found = stack.look()
    assert found.report == stack.status()
    assert {state.repository: len(state.infos) for state in found.states} == {"near": 4, "far": 4}
    verdicts = stack.verdicts(found)
    for name in ("near", "far"):
        planned = {(name, row.set): (row.keep, row.reasons) for row in stack.only(name).plan_prune().rows}
        assert {key: (one.keep, one.reasons) for key, one in verdicts.items() if key[0] == name} == planned
    assert sum(not verdict.keep for verdict in verdicts.values()) == 2 + 1


def test_where_no_repository_can_be_read_a_look_says_so_and_status_fails(opened: Opened, root: Path) -> None:
    opened().backup()
    shutil.rmtree(root / "near")
    shutil.rmtree(root / "far")
    found = opened().look()
    assert {"unreadable:near", "unreadable:far"} <= {*keys(found.report)}
    assert all(state.failure is not None for state in found.states)
    assert opened().verdicts(found) == {}
    with pytest.raises(RecoupError):
        opened().status()
