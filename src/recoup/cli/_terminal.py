"""Stdout and stderr, as a person or a program has connected them."""

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def prepare() -> None:
    """Makes stdout and stderr take every text: whatever the locale, and also where they were closed."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the life of the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the life of the process
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def flush() -> None:
    """Writes out what is buffered. Whoever reads may have gone away (`recoup list | head -1`): that is no failure.

    Raises:
        OSError: it cannot be written for another reason, such as a full disk.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Lets stdout lead nowhere, so that the rest of a run whose reader went away is done in silence."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def console(*, stderr: bool, color: bool) -> "Console":
    """A Rich console on stdout or stderr that goes on when its reader goes away."""
    from rich.console import Console

    class _Going(Console):
        def on_broken_pipe(self) -> None:  # Rich's own ends the process with 1, whatever the verb has done
            self.quiet = True
            if not stderr:
                discard_stdout()

    return _Going(stderr=stderr, no_color=None if color else True, highlight=False, soft_wrap=False)
