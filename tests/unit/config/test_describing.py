"""The sample, the schema, the reference page and `config show`, all made from the models."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.config import _yaml
from recoup.config._tree import Origin, plain
from recoup.config.explain import effective, effective_values, flow
from recoup.config.loading import Loaded, load
from recoup.config.reference import reference
from recoup.config.sample import sample
from recoup.config.schema import schema
from recoup.errors import ConfigError
from recoup.system import plugs

Load = Callable[..., Loaded]

ROOT = Path(__file__).parents[3]
HERE = Origin("file", "recoup.yaml")


def read(text: str) -> Any:
    return plain(_yaml.parse(text, HERE))


def uncommented(text: str) -> str:
    """The sample with every key live, without the sentences."""
    lines = []
    for line in text.splitlines():
        bare = line.lstrip(" #")
        is_key = re.match(r"- \{|(my-)?[a-z0-9_]+:( |$)", bare) and not bare.endswith(".")
        indent = line[: len(line) - len(line.lstrip())]
        inner = line.lstrip().removeprefix("# ")
        if not line.lstrip().startswith("#"):
            lines.append(line)
        elif is_key:
            lines.append(indent + inner)
    return "\n".join(lines)


def test_the_sample_begins_with_the_schema_line() -> None:
    assert sample().startswith("# yaml-language-server: $schema=recoup.schema.json\n")
    assert sample("https://example.org/s.json").startswith(
        "# yaml-language-server: $schema=https://example.org/s.json\n"
    )


def test_the_sample_can_be_loaded_as_it_is_and_has_every_kind(tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text(sample())
    loaded = load([], [], {}, tmp_path)
    assert sorted(options.kind for options in loaded.sources.values()) == sorted(plugs.kinds("recoup.sources"))
    assert loaded.warnings == ()


def test_the_sample_shows_every_key_with_its_default() -> None:
    content = read(uncommented(sample()).replace("    url: null", ""))
    assert content["events"] == {"jsonl": None, "format": "full", "log": None}
    assert content["allow_remote"] is True
    local = content["repositories"]["local"]
    assert (local["keep"]["last"], local["keep"]["tags"], local["free_space_factor"]) == (7, [], 1.1)


def test_the_sample_with_all_its_comments_made_keys_loads_too(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    (tmp_path / "recoup.yaml").write_text(uncommented(sample()))
    assert load([], [], {}, tmp_path).settings.events.format == "full"


def test_the_schema_is_a_schema_and_knows_the_sample() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(read(sample()), schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "text",
    [
        "staging: ${STAGING}",
        "allow_remote: ${REMOTE}",
        "repositories: {a: {path: x, keep: {last: '${N}', within: '${W}'}}}",
        "repositories: {a: {path: x, pack: '${PACK:-tar}'}}",
        "sources: {a: {kind: sqlite, path: x, busy_timeout: '${T}', optional: '${O:-true}'}}",
    ],
)
def test_the_schema_admits_variables_everywhere(text: str) -> None:
    jsonschema.validate(read("version: 1\nstack: a\n" + text), schema())


@pytest.mark.parametrize(
    "text",
    [
        "stakc: a",
        "version: 2\nstack: a",
        "version: 1",
        "version: 1\nstack: a\nsources: {a: {kind: sqlit, path: x}}",
        "version: 1\nstack: a\nsources: {a: {kind: sqlite, path: x, pointers: []}}",
        "version: 1\nstack: a\nsources: {a: {kind: sqlite}}",
        "version: 1\nstack: a\nsources: {a b: {kind: sqlite, path: x}}",
        "version: 1\nstack: a\nrepositories: {a b: {path: x}}",
        "version: 1\nstack: a\nrepositories: {a: {path: x, pack: zip}}",
        "version: 1\nstack: a\nrepositories: {a: {path: x, keep: {last: -1}}}",
    ],
)
def test_the_schema_refuses_what_loading_refuses(tmp_path: Path, text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read(text), schema())
    (tmp_path / "recoup.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load([], [], {}, tmp_path)


@pytest.mark.parametrize(
    ("file", "make"), [("configuration.md", reference), ("recoup.schema.json", lambda: _json(schema()))]
)
def test_the_committed_pages_are_those_of_the_code(file: str, make: Callable[[], str]) -> None:
    page = ROOT / "docs" / "reference" / file
    if os.environ.get("RECOUP_UPDATE_GOLDEN"):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(make())
    assert page.read_text() == make(), "write it anew with RECOUP_UPDATE_GOLDEN=1 pytest tests/unit/config"


def _json(value: object) -> str:
    import json

    return json.dumps(value, indent=2) + "\n"


def test_the_reference_has_every_key_of_every_kind() -> None:
    page = reference()
    for kind in plugs.kinds("recoup.sources"):
        section = page.split(f"### `kind: {kind}`")[1].split("\n## ")[0].split("\n### ")[0]
        assert all(f"| `{key}` |" in section for key in plugs.load("recoup.sources", kind).Options.model_fields)


def test_what_is_in_effect_names_the_origin_of_every_value(tmp_path: Path, load_text: Load) -> None:
    (tmp_path / ".env").write_text("WHERE=x\nRECOUP__STAGING=s\n")
    text = effective(
        load_text(
            "repositories:\n  local: {path: '${WHERE}/backups'}\n",
            {"RECOUP__EVENTS__FORMAT": "exact"},
            ["repositories.local.keep.last=3"],
        )
    )
    assert "stack: docmind  # recoup.yaml:2\n" in text
    assert "    path: x/backups  # recoup.yaml:4, from WHERE\n" in text
    assert "  format: exact  # RECOUP__EVENTS__FORMAT in the environment\n" in text
    assert "      last: 3  # --set repositories.local.keep.last\n" in text
    assert "staging: s  # .env:2\n" in text
    assert "allow_remote: true  # default\n" in text


def test_what_is_in_effect_is_yaml_that_means_the_same(tmp_path: Path, load_text: Load) -> None:
    loaded = load_text(
        "sources: {a: {kind: files, path: 'a: #b\"\\', include: ['*', 'on', '1', '']}}\nrepositories: {local: {path: '${X}'}}\n",
        {"X": "010"},
    )
    shown = effective(loaded)
    assert read(shown) == effective_values(loaded)
    (tmp_path / "again.yaml").write_text(shown.replace("    url: null  # default\n", ""))
    again = load([Path("again.yaml")], [], {}, tmp_path)
    assert (again.settings, again.sources) == (loaded.settings, loaded.sources)


@pytest.mark.requirement("DM-11")
def test_what_is_in_effect_shows_no_secret(load_text: Load) -> None:
    loaded = load_text(
        "sources: {a: {kind: files, path: a, include: ['${TOKEN}', 'http://u:planted-two@host/x']}}\nstaging: ${HOME}/${TOKEN}\n",
        {"TOKEN": "planted-one", "HOME": "/home/me"},
    )
    assert "planted" not in effective(loaded)
    assert "***" in effective(loaded)
    assert "/home/me" in effective(loaded)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_is_written_so_that_it_is_read_again(text: str) -> None:
    assert read(f"key: {flow(text)}  # comment") == {"key": text}
    assert read(f"key: {flow([text, {'a': text}])}  # comment") == {"key": [text, {"a": text}]}
