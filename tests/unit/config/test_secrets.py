import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from recoup.config import _secrets, _yaml
from recoup.config._tree import Origin, plain
from recoup.config.loading import Loaded
from recoup.errors import ConfigError
from recoup.model.secrets import Masker
from recoup.sources._base import SourceOptions

Load = Callable[..., Loaded]


class GuardedOptions(SourceOptions):
    """The options of a source with secrets."""

    url: str = Field(description="Where.")
    password: SecretStr = Field(description="The password.")
    api_key: SecretStr | None = Field(None, description="The key.")


def resolve(text: str, base: Path) -> _secrets.Resolved:
    node = _yaml.parse(text, Origin("file", "recoup.yaml"))
    return _secrets.resolve(GuardedOptions, node, base, ("sources", "guarded"))


def test_the_secret_fields_of_a_plug_are_found_by_their_type() -> None:
    assert _secrets.secret_fields(GuardedOptions) == ("password", "api_key")


def test_a_secret_can_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o600)
    resolved = resolve("password_file: secret", tmp_path)
    assert (plain(resolved.node), resolved.secrets, resolved.warnings) == ({"password": "hunter2"}, ("hunter2",), ())


def test_a_secret_that_everyone_can_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "secret").chmod(0o644)
    (warning,) = resolve("password_file: secret", tmp_path).warnings
    assert "chmod 600" in warning
    assert "hunter2" not in warning


@pytest.mark.parametrize(
    "spelling", ["[{python}, -c, 'print(\"hunter2 x\")']", '"{python} -c \'print(\\"hunter2 x\\")\'"']
)
def test_a_secret_can_come_from_a_program_as_list_or_as_words(tmp_path: Path, spelling: str) -> None:
    resolved = resolve("api_key_command: " + spelling.format(python=sys.executable), tmp_path)
    assert resolved.secrets == ("hunter2 x",)


def test_no_shell_is_involved(tmp_path: Path) -> None:
    resolve("password_command: echo $(touch made); touch made", tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.requirement("DM-11")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("password_file: missing", "cannot be read"),
        ("password_file: .", "cannot be read"),
        ("password_file: 7", "not the path of a file"),
        ("password_file: empty", "holds no secret"),
        ("password_file: large", "larger than 64 KiB"),
        ("password_file: bytes", "not UTF-8"),
        ("password_command: no-such-program-anywhere", "cannot be started"),
        (
            'password_command: [{python}, -c, \'import sys; print("hunter2"); sys.exit("hunter2")\']',
            "failed \\(exit 1\\)",
        ),
        ("password_command: [{python}, -c, '']", "holds no secret"),
        ("password_command: []", "is not a command"),
        ("password_command: {{a: b}}", "is not a command"),
        ('password_command: "a \'b"', "a quote is not closed"),
        (
            "password_command: [{python}, -c, 'import sys; sys.stdout.buffer.write(b\"\\xff\")']",
            "something else than UTF-8",
        ),
        ("{{password: a, password_file: b}}", "are both given"),
        ("{{password_command: a, password_file: b}}", "are both given"),
    ],
)
def test_a_secret_that_cannot_be_fetched_is_an_error_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_text("hunter2" * 20_000)
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=problem) as caught:
        resolve(text.format(python=sys.executable), tmp_path)
    assert caught.value.message.startswith("recoup.yaml:1: `sources.guarded.password_")
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DB_PASSWORD", "x", True),
        ("dbPassword", "12345", True),
        ("HF_TOKEN", "hf_abc", True),
        ("OPENAI_API_KEY", "sk-1", True),
        ("APIKEY", "x", True),
        ("QDRANT__SERVICE__API_KEY", "x", True),
        ("PASSWORD", "true", False),
        ("USE_TOKEN", "true", False),
        ("MAX_TOKEN", "4096", False),
        ("MAX_TOKENS", "many", False),
        ("KEYBOARD", "us", False),
        ("MONKEY", "x", False),
        ("PATH", "/usr/bin", False),
    ],
)
def test_which_names_sound_secret(name: str, value: str, secret: bool) -> None:
    assert _secrets.sounds_secret(name, value) is secret


def test_the_secrets_in_a_url_are_found_as_written_and_decoded() -> None:
    assert set(_secrets.in_url("postgresql://me:p%40ss@host/db?sslmode=on&api_key=abc&x=y")) == {
        "p%40ss",
        "p@ss",
        "abc",
    }
    assert set(_secrets.in_url("https://host/path")) == set()
    assert set(_secrets.in_url("http://[broken")) == set()


@pytest.mark.requirement("DM-11")
def test_secrets_of_every_place_are_known_for_masking(tmp_path: Path, load_text: Load) -> None:
    (tmp_path / ".env").write_text(
        "UNNAMED_TOKEN=planted-unnamed\nNAMED=planted-named\nDB=postgres://u:planted-url@h/db\nDATA_DIR=harmless\nDEBUG=true\n"
    )
    loaded = load_text(
        "repositories: {local: {path: '${DATA_DIR}/x', keep: {tags: ['${NAMED}', '${DB}', '${FROM_ENV}', 'a=${DEBUG}']}}}\n",
        {"FROM_ENV": "planted-environment", "PASSWORD": "not-named-by-us"},
    )
    assert {"planted-unnamed", "planted-named", "planted-url", "planted-environment"} <= loaded.secrets
    assert not {"harmless", "true", "not-named-by-us", ""} & loaded.secrets


@pytest.mark.requirement("DM-11")
@pytest.mark.parametrize(
    "text",
    [
        "staging: {a: '${TOKEN}'}\n",
        "repositories: {local: {path: a, pack: '${TOKEN}'}}\n",
        "repositories: {local: {path: a, time_zone: '${TOKEN}'}}\n",
        "repositories: {'${TOKEN}': 1}\n",
        "repositories: {local: {url: 'http://u:planted@h'}}\n",
        "repositories: {local: {url: 'planted://u:planted@h', password: planted}}\n",
        "sources: {a: {kind: '${TOKEN}'}}\n",
        "sources: {a: {kind: sqlite, path: a, password: planted}}\n",
        "sources: {a: {kind: sqlite, path: a, busy_timeout: '${TOKEN}'}}\n",
        "sources: '${TOKEN}'\n",
        "password: planted\n",
        "'password: planted'\n",
        "a: {token: planted, b: ${NOWHERE}}\n",
        "env_file: ${TOKEN}\n",
    ],
)
def test_no_error_repeats_a_secret(tmp_path: Path, load_text: Load, text: str) -> None:
    (tmp_path / ".env").write_text("TOKEN=planted\n")
    with pytest.raises(ConfigError) as caught:
        load_text(text, {"TOKEN": "planted"})
    assert "planted" not in caught.value.message + caught.value.hint


@pytest.mark.requirement("DM-11")
def test_no_error_repeats_a_secret_from_the_environment_or_an_override(load_text: Load) -> None:
    for environ, overrides in (
        ({"RECOUP__PASSWORD": "planted"}, []),
        ({"RECOUP__STACK__PASSWORD": "planted"}, []),
        ({}, ["events.token=planted"]),
        ({}, ["planted"]),
        ({}, ["=planted"]),
    ):
        with pytest.raises(ConfigError) as caught:
            load_text("", environ, overrides)
        assert "planted" not in caught.value.message + caught.value.hint


def test_what_errors_say_of_keys_survives_masking(load_text: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("sources: {a: {kind: sqlite, path: a, password: x}}\n")
    assert Masker()(caught.value.message) == caught.value.message
    assert "`sources.a.password` is not a known key" in caught.value.message
