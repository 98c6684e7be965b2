from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.config import _search
from recoup.config.loading import Loaded, has_configuration, load, without_file
from recoup.config.settings import Settings
from recoup.errors import ConfigError, RecoupError

Load = Callable[..., Loaded]

DOCMIND = """\
sources:
  cache:   {kind: duckdb, path: cache/docmind.duckdb}
  chat:    {kind: sqlite, path: data/chat.db}
  storage: {kind: files, path: data/storage, pointers: [CURRENT]}
  env:     {kind: files, path: .env, optional: true}
  vectors: {kind: qdrant-local, path: data/qdrant}
repositories:
  local: {path: data/backups, layout: sets, keep: {last: 7}}
events: {jsonl: logs/backup.jsonl}
"""


@pytest.mark.requirement("CI-2")
def test_a_whole_configuration_is_read_in_its_order(tmp_path: Path, load_text: Load) -> None:
    loaded = load_text(DOCMIND)
    assert list(loaded.sources) == ["cache", "chat", "storage", "env", "vectors"]
    assert [options.kind for options in loaded.sources.values()] == [
        "duckdb",
        "sqlite",
        "files",
        "files",
        "qdrant-local",
    ]
    assert loaded.sources["env"].optional
    assert loaded.settings.repositories["local"].keep.last == 7
    assert loaded.settings.events.jsonl == Path("logs/backup.jsonl")
    assert (loaded.base, loaded.files, loaded.warnings) == (tmp_path, (tmp_path / "recoup.yaml",), ())


def test_nothing_but_the_head_is_enough_and_says_what_is_missing(load_text: Load) -> None:
    loaded = load_text("")
    assert loaded.settings.allow_remote
    assert [warning.split(" are")[0] for warning in loaded.warnings] == ["no sources", "no repositories"]


def test_later_files_win_key_by_key_and_paths_stay_relative_to_the_first(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "a.yaml").write_text(
        "version: 1\nstack: a\nrepositories: {local: {path: x, keep: {last: 7, daily: 3}}}\n"
    )
    (tmp_path / "b.yaml").write_text("repositories: {local: {keep: {last: 1}}, other: {path: y}}\n")
    loaded = load([Path("first/a.yaml"), Path("b.yaml")], [], {}, tmp_path)
    keep = loaded.settings.repositories["local"].keep
    assert (keep.last, keep.daily) == (1, 3)
    assert list(loaded.settings.repositories) == ["local", "other"]
    assert loaded.base == tmp_path / "first"
    assert str(loaded.origin(("repositories", "local", "keep", "last"))) == "b.yaml:1"
    assert str(loaded.origin(("repositories", "local", "keep", "min"))) == "default"


