"""Killing a run at its n-th file operation: forked, so that a start is cheap, and with SIGKILL, so that nothing tidies up.

The operations are counted by an audit hook, which Python calls before each of them: what the n-th would do has not happened.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

_CHANGES = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.setxattr",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "recoup.exchange",
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def changes_files(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event announces a change of the file system."""
    if event == "open":
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & _WRITING)
    return event in _CHANGES


def run_killed_at(n: int, function: Callable[[], object]) -> bool:
    """Runs `function` in a forked child that is killed just before its n-th change of the file system (from 1).

    Returns:
        True when the function ended before it came to that.

    Raises:
        AssertionError: the function raised; its traceback is on stderr.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _run(n, function)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status != 0:
        raise AssertionError(f"the run failed by itself before operation {n} (wait status {status})")
    return True


def _run(n: int, function: Callable[[], object]) -> None:
    """The child's whole life."""
    left = n

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if changes_files(event, arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        sys.addaudithook(count)
        function()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may run on into the parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def kill_points(prepare: Callable[[], Callable[[], object]], *, at_most: int = 100_000, step: int = 1) -> Iterator[int]:
    """Runs a function again and again, each time killed one operation later, and yields after each kill.

    Args:
        prepare: makes everything new and returns the function to be killed; called before each run.
        at_most: a run that has more operations than this fails the test.
        step: kills at every `step`-th operation only.

    Yields:
        The number of the operation it was killed at; the last run, which ends by itself, is not yielded.
    """
    for n in range(1, at_most + 1, step):
        if run_killed_at(n, prepare()):
            assert n > 1, "the function changed no file at all"
            return
        yield n
    raise AssertionError(f"no end after {at_most} operations")
