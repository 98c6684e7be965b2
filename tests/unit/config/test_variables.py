from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.config import _variables, _yaml
from recoup.config._tree import Origin, plain
from recoup.config.loading import Loaded
from recoup.errors import ConfigError

Load = Callable[..., Loaded]

REPOSITORY = "repositories: {local: {path: data/backups}}\n"


def expanded(text: str, environ: dict[str, str]) -> object:
    tree = _yaml.parse(text, Origin("file", "recoup.yaml"))
    return plain(_variables.expand(tree, _variables.Variables(environ))[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: ${NAME}", "x"),
        ("a: ${NAME}/${NAME}", "x/x"),
        ("a: ${NONE:-other}", "other"),
        ("a: ${EMPTY:-other}", "other"),
        ("a: ${EMPTY}", ""),
        ("a: ${NONE:-}", ""),
        ("a: '$${NAME}'", "${NAME}"),
        ("a: $NAME costs $5", "$NAME costs $5"),
        ("a: $$", "$"),
    ],
)
def test_variables_in_values(text: str, value: str) -> None:
    assert expanded(text, {"NAME": "x", "EMPTY": ""}) == {"a": value}


@pytest.mark.parametrize("text", ["a: ${1X}", "a: ${NAME", "a: '${A:-${B}}'", "a: ${A B}", "a: ${NAME-x}"])
def test_a_malformed_reference_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"recoup.yaml:2: `\$\{` begins no variable"):
        expanded("b: 1\n" + text, {"NAME": "x"})


def test_a_variable_that_is_not_set_is_an_error_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"recoup.yaml:2: the variable NOWHERE is not set"):
        expanded("b: 1\na: [x, '${NOWHERE}']", {})


def test_a_value_that_another_variable_brought_in_is_not_expanded_again() -> None:
    assert expanded("a: ${NAME}", {"NAME": "${OTHER} $$"}) == {"a": "${OTHER} $$"}


def test_a_missing_variable_does_not_matter_where_a_stronger_file_replaces_the_value(
    tmp_path: Path, load_text: Load
) -> None:
    load_text("staging: ${NOWHERE}\n", overrides=["staging=/tmp/x"])


def test_the_env_file_beside_the_configuration_is_read_and_the_environment_wins(
    tmp_path: Path, load_text: Load
) -> None:
    (tmp_path / ".env").write_text("export A=from-file\nB='two words' # comment\nC=${A}/c\n")
    loaded = load_text("staging: ${A}/${B}/${C}\n")
    assert str(loaded.settings.staging) == "from-file/two words/from-file/c"
    assert str(load_text("staging: ${A}\n", {"A": "from-environment"}).settings.staging) == "from-environment"