def test_the_places_are_searched_in_their_order(tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    user = home / ".config" / "recoup"
    for folder in (work, user):
        folder.mkdir(parents=True)
    environ = {"HOME": str(home)}
    assert not has_configuration(environ, work)

    def stack(environ: dict[str, str]) -> str:
        return load([], [], environ, work).settings.stack

    (user / "recoup.yaml").write_text("version: 1\nstack: user\n")
    assert stack(environ) == "user"
    assert has_configuration(environ, work)
    (work / "recoup.yaml").write_text("version: 1\nstack: work\n")
    assert stack(environ) == "work"
    (tmp_path / "named.yaml").write_text("version: 1\nstack: named\n")
    assert stack({**environ, "RECOUP_CONFIG": "../named.yaml"}) == "named"
    assert load([Path("recoup.yaml")], [], {**environ, "RECOUP_CONFIG": "../named.yaml"}, work).settings.stack == "work"


def test_the_users_folder_is_that_of_the_platform(tmp_path: Path) -> None:
    assert _search.user_files({"HOME": "/h"}, "linux") == [Path("/h/.config/recoup/recoup.yaml")]
    assert _search.user_files({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "linux") == [Path("/x/recoup/recoup.yaml")]
    assert _search.user_files({"HOME": "/h"}, "darwin")[1] == Path("/h/Library/Application Support/recoup/recoup.yaml")
    assert _search.user_files({}, "linux") == []


def test_nothing_found_says_where_was_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"recoup\.yaml, /nowhere/\.config/recoup/recoup\.yaml, /etc/recoup/recoup\.yaml"
    ) as caught:
        load([], [], {"HOME": "/nowhere"}, tmp_path)
    assert "recoup init" in caught.value.hint


def test_a_path_with_two_dots_is_made_plain(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: a\n")
    assert load([Path("../recoup.yaml")], [], {}, tmp_path / "a").base == tmp_path


def test_home_is_meant_by_a_tilde_in_keys_that_say_a_place(load_text: Load) -> None:
    loaded = load_text("repositories: {local: {path: ~/backups}}\nevents: {log: ~/x.log}\n", {"HOME": "/h"})
    assert loaded.settings.repositories["local"].path == Path("/h/backups")
    assert loaded.settings.events.log == Path("/h/x.log")


def test_a_number_is_a_text_as_it_is_spelled_where_a_text_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: 010\nrepositories: {local: {path: 2026.10}}\n")
    loaded = load([], [], {}, tmp_path)
    assert loaded.settings.stack == "010"
    assert loaded.settings.repositories["local"].path == Path("2026.10")


def test_settings_cannot_be_changed(load_text: Load) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        load_text("").settings.stack = "other"  # type: ignore[misc]


def test_somebody_without_a_configuration_has_no_sources(tmp_path: Path) -> None:
    loaded = without_file(tmp_path)
    assert (loaded.sources, loaded.settings.repositories, loaded.base) == ({}, {}, tmp_path)


@pytest.mark.parametrize("value", ["unlimited", "0", "7"])
def test_counts_to_keep(load_text: Load, value: str) -> None:
    keep = (
        load_text(f"repositories: {{local: {{path: a, keep: {{daily: {value}}}}}}}\n")
        .settings.repositories["local"]
        .keep
    )
    assert str(keep.daily) == value


@pytest.mark.parametrize("value", ["2y5m7d3h", "7d", "3h", "1y1h"])
def test_lengths_of_time_to_keep(load_text: Load, value: str) -> None:
    keep = (
        load_text(f"repositories: {{local: {{path: a, keep: {{within: {value}}}}}}}\n")
        .settings.repositories["local"]
        .keep
    )
    assert keep.within == value


@pytest.mark.parametrize("value", ["7", "d", "''", "-1d", "3h2d", "7days", "\u0667d", "99999999999999y"])
def test_what_is_no_length_of_time_is_refused(load_text: Load, value: str) -> None:
    with pytest.raises(ConfigError, match="within"):
        load_text(f"repositories: {{local: {{path: a, keep: {{within: {value}}}}}}}\n")


keys = st.sampled_from(
    [
        "version",
        "stack",
        "sources",
        "repositories",
        "events",
        "staging",
        "env_file",
        "path",
        "kind",
        "keep",
        "local",
        "x",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["files", "sqlite", "${X}", "~/x", "a", "7d"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=100, deadline=None)
@given(content=st.dictionaries(keys, values, max_size=6))
def test_any_configuration_is_loaded_or_refused_with_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    import yaml

    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    text = yaml.safe_dump(content, allow_unicode=True)
    (folder / "recoup.yaml").write_text(
        "version: 1\nstack: a\n" + text if not isinstance(content, dict) or "version" not in content else text
    )
    _load_or_refuse(folder)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_refused_with_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    folder.mkdir(exist_ok=True)
    (folder / "recoup.yaml").write_bytes(content)
    _load_or_refuse(folder)


def _load_or_refuse(folder: Path) -> None:
    try:
        loaded = load([], [], {"HOME": "/home/someone"}, folder)
    except RecoupError as error:
        assert isinstance(error, ConfigError)
        assert error.message
    else:
        assert isinstance(loaded.settings, Settings)


@pytest.mark.parametrize(
    "zone", ["Europe", "../../etc/passwd", "/etc/passwd", "", "Mars/Olympus", "zone.tab", "x" * 300]
)
def test_what_is_no_time_zone_is_refused(load_text: Load, zone: str) -> None:
    with pytest.raises(ConfigError, match="is not a time zone"):
        load_text(f"repositories: {{local: {{path: a, time_zone: '{zone}'}}}}\n")
