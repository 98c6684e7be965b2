"""Restores and drills of Qdrant servers as they are typed."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recoup.cli.main import run
from recoup.errors import ExitCode

from .conftest import Rig, path_of

Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Typed]:
    """Types commands in a folder with a configuration, where the server's collection was backed up."""
    for name in [name for name in os.environ if name.startswith(("RECOUP", "QDRANT"))]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "staging"), "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    rig.fill(aliases=["current"])
    (tmp_path / "recoup.yaml").write_text(
        f"version: 1\nstack: s\nsources:\n  vectors: {{kind: qdrant, url: '{rig.server.url}', grpc_port: null}}\n"
        "repositories:\n  here: {path: ./repo}\n"
    )
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def one(*arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        code = run([*arguments])
        told = capfd.readouterr()
        return code, told.out + told.err

    assert one("init", "--yes")[0] in (ExitCode.OK, ExitCode.USAGE)
    code, told = one("backup")
    assert code == ExitCode.OK, told
    yield one
    signal.signal(signal.SIGTERM, before)


@pytest.mark.requirement("CI-7")
def test_the_plan_of_a_restore_names_its_steps(typed: Typed, rig: Rig) -> None:
    code, told = typed("restore", "--source", "vectors", "--in-place", "--dry-run")
    assert code == ExitCode.OK
    assert "there now: collections docs" in told
    assert "the alias current leads to it, by one atomic action" in told
    assert rig.server.collections() == ["docs"]


def test_a_restore_in_place_moves_the_alias(typed: Typed, rig: Rig) -> None:
    rig.server.ask("POST", f"{path_of('docs')}/points/delete", {"points": [1, 3]}, wait="true")
    code, told = typed("--yes", "restore", "--source", "vectors", "--in-place", "--collections", "docs")
    assert code == ExitCode.OK, told
    (made,) = rig.restored()
    assert (rig.aliases(), rig.count("current")) == ({"current": made}, 60)
    assert "what was there is kept as collection docs" in told


def test_a_mode_and_another_name_are_options_of_the_plug(typed: Typed, rig: Rig) -> None:
    code, told = typed("restore", "--target", f"vectors={rig.server.url}", "--rename", "docs=other", "--via", "points")
    assert code == ExitCode.OK, told
    assert (sorted(rig.server.collections()), rig.count("other")) == (["docs", "other"], 60)
    code, told = typed("restore", "--in-place", "--source", "vectors", "--mode", "sideways")
    assert (code, "mode" in told) == (ExitCode.USAGE, True)


@pytest.mark.requirement("CI-6")
def test_a_drill_on_a_server_proves_the_set_and_leaves_nothing_there(typed: Typed, rig: Rig) -> None:
    code, told = typed("drill", "--server", rig.server.url)
    assert code == ExitCode.OK, told
    assert "Proven: it restores." in told
    assert (rig.server.collections(), rig.aliases()) == (["docs"], {"current": "docs"})
    code, told = typed("drill", "--server", "http://127.0.0.1:9")
    assert (code, "NOT proven" in told) == (ExitCode.DAMAGED, True)


def test_without_a_server_a_drill_asks_none(typed: Typed, rig: Rig) -> None:
    assert typed("drill")[0] == ExitCode.OK
