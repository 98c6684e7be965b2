import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, StorageError, WrongKeyError
from recoup.repository.sealing._base import Sealing, open_to_all, prove, seal_bytes
from recoup.repository.sealing.age import AgeSealing
from recoup.repository.sealing.gpg import GpgSealing
from sealing_keys import PASSPHRASE, STRETCHED, WAYS, age_key, exported_keys, private, sealing

BLOCK = os.urandom(1024 * 1024)


@pytest.fixture(params=WAYS)
def how(request: pytest.FixtureRequest, tmp_path: Path) -> Sealing:
    return sealing(request.param, tmp_path / "keys")


def chunks_of(data: bytes, size: int = 65_536) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def opened(how: Sealing, stored: bytes) -> bytes:
    return b"".join(how.opened(chunks_of(stored), "it"))


def agents() -> list[str]:
    """Command lines of living agents of ours; an ended one that nobody waited for has none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "gpg" in command and "recoup-gpg-" in command:
            found.append(command)
    return found


def homes() -> list[Path]:
    return [path for parent in ("/dev/shm", "/tmp") for path in Path(parent).glob(f"recoup-gpg-*-{os.getpid()}-*")]


def until(condition: Callable[[], bool]) -> bool:
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False


@given(st.lists(st.binary(max_size=200_000), max_size=5))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_age_gives_back_what_it_took_in_any_pieces(tmp_path: Path, pieces: list[bytes]) -> None:
    how = sealing("age", tmp_path / "keys")
    stored: list[bytes] = []
    seal = how.seal(stored.append)
    for piece in pieces:
        seal.write(piece)
    seal.finish()
    assert opened(how, b"".join(stored)) == b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_001])
def test_each_way_gives_back_what_it_took(how: Sealing, size: int) -> None:
    data = os.urandom(size)
    stored = seal_bytes(how, data)
    assert opened(how, stored) == data
    assert size < 100 or data[:64] not in stored


def test_two_sealings_of_equal_bytes_differ(how: Sealing) -> None:
    assert seal_bytes(how, b"the same") != seal_bytes(how, b"the same")


def test_whatever_is_cut_off_or_flipped_never_passes_for_something_else(how: Sealing) -> None:
    stored = seal_bytes(how, BLOCK)
    for damaged in (b"", stored[:1], stored[:30], stored[:100], stored[: len(stored) // 2], stored[:-1]):
        with pytest.raises(WrongKeyError):
            opened(how, damaged)
    refused = 0
    for position in (0, 2, 40, len(stored) // 2, len(stored) - 1):
        flipped = bytearray(stored)
        flipped[position] ^= 1
        try:
            assert opened(how, bytes(flipped)) == BLOCK  # a version's number, say, of which both are known
        except WrongKeyError:
            refused += 1
    assert refused >= 4


def test_damage_that_the_stored_bytes_tell_comes_before_the_word_of_the_program(how: Sealing) -> None:
    stored = seal_bytes(how, BLOCK)

    def checked() -> Iterator[bytes]:
        yield b"nonsense" + stored[8:]
        raise DamagedError("the SHA-256 differs")

    with pytest.raises(DamagedError, match="SHA-256"):
        list(how.opened(checked(), "it"))


def test_an_error_of_the_disk_comes_back_as_it_is(how: Sealing) -> None:
    def full(_data: bytes) -> None:
        raise OSError(28, "No space left on device")

    seal = how.seal(full)
    with pytest.raises(OSError, match="No space"):
        for _ in range(50):
            seal.write(BLOCK)
        seal.finish()
    seal.abort()


def test_an_abort_in_the_middle_and_a_reader_that_leaves_early_end_everything(how: Sealing) -> None:
    before = threading.active_count()
    seal = how.seal(lambda _: None)
    seal.write(BLOCK)
    seal.abort()
    seal.abort()
    reading = how.opened(chunks_of(seal_bytes(how, BLOCK * 8)), "it")
    assert next(reading)
    del reading
    assert until(lambda: threading.active_count() <= before + 1)  # the agent's stderr is listened to


def test_a_program_that_ends_too_early_is_a_failure_of_the_storing(tmp_path: Path) -> None:
    how = sealing("gpg-passphrase", tmp_path / "keys")
    seal = how.seal(lambda _: None)
    os.kill(seal._program.pid, 9)  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="gpg"):
        for _ in range(50):
            seal.write(BLOCK)
        seal.finish()
    seal.abort()


def test_a_probe_comes_back_and_a_host_that_only_seals_says_so(tmp_path: Path, how: Sealing) -> None:
    assert prove(how)
    for way in ("age", "gpg-recipient"):
        assert not prove(sealing(way, tmp_path / "public", can_open=False))


def test_keys_that_do_not_fit_together_are_found_by_the_probe(tmp_path: Path) -> None:
    _, other = age_key(tmp_path, "other")
    public, _ = age_key(tmp_path)
    with pytest.raises(WrongKeyError, match="No matching keys"):
        prove(AgeSealing((public,), other))
    mine, theirs = exported_keys(), exported_keys("somebody")
    files = private(tmp_path / "public", mine[0]), private(tmp_path / "secret", theirs[1])
    with pytest.raises(WrongKeyError, match="secret key"):
        prove(GpgSealing(None, (files[0],), files[1]))


def test_each_of_several_recipients_opens_it(tmp_path: Path) -> None:
    keys = [age_key(tmp_path, name) for name in ("one", "two")]
    listed = private(tmp_path / "recipients", f"# both\n{keys[1][0]}\n")
    both = AgeSealing((keys[0][0], str(listed)))
    assert both.recipients == (keys[0][0], keys[1][0])
    stored = seal_bytes(both, b"for both")
    for _, identity in keys:
        assert opened(replace(both, identity_file=identity), stored) == b"for both"
    files = [
        [private(tmp_path / f"{user}.{kind}", data) for kind, data in zip("ps", exported_keys(user), strict=True)]
        for user in ("backup", "somebody")
    ]
    two = GpgSealing(None, (files[0][0], files[1][0]))
    assert len(two.recipients) == 2
    sealed = seal_bytes(two, b"for both")
    for _, secret in files:
        assert opened(replace(two, identity_file=secret), sealed) == b"for both"


def test_ssh_keys_are_keys_of_age(tmp_path: Path) -> None:
    key = tmp_path / "key"
    made = subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("ssh-keygen is not installed")
    assert prove(AgeSealing((key.with_suffix(".pub").read_text().strip(),), key))


@pytest.mark.parametrize(
    ("name", "content"),
    [("missing", None), ("empty", b""), ("comments", b"# nothing\n"), ("binary", b"\xff\xfe\0"), ("other", b"hello\n")],
)
def test_key_files_that_are_none_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    public, _ = age_key(tmp_path)
    for attempt in (
        lambda: seal_bytes(AgeSealing((str(path),)), b"x"),
        lambda: prove(AgeSealing((public,), path)),
        lambda: seal_bytes(GpgSealing(None, (path,)), b"x"),
        lambda: prove(GpgSealing(None, (private(tmp_path / "p", exported_keys()[0]),), path)),
    ):
        with pytest.raises((WrongKeyError, StorageError)) as caught:
            attempt()
        assert caught.value.message
        assert name in caught.value.message or "hello" in caught.value.message or "age" in caught.value.message


def test_a_passphrase_is_the_first_line_of_its_file_as_for_gpg_itself(tmp_path: Path) -> None:
    stored = seal_bytes(GpgSealing(private(tmp_path / "unix", "one word\n"), stretched=STRETCHED), b"x")
    for text in ("one word", "one word\r\n", "one word\nmore\n"):
        assert opened(GpgSealing(private(tmp_path / "other", text)), stored) == b"x"
    for text in ("", "\nsecond\n", "x" * 256):
        with pytest.raises(WrongKeyError):
            seal_bytes(GpgSealing(private(tmp_path / "none", text)), b"x")


def test_a_missing_gpg_is_named_with_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = sealing("gpg-passphrase", tmp_path / "keys")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecoupError, match="gpg is not installed") as caught:
        prove(how)
    assert "apt install gnupg" in caught.value.hint


def test_secret_files_that_everybody_can_read_are_told(tmp_path: Path, how: Sealing) -> None:
    assert open_to_all(how.secret_files) == ()
    for path in how.secret_files:
        path.chmod(0o644)
    assert len(open_to_all(how.secret_files)) == len(how.secret_files) == 1
    assert "chmod 600" in open_to_all(how.secret_files)[0]


def test_the_home_of_gpg_is_private_and_gone_with_the_agent(tmp_path: Path) -> None:
    before = set(homes())
    how = sealing("gpg-recipient", tmp_path / "keys")
    assert prove(how)
    made = set(homes()) - before
    assert made
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}
    assert [line for line in agents() if any(str(path) in line for path in made)]
    del how
    gc.collect()
    assert not made & set(homes())
    assert until(lambda: not [line for line in agents() if any(str(path) in line for path in made)])


def test_after_a_kill_no_agent_stays_and_the_next_run_removes_the_home(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    sealing("gpg-recipient", folder)
    program = (
        "import os, pathlib, signal\n"
        "from recoup.repository.sealing._base import prove\n"
        "from recoup.repository.sealing.gpg import GpgSealing\n"
        f"k = pathlib.Path({str(folder)!r})\n"
        "how = GpgSealing(None, (k / 'public',), k / 'secret')\n"
        "assert prove(how)\n"
        "print(how._opening_home.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    home = Path(done.stdout.strip())
    assert home.is_dir()
    assert until(lambda: not [line for line in agents() if str(home) in line])
    assert prove(sealing("gpg-passphrase", tmp_path / "more"))
    assert not home.exists()


def test_no_secret_is_in_the_arguments_or_the_environment_of_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, secret = exported_keys("careful", "sesame-97")
    log, folder = tmp_path / "log", tmp_path / "bin"
    folder.mkdir()
    for name in ("gpg", "gpg-agent"):
        script = folder / name
        script.write_text(
            f'#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ >> {log}\nexec {shutil.which(name)} "$@"\n'
        )
        script.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert prove(sealing("gpg-passphrase", tmp_path / "keys"))
    files = private(tmp_path / "public", public), private(tmp_path / "secret", secret)
    its_own = GpgSealing(private(tmp_path / "passphrase", "sesame-97\n"), (files[0],), files[1])
    assert prove(its_own)
    with pytest.raises(WrongKeyError):
        prove(replace(its_own, passphrase_file=private(tmp_path / "wrong", "another\n")))
    seen = log.read_bytes()
    for option in (b"--symmetric", b"--decrypt", b"--import", b"--daemon"):
        assert option in seen
    assert PASSPHRASE.encode() not in seen
    assert b"sesame-97" not in seen


def test_memory_stays_bounded_however_much_passes(how: Sealing) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stored = 0

    def take(data: bytes) -> None:
        nonlocal stored
        stored += len(data)

    seal = how.seal(take)
    for _ in range(150):
        seal.write(BLOCK)
    seal.finish()
    assert stored > 150 * len(BLOCK)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024
