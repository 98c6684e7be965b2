import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recoup.errors import ExitCode, NoSpaceError, SourceError
from recoup.model.events import Event
from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding
from recoup.model.part import Part, StreamPart
from recoup.operations import backup
from recoup.repository._base import Subset
from recoup.repository.plain.repository import PlainRepository
from recoup.sources._base import MovedError, SourceOptions
from unit.operations.scripted import (
    Reading,
    ScriptedCapture,
    ScriptedSource,
    a_run,
    back_up,
    content,
    file,
    good,
    made_repository,
    stream,
    tree,
)


@pytest.fixture
def repository(tmp_path: Path) -> PlainRepository:
    return made_repository(tmp_path / "repository")


def intact(repository: PlainRepository) -> None:
    for name in repository.names():
        assert list(repository.verify(name, Subset())) == []


@pytest.mark.requirement("SR-15")
def test_all_sources_are_frozen_before_any_is_read(repository: PlainRepository) -> None:
    log: list[str] = []
    sources = {name: good() for name in ("a", "b", "c")}
    for source in sources.values():
        source.log = log
    report = back_up(repository, sources)
    assert report.exit_code == ExitCode.OK
    assert log.index("read") > max(i for i, word in enumerate(log) if word == "freeze")
    assert log.count("leave") == 3


@pytest.mark.requirement("DM-12")
def test_a_failing_source_leaves_the_others_stored_and_the_set_incomplete(repository: PlainRepository) -> None:
    news: list[Any] = []
    broken = ScriptedSource([SourceError("the disk has vanished", "Mount it.")])
    report = back_up(repository, {"good": good(), "bad": broken}, news.append)
    assert report.exit_code == ExitCode.INCOMPLETE
    assert report.manifest is not None
    assert report.manifest.outcome == "incomplete"
    assert report.manifest.sources["good"].outcome == "complete"
    assert report.manifest.sources["bad"].outcome == "failed"
    assert "vanished" in report.manifest.sources["bad"].error
    assert any(isinstance(n, Event) and n.name == "source_failed" for n in news)
    intact(repository)


@pytest.mark.requirement("DM-12")
def test_when_every_source_fails_nothing_is_stored_and_the_code_is_1(repository: PlainRepository) -> None:
    report = back_up(repository, {"bad": ScriptedSource([SourceError("gone")])})
    assert report.exit_code == ExitCode.FAILED
    assert report.manifest is None
    assert repository.names() == []


@pytest.mark.requirement("DM-12")
def test_a_source_that_breaks_half_way_leaves_none_of_its_bytes(repository: PlainRepository) -> None:
    def parts() -> Iterator[Part]:
        yield StreamPart("whole", content(b"first"))
        yield StreamPart("broken", content(lambda: Reading(b"x" * 3_000_000, OSError(errno.EIO, "Input/output error"))))

    report = back_up(repository, {"bad": ScriptedSource([ScriptedCapture(parts)]), "good": good()})
    assert report.manifest is not None
    assert report.manifest.sources["bad"].outcome == "failed"
    assert report.manifest.sources["bad"].parts == ()
    intact(repository)  # nothing extra lies in the set


def test_an_optional_source_that_is_not_there_is_absent_and_the_set_complete(repository: PlainRepository) -> None:
    optional = ScriptedSource([], is_there=False, options=SourceOptions(kind="scripted", optional=True))
    report = back_up(repository, {"env": optional, "good": good()})
    assert report.exit_code == ExitCode.OK
    assert report.manifest is not None
    assert report.manifest.sources["env"].outcome == "absent"


def test_only_absent_sources_are_no_backup(repository: PlainRepository) -> None:
    optional = ScriptedSource([], is_there=False, options=SourceOptions(kind="scripted", optional=True))
    assert back_up(repository, {"env": optional}).exit_code == ExitCode.FAILED
    assert repository.names() == []


@pytest.mark.parametrize(("allowed", "code"), [(False, ExitCode.FAILED), (True, ExitCode.OK)])
def test_a_source_that_yields_nothing_fails_unless_that_is_allowed(
    repository: PlainRepository, allowed: bool, code: ExitCode
) -> None:
    empty = ScriptedSource([ScriptedCapture(lambda: iter(()))])
    empty.options = SourceOptions(kind="scripted", allow_empty=allowed)
    assert back_up(repository, {"empty": empty}).exit_code == code


def test_a_file_that_changed_once_is_read_again_and_stored_right(repository: PlainRepository) -> None:
    changing = file("log", lambda: Reading(b"torn", changed=True), b"whole")
    report = back_up(repository, {"files": ScriptedSource([ScriptedCapture(tree(changing))])})
    assert report.exit_code == ExitCode.OK
    intact(repository)


def test_a_file_that_keeps_changing_is_stored_marked_and_makes_the_set_incomplete(repository: PlainRepository) -> None:
    changing = file("log", lambda: Reading(b"torn", changed=True))
    report = back_up(repository, {"files": ScriptedSource([ScriptedCapture(tree(changing))])})
    assert report.exit_code == ExitCode.INCOMPLETE
    assert report.manifest is not None
    assert [(f.what, f.item) for f in report.manifest.sources["files"].findings] == [("changed", "log")]
    intact(repository)


