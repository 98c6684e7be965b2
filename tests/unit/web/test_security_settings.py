"""What `web:` takes in the configuration, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from argon2 import PasswordHasher, Type
from hypothesis import given
from hypothesis import strategies as st

from recoup.config import explain
from recoup.config.loading import Loaded, load
from recoup.errors import ConfigError, UsageError
from recoup.web._hashing import LONGEST, fits, hashed
from web_access import PASSWORD, TOKEN, Access

HASH = hashed(PASSWORD["operator"])


def loaded(folder: Path, web: str, **environ: str) -> Loaded:
    (folder / "recoup.yaml").write_text(f"version: 1\nstack: shop\nweb: {web}\n")
    return load([], [], environ, folder)


def refused(folder: Path, web: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, web)
    return f"{caught.value.message} {caught.value.hint}"


def test_without_a_word_the_page_is_for_this_machine_alone(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "{}").settings.web
    assert (settings.bind, settings.hosts, settings.path) == ("127.0.0.1:8642", (), "")
    assert settings.restore_folder == Path("restored")
    assert settings.accounts() == {}


def test_secrets_come_from_files_and_programs_too_and_are_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN["operator"] + "\n")
    (tmp_path / "token").chmod(0o600)
    web = (
        "{operator: {token_file: token, password_hash_command: [echo, '"
        + HASH
        + "']}, reader: {token: '${READER_TOKEN}'}}"
    )
    found = loaded(tmp_path, web, READER_TOKEN=TOKEN["reader"])
    accounts = found.settings.web.accounts()
    assert list(accounts) == ["operator", "reader"]
    assert accounts["operator"].token is not None
    assert accounts["operator"].token.get_secret_value() == TOKEN["operator"]
    shown = explain.effective(found) + repr(found.settings)
    assert not [secret for secret in (*TOKEN.values(), HASH) if secret in shown]
    assert {*TOKEN.values(), HASH} <= found.secrets


def test_a_hash_in_the_environment_needs_no_file(tmp_path: Path) -> None:
    assert loaded(tmp_path, "{}", RECOUP__WEB__READER__PASSWORD_HASH=HASH).settings.web.reader.is_set


@pytest.mark.parametrize(
    "given_hash",
    [
        "hunter2hunter2",
        "$2b$12$abcdefghijklmnopqrstuuVW",
        HASH[:-30],
        HASH + "\n",
        HASH.replace("argon2id", "argon3"),
        "$argon2id$",
    ],
    ids=["clear", "bcrypt", "cut", "more", "other", "empty"],
)
def test_what_is_no_argon2_hash_is_refused_with_the_way_to_make_one_and_not_repeated(
    tmp_path: Path, given_hash: str
) -> None:
    told = refused(tmp_path, "{operator: {password_hash: " + repr(given_hash) + "}}")
    assert "is not an argon2 hash" in told
    assert "recoup web --hash-password" in told
    assert given_hash not in told


def test_hashes_of_other_programs_are_taken_when_a_sign_in_does_not_take_too_much(tmp_path: Path) -> None:
    usual = PasswordHasher(time_cost=1, memory_cost=64 * 1024).hash("some password")  # as large as RFC 9106 has it
    older = PasswordHasher(time_cost=1, memory_cost=1024, type=Type.I).hash("some password")
    for password_hash in (usual, older):
        assert loaded(tmp_path, "{reader: {password_hash: '" + password_hash + "'}}").settings.web.reader.is_set
        assert fits(password_hash, "some password")
    for costs in ("m=65537,t=2", "m=9999999,t=2", "m=19456,t=11"):
        told = refused(tmp_path, "{reader: {password_hash: '" + HASH.replace("m=19456,t=2", costs) + "'}}")
        assert "64 MiB or 10 passes" in told


@pytest.mark.parametrize(
    ("web", "told"),
    [
        ("{reader: {token: " + "t" * 31 + "}}", "shorter than 32 characters"),
        ("{reader: {token: '" + "t" * 31 + " t'}}", "a header cannot carry it"),
        ("{reader: {token: '" + "t" * 31 + "ü'}}", "a header cannot carry it"),
        ("{bind: 8642}", "HOST:PORT"),
        ("{bind: 'http://127.0.0.1:8642'}", "HOST:PORT"),
        ("{bind: '127.0.0.1:99999'}", "at most 65535"),
        ("{hosts: ['https://backup.example.org']}", "the name of a host"),
        ("{hosts: ['*.example.org']}", "the name of a host"),
        ("{path: recoup}", "a path such as"),
        ("{path: /recoup/}", "a path such as"),
        ("{path: /../x}", "a path such as"),
        ("{path: //evil.example}", "a path such as"),
        ("{restore_folder: ../elsewhere}", "a folder of its own"),
        ("{restore_folder: .}", "a folder of its own"),
        ("{operator: secret}", "a group of keys"),
        ("{operatr: {}}", "Did you mean `operator`"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_does(tmp_path: Path, web: str, told: str) -> None:
    assert told in refused(tmp_path, web)


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:1", "'[::1]:8642'", "localhost:0", "0.0.0.0:65535", "backup.example.org:80"]
)
def test_places_to_listen_at(tmp_path: Path, bind: str) -> None:
    assert loaded(tmp_path, "{bind: " + bind + "}").settings.web.bind == bind.strip("'")


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", "seven77", "p" * (LONGEST + 1)])
def test_a_password_that_is_too_short_or_too_long_is_not_hashed(password: str) -> None:
    with pytest.raises(UsageError) as caught:
        hashed(password)
    assert str(len(password)) in caught.value.message


@given(st.text(max_size=40))
def test_no_text_but_the_password_fits(text: str) -> None:
    assert fits(CHEAP, text) == (text == "the password")


CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("the password")


def test_a_hash_that_only_looks_like_one_lets_nobody_in() -> None:
    assert not fits("$argon2id$v=19$m=0,t=0,p=0$AAAAAAAAAAA$AAAAAAAAAAAAAAAA", "the password")
    assert not fits("nonsense", "the password")


def test_what_the_command_prints_is_what_the_configuration_takes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recoup", "web", "--hash-password"]
    given_words = "four random words here\n"
    done = subprocess.run(command, input=given_words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "four random" not in done.stdout + done.stderr
    page = Access(tmp_path, f"  operator: {{password_hash: '{done.stdout.strip()}'}}\n")
    with page.browser() as visitor:
        assert visitor.sign_in("operator", "four random words here").status_code == 303


def test_a_dry_run_refuses_what_a_start_would(tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: shop\n")
    command = [sys.executable, "-m", "recoup", "--dry-run", "web", "--bind", "0.0.0.0:8642"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no password and no token" in done.stderr


def test_a_secret_that_jobs_would_have_in_their_command_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: shop\n")
    secret = TOKEN["operator"]
    command = [sys.executable, "-m", "recoup", "--set", f"web.operator.token={secret}", "--dry-run", "web"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "would stand in a command line" in done.stderr
    assert secret not in done.stdout + done.stderr
