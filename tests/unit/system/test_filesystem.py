import ctypes
import platform
from pathlib import Path

import pytest

from recoup.system import filesystem
from recoup.system.filesystem import WriteBehind

BLOCK = 3 * 1024 * 1024


def test_the_disk_begins_with_each_part_of_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    real = ctypes.CDLL(None, use_errno=True)

    class Listening:
        def sync_file_range(self, descriptor: int, begin: ctypes.c_int64, length: ctypes.c_int64, how: int) -> int:
            asked.append((begin.value, length.value))
            done: int = real.sync_file_range(descriptor, begin, length, how)
            assert done == 0
            return done

    monkeypatch.setattr(filesystem, "_libc", Listening)
    with (tmp_path / "large").open("wb", buffering=0) as file:
        behind = WriteBehind(file.fileno())
        for _ in range(7):
            file.write(bytes(BLOCK))
            behind.written(file.tell())
    expected = [(0, 3 * BLOCK), (3 * BLOCK, 3 * BLOCK)] if platform.system() == "Linux" else []
    assert asked == expected


def test_a_file_that_cannot_be_begun_with_is_left_to_its_sync() -> None:
    WriteBehind(-1).written(100 * BLOCK)