@pytest.mark.requirement("DM-12")
def test_unreadable_files_are_named_and_the_others_stored(repository: PlainRepository) -> None:
    broken = file("broken", lambda: Reading(b"", OSError(errno.EACCES, "Permission denied")))
    report = back_up(repository, {"files": ScriptedSource([ScriptedCapture(tree(broken, file("fine", b"fine")))])})
    assert report.exit_code == ExitCode.INCOMPLETE
    assert report.manifest is not None
    record = report.manifest.sources["files"]
    assert [(f.what, f.item) for f in record.findings] == [("unreadable", "broken")]
    assert record.bytes == 4
    intact(repository)


def test_harmless_findings_do_not_make_a_set_incomplete(repository: PlainRepository) -> None:
    capture = ScriptedCapture(stream(), noted=(Finding("skipped", "socket", "is a socket", harmless=True),))
    report = back_up(repository, {"files": ScriptedSource([capture])})
    assert report.exit_code == ExitCode.OK
    assert report.manifest is not None
    assert report.manifest.sources["files"].finding_count == 1


@pytest.mark.requirement("CI-6")
def test_facts_outside_the_bracket_are_taken_once_more_and_then_doubted(repository: PlainRepository) -> None:
    facts = Facts({"collection docs": {"points": 3}})
    doubtful = ScriptedCapture(stream(), shown=facts, seen=(Bracket("collection docs", "points", 5, 7),))
    source = ScriptedSource([doubtful])
    report = back_up(repository, {"vectors": source})
    assert source.log.count("freeze") == 2
    assert report.exit_code == ExitCode.INCOMPLETE
    assert report.manifest is not None
    assert report.manifest.outcome == "suspicious"
    assert report.manifest.sources["vectors"].outcome == "suspicious"
    assert "5 to 7" in report.manifest.sources["vectors"].error
    intact(repository)


def test_a_doubt_that_does_not_come_back_leaves_the_set_complete(repository: PlainRepository) -> None:
    facts = Facts({"collection docs": {"points": 3}})
    doubtful = ScriptedCapture(stream(), shown=facts, seen=(Bracket("collection docs", "points", 5, 7),))
    calm = replace(doubtful, seen=(Bracket("collection docs", "points", 2, 3),))
    report = back_up(repository, {"vectors": ScriptedSource([doubtful, calm])})
    assert report.exit_code == ExitCode.OK
    intact(repository)


def moving() -> Iterator[Part]:
    yield StreamPart("part", content(b"data"))
    raise MovedError("CURRENT moved")


@pytest.mark.requirement("DM-4")
def test_a_pointer_that_moved_makes_the_capture_start_again(repository: PlainRepository) -> None:
    source = ScriptedSource([ScriptedCapture(moving), ScriptedCapture(moving), ScriptedCapture(stream())])
    report = back_up(repository, {"storage": source})
    assert report.exit_code == ExitCode.OK
    assert source.log.count("freeze") == 3
    intact(repository)


@pytest.mark.requirement("DM-4", "DM-12")
def test_a_pointer_that_never_rests_fails_the_source(repository: PlainRepository) -> None:
    source = ScriptedSource([ScriptedCapture(moving)])
    report = back_up(repository, {"storage": source, "good": good()})
    assert report.exit_code == ExitCode.INCOMPLETE
    assert source.log.count("freeze") == 5
    intact(repository)


def test_too_little_space_is_said_before_anything_is_written(repository: PlainRepository, tmp_path: Path) -> None:
    source = good()
    source.size = 10**18
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NoSpaceError, match="insufficient disk space"):
        back_up(repository, {"big": source})
    assert sorted(tmp_path.rglob("*")) == before
    assert "freeze" not in source.log


def test_a_stop_while_freezing_leaves_every_capture_and_no_set(repository: PlainRepository, tmp_path: Path) -> None:
    entered = good()
    stopped = ScriptedSource([])
    stopped.captures = [KeyboardInterrupt()]  # type: ignore[list-item] # what Ctrl-C raises

    def interrupted() -> Any:
        raise KeyboardInterrupt

    stopped.capture = interrupted  # type: ignore[method-assign]
    plan = backup.plan({"a": entered, "b": stopped}, None, 1.1)
    with pytest.raises(KeyboardInterrupt):
        backup.run(plan, {"a": entered, "b": stopped}, repository, a_run())
    assert entered.log.count("freeze") == entered.log.count("leave") == 1
    assert repository.names() == []
    assert list((tmp_path / "repository" / ".partial").iterdir()) == []


@pytest.mark.requirement("DM-9")
def test_the_event_of_a_backup_has_the_promised_fields(repository: PlainRepository) -> None:
    news: list[Any] = []
    report = back_up(repository, {"a": good(b"12345")}, news.append)
    assert report.manifest is not None
    [event] = [n for n in news if isinstance(n, Event) and n.name == "backup_created"]
    assert set(event.fields) == {"path", "included", "bytes_written", "duration_ms"}
    assert event.fields["included"] == ["a"]
    assert event.fields["bytes_written"] == 5
    assert event.set == report.manifest.name
