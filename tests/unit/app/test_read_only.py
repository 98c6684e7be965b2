"""A repository that nobody may write to is read all the same: its disk is mounted read-only after a disaster, say."""

import contextlib
import errno
import json
import os
import platform
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import recoup
from recoup.errors import LockedError, ReadOnlyError, RightError
from recoup.repository.locking import held
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from unit.app.small_application import SOURCES, made

VERBS = """
import json, sys
import recoup
from recoup.errors import RecoupError
from recoup.model.events import Level

news = []
stack = recoup.open("recoup.yaml", environ={}, emit=news.append)
done = {"verified": [bool(report.damage) for report in stack.verify()]}
done["restored"] = [result.error for result in stack.restore(target="back").sources]
done["drilled"] = stack.drill().passed
done["listed"] = len(list(stack.read("latest", "uploads/note")))
done["measured"] = len(stack.stats())
for verb in (stack.backup, lambda: stack.pin("latest"), lambda: stack.delete(stack.plan_delete(["latest"]))):
    try:
        verb()
    except (RecoupError, OSError) as error:
        done.setdefault("refused", []).append(str(error))
print(json.dumps({**done, "told": sorted({one.name for one in news if getattr(one, "level", None) is Level.WARNING})}))
"""


class ReadOnly(MemoryStorage):
    """Takes nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if self.error is not None:
            raise self.error
        super().put(key, data, if_absent=if_absent)


@pytest.mark.skipif(platform.system() != "Linux" or os.geteuid() != 0, reason="a mount needs Linux and root")
@pytest.mark.parametrize(
    "main", ["{path: kept, layout: dedup, key_file: secret}", "{path: kept}"], ids=["dedup", "plain"]
)
def test_everything_that_only_reads_works_on_a_disk_that_is_mounted_read_only(tmp_path: Path, main: str) -> None:
    root = made(tmp_path / "app", f"{SOURCES}  main: {main}\n")
    (root / "secret").write_bytes(os.urandom(32))
    (root / "secret").chmod(0o600)
    stack = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
    stack.create_repositories()
    stack.backup()
    kept = sorted((path, path.stat().st_mtime_ns) for path in (root / "kept").rglob("*"))
    reading = shlex.join([sys.executable, "-c", VERBS])
    script = f"mount --bind kept kept && mount -o remount,ro,bind kept && exec {reading}"
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    done = json.loads(ran.stdout)
    assert done["verified"] == [False]
    assert done["restored"] == ["", ""]
    assert done["drilled"] is True
    assert done["listed"] > 0
    assert done["measured"] == 1
    assert len(done["refused"]) == 3
    assert done["told"] == ["mark_failed", "read_unlocked"]
    assert (root / "back/uploads/note").read_bytes() == (root / "data/uploads/note").read_bytes()
    assert sorted((path, path.stat().st_mtime_ns) for path in (root / "kept").rglob("*")) == kept


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), RightError("the right is missing")])
def test_who_may_not_lock_learns_why_and_whether_somebody_else_writes(error: Exception) -> None:
    storage, clock = ReadOnly(error), SystemClock()
    with (
        pytest.raises(ReadOnlyError, match="the repository cannot be locked: "),
        held(storage, clock, "shared", "look", "a", 0.0),
    ):
        pass
    for mode in ("backup", "exclusive"):
        with pytest.raises(type(error)), held(storage, clock, mode, "prune", "a", 0.0):
            pass
    storage.error = None
    with held(storage, clock, "exclusive", "prune", "b", 0.0):
        storage.error = error
        with pytest.raises(LockedError, match="prune"), held(storage, clock, "shared", "look", "a", 0.0):
            pass


def test_who_may_not_lock_waits_for_somebody_else_who_writes() -> None:
    storage = ReadOnly(OSError(errno.EROFS, "Read-only file system"))
    error, storage.error = storage.error, None
    with contextlib.ExitStack() as other:
        other.enter_context(held(storage, SystemClock(), "exclusive", "prune", "b", 0.0))
        storage.error = error
        leaving = threading.Timer(0.2, other.close)
        leaving.start()
        with pytest.raises(ReadOnlyError), held(storage, SystemClock(), "shared", "look", "a", 30.0):
            pass
        leaving.join()


def test_a_full_disk_is_no_reason_to_read_without_a_lock() -> None:
    storage = ReadOnly(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space"), held(storage, SystemClock(), "shared", "look", "a", 0.0):
        pass
