"""What a host keeps of a dedup repository: thrown away and made anew at any time, and how it notices an older state."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode, RefusedError, UsageError
from unit.app.small_application import SOURCES, made

Opened = Callable[[], recoup.Stack]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    app = tmp_path / "app"
    app.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made(app, f"{SOURCES}  main: {{path: kept, layout: dedup, key_file: secret}}\n")
    (app / "secret").write_bytes(os.urandom(32))
    (app / "secret").chmod(0o600)
    return app


@pytest.fixture
def opened(root: Path) -> Opened:
    def make() -> recoup.Stack:
        return recoup.open(root / "recoup.yaml", environ={}, cwd=root)

    make().create_repositories()
    assert make().backup().exit_code == ExitCode.OK
    return make


def test_it_is_described_thrown_away_and_made_anew(opened: Opened, tmp_path: Path) -> None:
    [first] = opened().caches()
    assert first.folder.startswith(str(tmp_path / "cache"))
    assert first.files > 1
    assert first.chunks > 0
    assert (first.gone, first.problems) == ((), ())
    (Path(first.folder) / "packs").mkdir()
    (Path(first.folder) / "packs/copy").write_bytes(bytes(10_000))
    [(name, freed)] = opened().clear_caches().items()
    assert name == "main"
    assert freed > 10_000
    assert [path.name for path in Path(first.folder).iterdir()] == ["seen"]
    [again] = opened().rebuild_caches()
    assert again == first
    shutil.rmtree(tmp_path / "cache")
    assert opened().restore(target=str(tmp_path / "out")).exit_code == ExitCode.OK


def test_an_older_state_is_noticed_also_after_clearing_and_until_it_is_accepted(
    opened: Opened, root: Path, tmp_path: Path
) -> None:
    opened().caches()
    shutil.copytree(root / "kept", tmp_path / "older")
    (root / "data/uploads/new").write_bytes(os.urandom(1000))
    name = opened().backup().manifest
    opened().caches()
    shutil.rmtree(root / "kept")
    (tmp_path / "older").rename(root / "kept")
    opened().clear_caches()
    for _ in range(2):
        [found] = opened().caches()
        assert name is not None
        assert name.name in found.gone
        assert any(one.startswith("index/") for one in found.gone)
    with pytest.raises(RefusedError, match="older state"):
        opened().backup()
    assert opened().accept_state() == {"main": found.gone}
    [found] = opened().caches()
    assert found.gone == ()
    assert opened().backup().exit_code == ExitCode.OK


def test_after_a_repair_of_a_lost_index_backups_go_on_here_and_on_another_host(
    opened: Opened, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    opened().caches()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.rmtree(root / "kept/index")
    with pytest.raises(RefusedError, match="older state"):
        opened().backup()
    stack = opened()
    assert [report.exit_code for report in stack.repair(stack.plan_repair())] == [ExitCode.OK]
    for cache in ("cache", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        assert opened().backup().exit_code == ExitCode.OK


def test_where_no_repository_keeps_anything_that_is_said(tmp_path: Path) -> None:
    made(tmp_path, f"{SOURCES}  main: {{path: kept}}\n")
    with pytest.raises(UsageError, match="none of main is a dedup repository"):
        recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path).caches()
