"""What other tools put into a keyed repository, as the command line lists, shows and restores it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import SNAPSHOTS, TRUTH, Recoup

CONFIG = """
version: 1
stack: cloudops
sources:
  notes: {kind: files, path: notes}
repositories:
  shared:
    path: shared
    layout: keyed
    key: "{user_id}/snapshots/{collection}/{date}.snapshot"
    fields: {user_id: user-123}
"""
KEY = "user-123/snapshots/docs/2026-01-01T02-00-00.snapshot.zst"
CUT = "user-123/snapshots/docs/2026-01-02T02-00-00.snapshot.zst"


@pytest.fixture
def shared(tmp_path: Path, recoup: Recoup) -> Path:
    """Two snapshots of another tool, one of them cut short, and a repository around them."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/note").write_text("note")
    (tmp_path / "recoup.yaml").write_text(CONFIG)
    folder = tmp_path / "shared"
    (folder / KEY).parent.mkdir(parents=True)
    shutil.copy(SNAPSHOTS / "hybrid-collection.snapshot.zst", folder / KEY)
    (folder / CUT).write_bytes((folder / KEY).read_bytes()[:100_000])
    assert recoup("init").code in (0, 2)
    return folder


@pytest.mark.requirement("CO-9")
def test_a_list_has_them_behind_the_sets(recoup: Recoup, shared: Path) -> None:
    assert recoup("backup").code == 0
    done = recoup("list")
    assert done.code == 0, done.err
    sets, foreign = done.out.split("Foreign")
    assert "backup_" in sets
    assert [line.split()[-1] for line in foreign.splitlines()[1:]] == [KEY, CUT]
    found = [one for one in recoup("list", "--json").results if one["type"] == "foreign"]
    assert [(one["key"], one["part"]) for one in found] == [(KEY, "docs"), (CUT, "docs")]
    assert [one["bytes"] for one in found] == [(shared / KEY).stat().st_size, 100_000]
    assert "Foreign" not in recoup("list", "--source", "notes").out


@pytest.mark.requirement("CO-15")
def test_one_is_looked_into_and_restored_as_a_file(recoup: Recoup, shared: Path, tmp_path: Path) -> None:
    points = TRUTH["hybrid-collection"]["count"]
    shown = recoup("show", KEY)
    assert shown.code == 0, shown.err
    assert f"It holds {points:,} points in 1 shard" in shown.out
    assert recoup("restore", KEY, "--target", "out", "-n").code == 0
    assert not (tmp_path / "out").exists()
    done = recoup("restore", str(shared / KEY), "--target", "out")
    assert done.code == 0, done.err
    assert "recoup qdrant restore out/docs.snapshot --target URL" in done.out
    plain = subprocess.run(["zstd", "-dc", shared / KEY], capture_output=True, check=True).stdout
    assert (tmp_path / "out/docs.snapshot").read_bytes() == plain
    again = recoup("restore", KEY, "--target", "out")
    assert again.code == 2
    assert "is there already" in again.err


@pytest.mark.requirement("CO-15")
def test_a_damaged_one_is_refused_and_nothing_is_written(recoup: Recoup, shared: Path, tmp_path: Path) -> None:
    for arguments in (("show", CUT), ("restore", CUT, "--target", "out")):
        done = recoup(*arguments)
        assert done.code not in (0, 3), done.out
        assert "2026-01-02" in done.err
    assert not (tmp_path / "out").exists()
    assert (shared / CUT).stat().st_size == 100_000


def test_a_place_on_a_server_is_refused_with_the_command_that_does_it(recoup: Recoup, shared: Path) -> None:
    done = recoup("restore", str(shared / KEY), "--in-place", "--yes")
    assert done.code == 2
    assert "recoup qdrant restore FILE --target URL" in " ".join(done.err.split())