def test_the_env_file_is_not_exported(tmp_path: Path, load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    (tmp_path / ".env").write_text("ONLY_IN_FILE=x\n")
    load_text("staging: ${ONLY_IN_FILE}\n")
    assert "ONLY_IN_FILE" not in os.environ


def test_another_env_file_can_be_named_and_has_to_be_there(tmp_path: Path, load_text: Load) -> None:
    (tmp_path / "other").write_text("A=x\n")
    assert str(load_text("env_file: other\nstaging: ${A}\n").settings.staging) == "x"
    with pytest.raises(ConfigError, match=r"recoup.yaml:3: missing: cannot be read"):
        load_text("env_file: missing\n")


def test_no_env_file_is_read_where_it_is_switched_off(tmp_path: Path, load_text: Load) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_text("")
    load_text("env_file: null\n")


def test_a_line_of_the_env_file_that_cannot_be_read_is_a_warning_without_its_content(
    tmp_path: Path, load_text: Load
) -> None:
    (tmp_path / ".env").write_text("A=1\nB='hunter2\n")
    warnings = load_text(REPOSITORY + "sources: {a: {kind: sqlite, path: a}}\n").warnings
    assert len(warnings) == 1
    assert warnings[0].startswith(".env:2")
    assert "hunter2" not in warnings[0]


@pytest.mark.parametrize(
    "name",
    [
        "RECOUP__REPOSITORIES__LOCAL__KEEP__LAST",
        "recoup__repositories__local__keep__last",
        "Recoup__Repositories__LOCAL__Keep__Last",
    ],
)
def test_every_key_can_be_set_by_the_environment(load_text: Load, name: str) -> None:
    loaded = load_text(REPOSITORY, {name: "3"})
    assert loaded.settings.repositories["local"].keep.last == 3
    assert str(loaded.origin(("repositories", "local", "keep", "last"))) == f"{name} in the environment"


def test_a_name_in_the_environment_finds_the_key_with_other_case_and_dashes(load_text: Load) -> None:
    loaded = load_text("repositories: {My-Local: {path: a}}\n", {"RECOUP__REPOSITORIES__MY_LOCAL__PATH": "b"})
    assert [str(one.path) for one in loaded.settings.repositories.values()] == ["b"]


def test_the_environment_can_add_a_whole_source(load_text: Load) -> None:
    environ = {"RECOUP__SOURCES__CACHE__KIND": "duckdb", "RECOUP__SOURCES__CACHE__PATH": "cache/x.duckdb"}
    assert load_text(REPOSITORY, environ).sources["cache"].kind == "duckdb"


def test_lists_and_groups_can_be_given_by_the_environment(load_text: Load) -> None:
    environ = {"RECOUP__REPOSITORIES__LOCAL__KEEP": "{last: 2, tags: [a=b]}"}
    keep = load_text(REPOSITORY, environ).settings.repositories["local"].keep
    assert (keep.last, keep.tags) == (2, ("a=b",))


@pytest.mark.parametrize("value", ["123", "true", "null", "[a", "{a: b}", "1e5", "010"])
def test_where_a_text_is_wanted_the_spelling_in_the_environment_counts(load_text: Load, value: str) -> None:
    assert str(load_text("", {"RECOUP__STAGING": value}).settings.staging) in (
        value,
        "None" if value == "null" else value,
    )
    environ = {"RECOUP__REPOSITORIES__LOCAL__KEEP__TAGS__0": value}
    assert load_text("repositories: {local: {path: a, keep: {tags: [x]}}}\n", environ).settings.repositories[
        "local"
    ].keep.tags == (value,)


@pytest.mark.parametrize("name", ["RECOUP_CONFIG", "RECOUP_TEST_SLOW", "RECOUP_TEST_A__B", "RECOUPX", "OTHER__KEY"])
def test_other_variables_are_no_keys(load_text: Load, tmp_path: Path, name: str) -> None:
    load_text("", {name: str(tmp_path / "recoup.yaml")})


def test_an_unknown_key_in_the_environment_names_the_variable(load_text: Load) -> None:
    with pytest.raises(
        ConfigError, match=r"RECOUP__SOURCS__CACHE__PATH in the environment: `sourcs` is not a known key"
    ) as caught:
        load_text("", {"RECOUP__SOURCS__CACHE__PATH": "x"})
    assert "`sources`" in caught.value.hint


@pytest.mark.parametrize("name", ["RECOUP__", "RECOUP____A", "RECOUP__A____B", "RECOUP__STACK__"])
def test_an_empty_level_in_a_variable_is_an_error(load_text: Load, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_text("", {name: "x"})


def test_a_variable_below_a_single_value_is_an_error(load_text: Load) -> None:
    with pytest.raises(ConfigError, match="RECOUP__STACK__NAME"):
        load_text("", {"RECOUP__STACK__NAME": "x"})


def test_two_spellings_of_one_variable_are_an_error(load_text: Load) -> None:
    with pytest.raises(ConfigError, match="same key"):
        load_text("", {"RECOUP__STACK": "a", "recoup__stack": "b"})


def test_from_weakest_to_strongest(tmp_path: Path, load_text: Load) -> None:
    (tmp_path / ".env").write_text("RECOUP__STACK=env-file\n")
    assert load_text("").settings.stack == "env-file"
    assert load_text("", {"RECOUP__STACK": "environment"}).settings.stack == "environment"
    assert load_text("", {"RECOUP__STACK": "environment"}, ["stack=option"]).settings.stack == "option"


@pytest.mark.parametrize("override", ["stack", "=x", "a..b=1", ".a=1", ""])
def test_an_override_without_key_and_value_is_an_error(load_text: Load, override: str) -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        load_text("", overrides=[override])


def test_an_override_that_is_no_key_names_itself(load_text: Load) -> None:
    with pytest.raises(ConfigError, match=r"--set stak: `stak` is not a known key"):
        load_text("", overrides=["stak=x"])


def test_texts_that_are_not_utf_8_are_an_error_of_ours(load_text: Load) -> None:
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_text("", {"RECOUP__STACK": "\udcff"})
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_text("", overrides=["stack=\udcff"])
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_text("staging: ${X}\n", {"X": "a\udcff"})


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("abcdefgstuck_SOURCE", min_size=1).map("RECOUP__".__add__),
        st.text(max_size=20) | st.sampled_from(["{", "[]", "1", "{a: [}"]),
        max_size=4,
    ),
    st.lists(st.text(max_size=20) | st.text("abc.=1[{}'", max_size=12), max_size=3),
)
def test_whatever_is_set_outside_gives_a_configuration_or_an_error_of_ours(
    environ: dict[str, str], overrides: list[str]
) -> None:
    tree = _yaml.parse(REPOSITORY, Origin("file", "recoup.yaml"))
    try:
        _variables.overridden(_variables.keys_from(environ, tree), overrides)
    except ConfigError as error:
        assert error.message
