"""Programs as streams: their output, their end, their errors, and nothing left running."""

import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recoup.model.owner import Owner
from recoup.system.host import boot_id, is_dead, is_zombie, this_host
from recoup.system.programs import Program, ProgramFailedError, ended, output
from recoup.system.subprocesses import end_all


def test_what_a_program_prints_is_read_to_its_end() -> None:
    assert output(["printf", "%s", "all of it"]) == b"all of it"


def test_a_program_that_fails_after_it_printed_is_a_failure_with_its_last_words() -> None:
    with Program(["sh", "-c", "echo much; echo first >&2; echo last words >&2; exit 3"]) as program:
        assert program.read(100) == b"much\n"
        assert program.read(100) == b""
        with pytest.raises(ProgramFailedError, match="last words") as caught:
            program.finish()
    assert caught.value.code == 3
    assert "first" in caught.value.said


def test_a_program_that_is_not_there_is_said_by_name() -> None:
    with pytest.raises(ProgramFailedError, match="no-such-program cannot be started"):
        output(["/nowhere/no-such-program"])


def test_a_program_that_talks_on_stderr_without_end_takes_no_memory_and_does_not_block() -> None:
    with Program(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; echo done"]) as program:
        assert program.read(100) == b"done\n"
        program.finish()
        assert len(program.said) == 64 * 1024


def test_a_filter_takes_input_while_its_output_is_read() -> None:
    taken: list[bytes] = []
    with Program(["tr", "a-z", "A-Z"], feed=True) as program:
        reader = threading.Thread(target=lambda: taken.extend(iter(lambda: program.read(1 << 16), b"")))
        reader.start()
        for _ in range(100):
            program.write(b"abc" * 10_000)
        program.end_input()
        reader.join()
        program.finish()
    assert b"".join(taken) == b"ABC" * 1_000_000


def test_variables_are_set_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOUP_GOES", "yes")
    command = ["sh", "-c", 'echo "${RECOUP_COMES:-no} ${RECOUP_GOES:-no}"']
    assert output(command, environment={"RECOUP_COMES": "yes", "RECOUP_GOES": None}) == b"yes no\n"


def test_a_descriptor_is_inherited_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("word")
    descriptor = os.open(tmp_path / "secret", os.O_RDONLY)
    try:
        with Program(["cat", f"/dev/fd/{descriptor}"], descriptors=[descriptor]) as program:
            assert program.read(100) == b"word"
    finally:
        os.close(descriptor)


def test_leaving_ends_a_program_that_still_runs() -> None:
    with Program(["sleep", "600"]) as program:
        pid = program.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_ends_when_the_user_wants_to_stop() -> None:
    with Program(["sleep", "600"]) as program:
        end_all()
        with pytest.raises(ProgramFailedError) as caught:
            program.finish()
    assert caught.value.code == -signal.SIGKILL


def test_more_output_than_is_reasonable_is_refused() -> None:
    with pytest.raises(ProgramFailedError, match="more than 1,000 bytes"):
        output(["head", "-c", "5000", "/dev/zero"], limit=1000)


def test_a_program_that_leaves_others_behind_is_waited_for_alone() -> None:
    done = ended(["sh", "-c", "sleep 30 & echo $!; echo problem >&2; exit 4"], timeout=20.0)
    assert done.code == 4
    left, said = done.said.split()
    os.kill(int(left), signal.SIGKILL)
    assert said == "problem"


def test_a_program_that_takes_too_long_is_killed_with_all_that_it_started() -> None:
    with pytest.raises(ProgramFailedError, match=r"sh did not end within 0\.3 seconds") as caught:
        ended(["sh", "-c", "sleep 60 & echo $!; wait"], timeout=0.3)
    left = int(caught.value.said)
    until = time.monotonic() + 20
    while not _is_gone(left):
        assert time.monotonic() < until
        time.sleep(0.01)


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or is_zombie(pid)


def test_a_process_that_only_waits_for_its_parent_is_gone() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    until = time.monotonic() + 20
    while not is_zombie(pid):
        assert time.monotonic() < until
    assert is_dead(Owner(this_host().name, boot_id(), pid, "", datetime.now(UTC)))
    os.waitpid(pid, 0)
    assert not is_zombie(os.getpid())
