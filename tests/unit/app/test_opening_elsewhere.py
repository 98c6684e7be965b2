"""What another process has to be told, so that it works on the same stack."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import recoup
from recoup.cli._options import Globals
from recoup.errors import UsageError

CONFIG = """
version: 1
stack: small
sources:
  chat: {kind: sqlite, path: data/chat.db}
repositories:
  local: {path: backups, keep: {last: 2}}
  other: {path: elsewhere}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home of it"
    home.mkdir()
    (home / "recoup.yaml").write_text(CONFIG)
    return home


def read(options: Sequence[str]) -> Globals:
    """Options as the command line reads these."""
    pairs = list(zip(options[::2], options[1::2], strict=True))
    chosen = [value for name, value in pairs if name == "-r"]
    return Globals(
        config=[Path(value) for name, value in pairs if name == "-c"],
        overrides=[value for name, value in pairs if name == "--set"],
        repository=chosen[0] if chosen else None,
    )


@pytest.mark.parametrize(
    ("overrides", "repository"),
    [((), None), (("repositories.local.keep.last=5", "stack=mine"), None), ((), "other"), ((), "backups/../elsewhere")],
)
def test_the_options_open_the_same_stack_from_another_folder(
    home: Path, tmp_path: Path, overrides: tuple[str, ...], repository: str | None
) -> None:
    (home / "backups").mkdir()
    (home / "elsewhere").mkdir()
    first = recoup.open("recoup.yaml", overrides=overrides, repository=repository, environ={}, cwd=home)
    said = read(first.as_options)
    assert all(path.is_absolute() for path in said.config)
    second = recoup.open(said.config, overrides=said.overrides, repository=said.repository, environ={}, cwd=tmp_path)
    assert second.settings == first.settings
    assert second.files == tuple(path.absolute() for path in said.config)
    assert second.as_options == first.as_options
    if repository is None or "/" not in repository:
        assert second.chosen_repositories == first.chosen_repositories


def test_a_repository_that_was_named_by_its_path_is_named_by_all_of_it(home: Path) -> None:
    (home / "backups").mkdir()
    found = recoup.open(repository="backups", environ={}, cwd=home / "backups" / "..").as_options
    assert found[-2:] == ("-r", f"{home}/backups/../backups")
    assert (
        recoup.open("recoup.yaml", repository="s3://bucket/x", environ={}, cwd=home).as_options[-1] == "s3://bucket/x"
    )


def test_a_secret_never_becomes_part_of_a_command_line(home: Path) -> None:
    overrides = ["notify=[{kind: webhook, url: 'https://127.0.0.1/x', secret: 'planted-5577'}]"]
    stack = recoup.open("recoup.yaml", overrides=overrides, environ={}, cwd=home)
    with pytest.raises(UsageError, match="secret was given as an override") as raised:
        stack.as_options  # noqa: B018 - it is a property
    assert "planted" not in f"{raised.value.message}{raised.value.hint}"
