"""Which file system a path lies on."""

from pathlib import Path

import pytest

from recoup.system import mounts


def test_a_line_of_mountinfo_gives_point_and_type_whatever_the_optional_fields() -> None:
    line = "36 35 98:0 /root /mnt/with\\040space rw,noatime master:1 shared:2 - nfs4 server:/a rw"
    assert mounts._entry(line) == ("/mnt/with space", "nfs4")
    assert mounts._entry("36 35 0:4 / /proc rw - proc proc rw") == ("/proc", "proc")
    assert mounts._entry("broken") is None


def test_the_innermost_mount_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path.resolve()
    monkeypatch.setattr(mounts, "_mounts", lambda: [("/", "ext4"), (str(place / "share"), "nfs"), (str(place), "xfs")])
    assert mounts.filesystem_type(place / "share" / "a.duckdb") == "nfs"
    assert mounts.filesystem_type(place / "shared.duckdb") == "xfs"
    assert mounts.filesystem_type(Path("/")) == "ext4"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse", "9p"])
def test_file_systems_of_other_machines_are_known(kind: str) -> None:
    assert mounts.is_network(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "apfs", "zfs", ""])
def test_local_file_systems_are_no_network(kind: str) -> None:
    assert not mounts.is_network(kind)
