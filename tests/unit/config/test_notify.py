"""`notify:` in the file: read by the plugs, with mistakes named and secrets kept."""

from pathlib import Path

import jsonschema
import pytest

from recoup.config import explain, loading, schema
from recoup.config.loading import Loaded
from recoup.errors import ConfigError
from recoup.sinks._notifying import ToldOptions

HEAD = "version: 1\nstack: shop\nnotify:\n"


def load(folder: Path, *lines: str, **environ: str) -> Loaded:
    (folder / "recoup.yaml").write_text(HEAD + "".join(f"  - {line}\n" for line in lines))
    return loading.load([Path("recoup.yaml")], (), environ, folder)


def mistake(folder: Path, *lines: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, *lines)
    return f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{kind: hook}", "recoup.yaml:4: `notify.0.kind` is the text 'hook'. Did you mean `webhook`?"),
        (
            "{kind: log, path: x}",
            "`notify.0.kind` is the text 'log'. Allowed: apprise, healthchecks, prometheus, webhook.",
        ),
        ("{url: x}", "`notify.0.kind` is missing"),
        ("{kind: webhook}", "`notify.0.url` is missing"),
        ("{kind: webhook, url: 'http://h/x', urll: y}", "`notify.0.urll` is not a known key. Did you mean `url`?"),
        ("{kind: webhook, url: 'http://h/x', remind: soon}", "is no length of time"),
        ("{kind: webhook, url: 'http://h/x', level: fatal}", "Allowed: `info`, `warning` or `error`"),
        ("{kind: apprise, url: 'json://h', template: {body: '{stak}'}}", "`notify.0.template.body` cannot be used"),
        ("{kind: prometheus, path: recoup.txt}", "does not end in .prom"),
        ("{kind: healthchecks, url: 'http://h', runs: [restore]}", "`notify.0.runs.0` is the text 'restore'"),
        ("{kind: webhook, name: 'a b', url: 'http://h/x'}", "a name of at most 64"),
        ("{kind: webhook, url: 'http://h/x', events: [problem_begun]}", "neither an event nor a pattern of some"),
        ("{kind: webhook, url: 'http://h/x', events: []}", "`notify.0.events`"),
        ("{kind: healthchecks, url: 'http://h', sources: [dbb]}", "names dbb, which is no configured source"),
        ("just a text", "`notify.0.kind` is missing"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(tmp_path: Path, line: str, said: str) -> None:
    assert said in mistake(tmp_path, line)


def test_a_wrong_url_is_not_repeated(tmp_path: Path) -> None:
    assert "secret-token" not in mistake(tmp_path, "{kind: webhook, url: 'htp://h/secret-token'}")


def test_entries_without_a_name_have_that_of_their_kind(tmp_path: Path) -> None:
    hooks = [f"{{kind: webhook, url: 'http://h/{number}'}}" for number in range(2)]
    loaded = load(tmp_path, *hooks, "{kind: healthchecks, name: webhook-2, url: 'http://h/'}", hooks[0])
    assert list(loaded.notify) == ["webhook-2", "webhook", "webhook-3", "webhook-4"]


def test_two_entries_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    line = "{kind: webhook, name: ops, url: 'http://h/x'}"
    assert "two entries of the name ops" in mistake(tmp_path, line, line)


@pytest.mark.requirement("DM-11")
def test_urls_from_anywhere_are_secrets(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://h/file-token-1234\n")
    (tmp_path / "url").chmod(0o600)
    loaded = load(
        tmp_path,
        "{kind: webhook, url_file: url}",
        "{kind: webhook, url_command: [echo, 'https://h/command-token-1']}",
        "{kind: webhook, url: '${HOOK}'}",
        HOOK="https://h/variable-token-1",
    )
    told = explain.effective(loaded)
    assert "-token-1" not in told
    assert {"https://h/file-token-1234", "command-token-1", "variable-token-1"} <= loaded.secrets


def test_the_schema_knows_the_entries(tmp_path: Path) -> None:
    whole = schema.schema()
    good = {"version": 1, "stack": "shop", "notify": [{"kind": "webhook", "url_file": "x", "remind": "6h"}]}
    jsonschema.validate(good, whole)
    for wrong in ({"kind": "log"}, {"kind": "webhook", "ur": "x"}, {"url": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, "notify": [wrong]}, whole)


def test_nothing_is_told_to_nobody_by_default(tmp_path: Path) -> None:
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: shop\n")
    assert loading.load([Path("recoup.yaml")], (), {}, tmp_path).notify == {}


@pytest.mark.parametrize("pattern", ["problem_*", "*", "backup_created", "item_suspicious", "item_?*"])
def test_events_are_meant_by_name_and_by_pattern(tmp_path: Path, pattern: str) -> None:
    loaded = load(tmp_path, f"{{kind: webhook, url: 'http://h/x', events: ['{pattern}']}}")
    [entry] = loaded.notify.values()
    assert isinstance(entry, ToldOptions)
    assert entry.events == (pattern,)
