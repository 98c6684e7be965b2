"""What a person reads when something goes wrong, and the exit code that goes with it."""

import os
from typing import TYPE_CHECKING, Protocol

from recoup.cli._terminal import discard_stdout
from recoup.errors import ExitCode, InterruptedRunError, RecoupError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from recoup.model.secrets import Masker


class Listener(Protocol):
    """Who is told: what this room needs of a session."""

    verbose: int

    @property
    def masker(self) -> "Masker":
        """Takes secrets out."""
        ...

    @property
    def err(self) -> "Console":
        """For people."""
        ...

    def result(self, kind: str, value: object) -> None:
        """For machines."""
        ...


def explain(now: Listener, error: BaseException) -> ExitCode:
    """Says what happened and what to do, on stderr and, with --json, as a line of type `error` on stdout."""
    told = as_told(error)
    message, hint = now.masker(told.message), now.masker(told.hint)
    try:
        now.result("error", {"message": message, "hint": hint, "exit_code": int(told.exit_code)})
    except OSError:  # stdout is what is broken
        discard_stdout()
    now.err.print(f"Error: {message}", style="bold red", markup=False, soft_wrap=True)
    if hint:
        now.err.print(f"Hint: {hint}", markup=False, soft_wrap=True)
    if now.verbose > 1 or os.environ.get("RECOUP_TRACEBACK"):
        import traceback

        text = "".join(traceback.format_exception(error))
        now.err.print(now.masker(text), markup=False, soft_wrap=True)
    return told.exit_code


def as_told(error: BaseException) -> RecoupError:
    """Any error as one that speaks to a person."""
    if isinstance(error, RecoupError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError(
            "interrupted", "What was half done does not count and is tidied up; run it again when you like."
        )
    if hasattr(error, "format_message"):  # Typer's own, whose class is not public
        return _usage(error)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return RecoupError(f"{error.strerror or error}{where}", "Check the disk and the permissions.")
    if isinstance(error, MemoryError):
        return RecoupError("there is too little memory", "End other programs, or use a machine with more.")
    return RecoupError(
        f"this is a bug in Recoup: {type(error).__name__}: {error}",
        "Run it again with -vv (or RECOUP_TRACEBACK=1) and report what it prints.",
    )


def _usage(error: BaseException) -> UsageError:
    message = str(error.format_message())  # type: ignore[attr-defined] # asked before
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "recoup"
    return UsageError(message, f"`{command} --help` shows what can be given.")
