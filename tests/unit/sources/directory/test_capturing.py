"""Capturing a directory: the service stands still meanwhile, and is up afterwards, or it was said that it is not."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recoup.errors import EmptySourceError, SourceError
from recoup.model.events import Event, Level, News
from recoup.model.part import TreePart
from recoup.operations.doctor import run
from recoup.sources._base import Site
from recoup.sources._service import ServiceError
from recoup.sources._service_watch import log_file
from recoup.sources.directory import DirectorySource, Options, connect
from recoup.system.clock import SystemClock
from services.standing import ToyService

Make = Callable[..., DirectorySource]


@pytest.fixture
def heard() -> list[Event]:
    """News of the source."""
    return []


@pytest.fixture
def make(service: ToyService, tmp_path: Path, heard: list[Event]) -> Make:
    """Makes the source, with further settings."""
    (tmp_path / "staging").mkdir(mode=0o700)

    def hear(news: News) -> None:
        if isinstance(news, Event):
            heard.append(news)

    def made(timeout: str = "20s", **settings: object) -> DirectorySource:
        options = Options.model_validate({**service.settings(timeout), **settings})
        return connect(options, Site("qdrant", tmp_path, tmp_path / "staging", SystemClock(), emit=hear))

    return made


def read(source: DirectorySource, during: Callable[[], object] = lambda: None) -> dict[str, bytes]:
    """The files of a capture; `during` is called when the first member was read."""
    found = {}
    with source.capture() as capture:
        for part in capture.parts():
            assert isinstance(part, TreePart)
            for member in part.members:
                during()
                if member.content:
                    with member.content.open() as reader:
                        found[member.name] = reader.read(1 << 20)
                        assert not reader.read(1)
                        assert not reader.changed
        found["findings"] = "\n".join(finding.message for finding in capture.findings()).encode()
    return found


def sentences(heard: list[Event], name: str) -> list[str]:
    return [event.message for event in heard if event.name == name]


@pytest.mark.requirement("SR-4")
def test_the_archive_holds_what_the_service_wrote_when_it_ended(make: Make, service: ToyService) -> None:
    seen = []
    found = read(make(), during=lambda: seen.append(service.is_up))
    assert not any(seen)
    assert found["journal"] == b"ended\n"
    assert found["collections/points"] == (service.data / "collections" / "points").read_bytes()
    assert found["findings"] == b""
    assert service.is_up
    assert service.calls()[-3:] == ["stop", "start", "serve"]


def test_commands_outputs_and_exit_codes_are_told(make: Make, heard: list[Event], state: Path) -> None:
    read(make())
    told = sentences(heard, "service_command")
    assert told == [
        "qdrant: `stop` ended with exit code 0: stop was asked for",
        "qdrant: `start` ended with exit code 0: start was asked for",
    ]
    assert "start was asked for" in log_file().read_text()
    assert log_file().stat().st_mode & 0o777 == 0o600
    assert log_file().parent == state


@pytest.mark.parametrize("way", ["url", "pid_file", "command"])
def test_every_way_to_see_the_service_works(make: Make, service: ToyService, way: str, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.write_text(f"#!/bin/sh\ntest -e {service.root}/pid\n")
    probe.chmod(0o700)
    given: dict[str, object] = {
        "url": f"http://127.0.0.1:{service.port}/readyz",
        "pid_file": str(service.root / "pid"),
        "command": [str(probe)],
    }
    found = read(make(wait={way: given[way], "timeout": "20s"}))
    assert found["journal"] == b"ended\n"
    service.await_up()


def test_a_stop_command_that_fails_captures_nothing_and_the_service_is_up(make: Make, service: ToyService) -> None:
    service.switch("refuse-stop")
    with pytest.raises(ServiceError, match=r"`stop` failed: .* ended with exit code 7: .*bad configuration"):
        read(make())
    assert service.is_up


def test_a_service_that_does_not_stop_is_not_read(make: Make, service: ToyService) -> None:
    service.switch("deaf")
    with pytest.raises(ServiceError, match=r"still running \(port \d+\)"):
        read(make(timeout="0.5s"))
    assert service.is_up


def test_a_service_that_does_not_start_is_told_loudly_and_what_was_read_stays(
    make: Make, service: ToyService, heard: list[Event], state: Path
) -> None:
    refusing = service.switch("refuse-start")
    source = make()
    found = read(source)
    assert found["journal"] == b"ended\n"
    assert b"the archive is whole, but the service is not up" in found["findings"]
    assert b"Start it by hand: " in found["findings"]
    [event] = [event for event in heard if event.name == "service_down"]
    assert event.level == Level.ERROR
    assert not service.is_up
    assert "does not start" in " ".join(source.recover())
    refusing.unlink()
    assert "is up" in " ".join(source.recover())
    service.await_up()
    assert not list(state.glob("service-*"))


def test_an_error_while_it_is_read_starts_the_service(make: Make, service: ToyService) -> None:
    with pytest.raises(ZeroDivisionError):
        read(make(), during=lambda: 1 // 0)
    assert service.is_up


def test_a_service_that_stands_still_for_too_long_is_started_and_nothing_counts(
    make: Make, service: ToyService
) -> None:
    with pytest.raises(ServiceError) as caught:
        read(make(freeze_timeout="0.3s"), during=service.await_up)
    assert "came back" in caught.value.message or "freeze_timeout" in caught.value.message
    assert service.is_up
    assert "its limit" in log_file().read_text()


def test_a_service_that_comes_back_by_itself_spoils_the_archive(make: Make, service: ToyService) -> None:
    service.switch("back")
    with pytest.raises(ServiceError, match="came back by itself"):
        read(make(), during=service.await_up)
    (service.root / "back").unlink()


def test_somebody_else_who_writes_into_the_directory_is_named(make: Make, service: ToyService) -> None:
    file = service.data / "second"
    script = "import sys,time; f = open(sys.argv[1], 'w'); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        writer.stdout.readline()
        with pytest.raises(ServiceError, match=rf"process {writer.pid} still writes to .*second"):
            read(make())
        writer.kill()
    assert service.is_up


def test_an_empty_directory_does_not_stop_the_service(make: Make, service: ToyService, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(EmptySourceError):
        read(make(path=str(tmp_path / "nothing")))
    assert "stop" not in service.calls()


# --- snapshots -------------------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> list[str]:
    path.write_text(f"#!/bin/sh\nset -e\n{text}\n")
    path.chmod(0o700)
    return [str(path)]


@pytest.fixture
def frozen(service: ToyService, tmp_path: Path) -> Iterator[dict[str, object]]:
    """Settings of a snapshot that commands make."""
    copy = tmp_path / "snapshot"
    yield {
        "snapshot": "btrfs",
        "freeze": script(tmp_path / "freeze", f"cp -a {service.data} {copy}"),
        "thaw": script(tmp_path / "thaw", f"rm -r {copy}"),
        "snapshot_path": str(copy),
    }
    assert not copy.exists()


def test_with_a_snapshot_the_service_is_up_while_the_copy_is_read(
    make: Make, service: ToyService, frozen: dict[str, object], heard: list[Event]
) -> None:
    seen = []
    source = make(**frozen)
    with source.capture() as capture:
        assert capture.method == "service stopped for a btrfs snapshot by `freeze`, read from that"
    found = read(source, during=lambda: seen.append(service.is_up))
    assert all(seen)
    assert found["journal"] == b"ended\n"
    assert any("`thaw` ended with exit code 0" in text for text in sentences(heard, "service_command"))


def test_a_snapshot_command_that_fails_leaves_the_service_up(
    make: Make, service: ToyService, frozen: dict[str, object], tmp_path: Path
) -> None:
    frozen["freeze"] = script(tmp_path / "freeze", f"mkdir {tmp_path / 'snapshot'}; echo no room >&2; exit 5")
    with pytest.raises(ServiceError, match=r"`freeze` failed: .*exit code 5: no room"):
        read(make(**frozen))
    assert service.is_up


def test_a_copy_that_is_not_where_it_should_be_is_no_empty_archive(
    make: Make, service: ToyService, frozen: dict[str, object], tmp_path: Path
) -> None:
    frozen["freeze"] = script(tmp_path / "freeze", "true")
    frozen["thaw"] = script(tmp_path / "thaw", "true")
    with pytest.raises(ServiceError, match="is not there"):
        read(make(**frozen))
    assert service.is_up


def test_a_thaw_that_fails_is_told_and_tried_again(
    make: Make, service: ToyService, frozen: dict[str, object], heard: list[Event], tmp_path: Path
) -> None:
    frozen["thaw"] = script(tmp_path / "thaw", f"test -e {tmp_path}/now && rm -r {tmp_path}/snapshot")
    source = make(**frozen)
    read(source)
    assert sentences(heard, "thaw_failed")
    (tmp_path / "now").touch()
    source.recover()
    assert not (tmp_path / "snapshot").exists()
    assert service.is_up


def test_reflinks_or_a_longer_stop_are_told(make: Make, service: ToyService, heard: list[Event]) -> None:
    source = make(snapshot="reflink")
    with source.capture() as capture:
        method = capture.method
        up = service.is_up
        [part] = capture.parts()
        assert isinstance(part, TreePart)
        assert "journal" in [member.name for member in part.members]
        said = [finding.message for finding in capture.findings()]
    if "no reflinks" in method:
        assert not up
        assert sentences(heard, "snapshot_impossible")
        assert said[0].startswith("no reflink copy")
    else:
        assert up
        assert said == []
    assert service.is_up
    assert not list(service.data.parent.glob("recoup-*"))


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wait": {"timeout": "5s"}}, "give one of"),
        ({"wait": {"port": 1, "url": "http://h"}}, "give one of"),
        ({"wait": {"url": "ftp://h"}}, "url"),
        ({"stop": []}, "stop"),
        ({"freeze_timeout": "soon"}, "freeze_timeout"),
        ({"snapshot": "zfs"}, "needs `freeze`"),
        ({"freeze": ["true"]}, "are for"),
    ],
)
def test_settings_that_make_no_sense_are_refused(service: ToyService, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Options.model_validate({**service.settings(), **changes})


def test_a_service_that_cannot_be_stopped_from_here_is_told_before_anything_happens(
    make: Make, service: ToyService
) -> None:
    with pytest.raises(SourceError, match=r"cannot be stopped from here: the program servicectl"):
        make(stop=["servicectl", "stop"]).check()
    assert service.calls() == ["start", "serve"]


def test_a_service_that_is_not_seen_is_told_by_doctor(make: Make, service: ToyService) -> None:
    [finding] = [one for one in run({"qdrant": make()}, {}, {}, ()).findings if one.subject == "source qdrant"]
    assert finding.severity == "ok"
    blind = make(wait={"port": 9, "timeout": "1s"})
    [finding] = [one for one in run({"qdrant": blind}, {}, {}, ()).findings if one.subject == "source qdrant"]
    assert finding.severity == "warning"
    assert "port 9" in finding.message
    assert "correct `wait`" in finding.hint


def test_another_machine_is_not_asked_without_permission(service: ToyService, tmp_path: Path) -> None:
    options = Options.model_validate({**service.settings(), "wait": {"url": "http://192.0.2.1/readyz"}})
    source = connect(options, Site("qdrant", tmp_path, tmp_path, SystemClock(), allow_remote=False))
    with pytest.raises(Exception, match="allow_remote"):
        source.check()


def test_the_watchdog_of_another_run_is_waited_for(make: Make, service: ToyService) -> None:
    found: list[bytes] = []
    other = threading.Thread(target=lambda: found.append(read(make())["journal"]))
    with make().capture() as capture:
        other.start()
        time.sleep(0.5)
        assert service.calls().count("stop") == 1
        [part] = capture.parts()
        assert isinstance(part, TreePart)
        assert list(part.members)
    other.join()
    assert found == [b"ended\n"]
    assert service.calls().count("stop") == 2
    assert service.is_up
