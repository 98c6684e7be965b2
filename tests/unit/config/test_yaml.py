import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.config import _yaml
from recoup.config._tree import Origin, plain, walk
from recoup.errors import ConfigError

HERE = Origin("file", "recoup.yaml")


def parsed(text: str) -> object:
    return plain(_yaml.parse(text, HERE))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("02:00", "02:00"),
        ("on", "on"),
        ("no", "no"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("2026-11-01", "2026-11-01"),
        ("true", True),
        ("~", None),
        ("", None),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("!!int '7'", 7),
        ("! 7", "7"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert parsed(f"key: {text}") == {"key": value}


def test_every_value_knows_its_line_and_column() -> None:
    tree = _yaml.parse("a:\n  b: [1,\n      2]\n", HERE)
    places = {path: (node.origin.line, node.origin.column) for path, node in walk(tree)}
    assert places[("a", "b")] == (2, 6)
    assert places[("a", "b", 1)] == (3, 7)
    key = dict(walk(tree))[("a", "b")].key
    assert key is not None
    assert (key.line, key.column) == (2, 3)


def test_a_key_that_is_there_twice_is_an_error_that_names_both_lines() -> None:
    with pytest.raises(ConfigError, match=r"recoup.yaml:3: the key `a` is here twice") as caught:
        parsed("a: 1\nb: 2\na: 3\n")
    assert "line 1" in caught.value.hint


def test_anchors_and_merge_keys_work_and_own_keys_win() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {a: 9, c: 3}\none: {<<: *base, b: 7}\ntwo: {<<: [*base, *more]}\n"
    assert parsed(text) == {
        "base": {"a": 1, "b": 2},
        "more": {"a": 9, "c": 3},
        "one": {"a": 1, "b": 7},
        "two": {"a": 1, "b": 2, "c": 3},
    }


def test_a_quoted_merge_sign_is_a_key_as_any_other() -> None:
    assert parsed("'<<': 1") == {"<<": 1}


def test_aliases_that_would_fill_the_memory_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="too many values"):
        parsed("\n".join(lines))


def test_a_long_text_repeated_by_aliases_is_refused() -> None:
    with pytest.raises(ConfigError, match="too many values"):
        parsed(f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "&a [", "!!seq [", "a:\n" + " "])
def test_very_deep_nesting_is_refused_and_does_not_end_the_process(opening: str) -> None:
    with pytest.raises(ConfigError):
        parsed(opening * 100_000)


def test_an_alias_inside_its_own_anchor_is_refused() -> None:
    with pytest.raises(ConfigError, match="not defined above"):
        parsed("a: &a [*a]")


@pytest.mark.parametrize("text", ["a: !secret x", "a: !!python/object:os.system x", "a: !!binary aGk=", "!!set {a, b}"])
def test_tags_that_mean_nothing_here_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a tag, which has no meaning here"):
        parsed(text)


@pytest.mark.requirement("DM-11")
@pytest.mark.parametrize(
    "value", ["*hunter2", "!hunter2", "&hunter2 &x", "%hunter2 'x", "@hunter2", "`hunter2", "[hunter2", "'hunter2"]
)
def test_a_password_that_forgot_its_quotes_is_not_repeated_in_the_error(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(f"password: {value}\nother: 1")
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "text", ["a: 1\n---\nb: 2\n", "a: \x01", 'a: "\\0"', "? [a]\n: 1", "a: !!int x", "a: !!null x", "<<: 7", "<<: [7]"]
)
def test_what_is_no_configuration_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(ConfigError, match=r"recoup\.yaml"):
        parsed(text)


def test_a_number_with_thousands_of_digits_is_an_error_of_ours() -> None:
    with pytest.raises(ConfigError, match="too many digits"):
        parsed("a: " + "9" * 5000)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_a_file_without_a_key_is_an_empty_group_of_keys(text: str) -> None:
    assert parsed(text) == {}


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]))
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc_", min_size=1), trees, max_size=5))
def test_what_another_writer_wrote_is_read_as_it_was(values: dict[str, object]) -> None:
    """Quoted and tagged, since that writer takes `0E0` for a text that needs no quotes, by YAML 1.1."""
    assert parsed(yaml.safe_dump(values, allow_unicode=True, default_style='"')) == values


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_a_tree_or_an_error_of_ours(text: str) -> None:
    try:
        _yaml.parse(text, HERE)
    except ConfigError as error:
        assert error.message
        assert error.hint
