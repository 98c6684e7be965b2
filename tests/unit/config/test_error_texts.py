"""The words of errors, compared with files: `RECOUP_UPDATE_GOLDEN=1 pytest tests/unit/config` writes them anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from recoup.config.loading import Loaded, load
from recoup.errors import ConfigError

Load = Callable[..., Loaded]

GOLDEN = Path(__file__).parents[2] / "golden" / "config"

MISTAKES = {
    "unknown_key_at_the_top": "repositores: {}\n",
    "unknown_key_of_a_source": "sources:\n  cache:\n    kind: duckdb\n    pth: cache/x.duckdb\n    path: x\n",
    "unknown_kind": "sources:\n  cache: {kind: duckbd, path: x}\n",
    "missing_kind": "sources:\n  cache: {path: x}\n",
    "missing_path": "sources:\n  cache: {kind: sqlite}\n",
    "source_without_settings": "sources:\n  cache:\n",
    "sources_as_a_list": "sources:\n  - {kind: sqlite, path: x}\n",
    "name_that_cannot_be_used": "sources:\n  my cache: {kind: sqlite, path: x}\n",
    "names_that_differ_in_case_only": "sources:\n  a: {kind: sqlite, path: x}\n  A: {kind: sqlite, path: y}\n",
    "wrong_choice": "repositories:\n  local: {path: x, pack: tar.zs}\n",
    "unknown_layout": "repositories:\n  local: {path: x, layout: dedupe}\n",
    "dedup_without_a_secret": "repositories:\n  local: {path: x, layout: dedup}\n",
    "dedup_with_two_secrets": "repositories:\n  local: {path: x, layout: dedup, key_file: a, password_file: b}\n",
    "dedup_with_compression": "repositories:\n  local: {path: x, layout: dedup, key_file: a, compression: zstd}\n",
    "dedup_with_a_template": "repositories:\n  local: {path: x, layout: dedup, key_file: a, key: '{part}.tar'}\n",
    "dedup_key_without_dedup": "repositories:\n  local: {path: x, password_file: a}\n",
    "dedup_grace": "repositories:\n  local: {path: x, layout: dedup, key_file: a, grace: 10m}\n",
    "dedup_share": "repositories:\n  local: {path: x, layout: dedup, key_file: a, max_unused: 200%}\n",
    "dedup_cache": "repositories:\n  local: {path: x, layout: dedup, key_file: a, cache: much}\n",
    "incremental_without_dedup": "sources:\n  v: {kind: qdrant, incremental: true}\nrepositories:\n  local: {path: x}\n",
    "incremental_by_snapshots": "sources:\n  v: {kind: qdrant, incremental: true, method: stored}\n",
    "incremental_behind_a_proxy": "sources:\n  v: {kind: qdrant, incremental: true, max_request: 30}\n",
    "later_storage": "repositories:\n  local: {url: 'ftp://host/x'}\n",
    "url_that_is_none": "repositories:\n  local: {url: backups}\n",
    "database_of_another_kind": "sources:\n  db: {kind: postgres, url: 'mysql://me:planted@host/x'}\n",
    "path_and_url": "repositories:\n  local: {path: x, url: 'file:///x'}\n",
    "neither_path_nor_url": "repositories:\n  local: {pack: tar}\n",
    "gzip_level": "repositories:\n  local: {path: x, compression: gzip, compression_level: 19}\n",
    "level_out_of_range": "repositories:\n  local: {path: x, compression_level: 99}\n",
    "count_that_is_none": "repositories:\n  local: {path: x, keep: {last: seven}}\n",
    "negative_count": "repositories:\n  local: {path: x, keep: {daily: -1}}\n",
    "length_of_time": "repositories:\n  local: {path: x, keep: {within: 1 week}}\n",
    "time_zone": "repositories:\n  local: {path: x, time_zone: Europe/Berln}\n",
    "switch_that_is_none": "allow_remote: perhaps\n",
    "variable_not_set": "staging: ${STAGING_FOLDER}\n",
    "variable_malformed": "staging: ${STAGING FOLDER}\n",
    "key_twice": "staging: a\nstaging: b\n",
    "not_yaml": "sources:\n  cache: {kind: duckdb\nstaging: x\n",
    "tab": "sources:\n\tcache: 1\n",
    "several": "staging: [a]\nsources:\n  cache: {kind: duckdb, pat: x}\nrepositories:\n  local: {path: x, kep: {}}\n",
    "very_many": "".join(f"key{n}: 1\n" for n in range(30)),
}


def told(error: ConfigError) -> str:
    return f"{error.message}\nHint: {error.hint}\n" if error.hint else f"{error.message}\n"


def compare(name: str, text: str) -> None:
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("RECOUP_UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("name", MISTAKES)
def test_the_words_of_a_mistake_in_the_file(load_text: Load, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(MISTAKES[name])
    compare(name, told(caught.value))


HEADS = {
    "no_version": "stack: a\n",
    "later_version": "version: 2\nstack: a\n",
    "no_stack": "version: 1\n",
    "stack_with_a_space": "version: 1\nstack: my stack\n",
    "list": "- a\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_the_words_of_a_mistake_in_the_head(load_text: Load, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("", head=HEADS[name])
    compare(name, told(caught.value))


def test_the_words_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load([Path("other.yaml")], [], {}, tmp_path)
    compare("no_such_file", told(caught.value))


def test_no_golden_file_is_left_without_its_mistake() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == {*MISTAKES, *HEADS, "no_such_file"}
