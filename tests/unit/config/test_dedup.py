"""The settings of `layout: dedup`, as they are handed on."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.config._dedup_options import dedup_options
from recoup.config._keys_of import in_order
from recoup.config.loading import Loaded
from recoup.errors import ConfigError
from recoup.repository.dedup.options import DedupOptions

Load = Callable[..., Loaded]


def options(load_text: Load, keys: str) -> DedupOptions | None:
    loaded = load_text(f"repositories:\n  main: {{path: x, {keys}}}\n")
    return dedup_options(loaded.settings.repositories["main"], loaded.base)


def test_paths_start_at_the_file_and_recipients_may_be_files(load_text: Load, tmp_path: Path) -> None:
    found = options(
        load_text, "layout: dedup, password_file: secrets/p, recipients: [age1abc, keys.txt, ssh-ed25519 AA]"
    )
    assert found is not None
    assert found.password_file == tmp_path / "secrets/p"
    assert found.recipients == ("age1abc", str(tmp_path / "keys.txt"), "ssh-ed25519 AA")
    assert found.secret_files == (tmp_path / "secrets/p",)


def test_what_is_not_written_has_its_default(load_text: Load) -> None:
    found = options(load_text, "layout: dedup, key_file: /k")
    assert found == DedupOptions(key_file=Path("/k"))
    assert (found.grace, found.cache, found.delta, found.max_unused) == (timedelta(days=1), 0, "auto", 10.0)


def test_every_key_is_handed_on(load_text: Load) -> None:
    found = options(
        load_text, "layout: dedup, writer_key_file: /w, grace: 2d, cache: 10GB, delta: off, max_unused: 2.5%"
    )
    assert found is not None
    assert (found.writer_key_file, found.grace, found.cache) == (Path("/w"), timedelta(days=2), 10**10)
    assert (found.delta, found.max_unused) == ("off", 2.5)


@pytest.mark.parametrize("name", ["password_file", "key_file", "identity_file", "writer_key_file"])
def test_each_way_to_open_is_enough(load_text: Load, name: str) -> None:
    found = options(load_text, f"layout: dedup, {name}: /a")
    assert found is not None
    assert getattr(found, name) == Path("/a")


def test_other_layouts_have_none_of_it(load_text: Load) -> None:
    assert options(load_text, "pack: tar") is None


@pytest.mark.parametrize(
    "strange", ["pack: tar", "encrypt: {age: {recipients: [age1x]}}", "adopt: true", "compression_level: 3"]
)
def test_what_means_nothing_with_dedup_is_refused(load_text: Load, strange: str) -> None:
    with pytest.raises(ConfigError, match="has no meaning with"):
        options(load_text, f"layout: dedup, key_file: /a, {strange}")


@pytest.mark.parametrize(
    "own", ["recipients: [age1x]", "grace: 2d", "cache: 1GB", "delta: on", "max_unused: 5%", "key_file: a"]
)
def test_what_means_nothing_without_dedup_is_refused(load_text: Load, own: str) -> None:
    with pytest.raises(ConfigError, match="has no meaning without `layout: dedup`"):
        options(load_text, own)


@pytest.mark.parametrize("share", ["101%", "-1", "x", "true"])
def test_a_share_is_a_percentage(load_text: Load, share: str) -> None:
    with pytest.raises(ConfigError, match="is no share"):
        options(load_text, f"layout: dedup, key_file: /a, max_unused: {share}")


@pytest.mark.parametrize(
    ("repositories", "told"),
    [
        ("main: {path: x, KEYS}\n  copy: {path: y, KEYS, keys_of: mian}", "names 'mian', which is no repository"),
        ("main: {path: x}\n  copy: {path: y, KEYS, keys_of: main}", "names 'main', which has no keys to share"),
        ("main: {path: x, KEYS, keys_of: main}", "leads back to itself"),
        ("main: {path: x, KEYS, keys_of: copy}\n  copy: {path: y, KEYS, keys_of: main}", "leads back to itself"),
        ("main: {path: x, keys_of: main}", "no meaning without `layout: dedup`"),
    ],
)
def test_keys_come_from_another_repository_that_has_some(load_text: Load, repositories: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"repositories:\n  {repositories}\n".replace("KEYS", "layout: dedup, key_file: /k"))
    assert told in f"{caught.value} {caught.value.hint}"


def test_a_repository_is_made_before_those_that_have_its_keys(load_text: Load) -> None:
    made = "layout: dedup, key_file: /k"
    loaded = load_text(
        f"repositories:\n  c: {{path: c, {made}, keys_of: b}}\n  b: {{path: b, {made}, keys_of: a}}\n  a: {{path: a, {made}}}\n"
    )
    assert in_order(loaded.settings.repositories, loaded.settings.repositories) == ["a", "b", "c"]
