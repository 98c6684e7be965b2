"""What can go wrong: every error that Recoup raises on purpose, with its hint and exit code.

An error's message says what happened and to what; its `hint` says what to do next. Nothing here may carry a secret:
whoever raises masks first (`recoup.model.secrets`).
"""

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns. Unknown codes are to be treated as failure."""

    OK = 0
    """The verb did all that was asked."""
    FAILED = 1
    """It failed, and nothing usable was written."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    INCOMPLETE = 3
    """Some sources failed or are doubtful; the set is stored and marked so."""
    DAMAGED = 4
    """A verification or a drill found damage."""
    NO_REPOSITORY = 10
    """The repository does not exist."""
    LOCKED = 11
    """Another run holds a lock that is in the way."""
    WRONG_KEY = 12
    """The key does not open the repository."""
    REFUSED = 13
    """Refused for safety: unknown version, broken integrity, unsafe path."""
    SKIPPED = 75
    """A precondition was not met, so the run was skipped."""
    INTERRUPTED = 130
    """Interrupted by the user."""


class RecoupError(Exception):
    """Base of all errors that a person can cause or has to know of.

    Args:
        message: what happened, to what (one sentence, no secret).
        hint: what to do next; empty where nothing sensible can be said.
    """

    exit_code: ExitCode = ExitCode.FAILED
    retryable: bool = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RecoupError):
    """The command line or the configuration asks for something that does not exist or makes no sense."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """The configuration file is wrong; the message carries file, line and key."""


class SourceError(RecoupError):
    """A source cannot be read or captured; the other sources go on."""


class EmptySourceError(SourceError):
    """A source yielded nothing, which is a failure unless `allow_empty` is set."""


class BusyError(RecoupError):
    """The restore target is open in another process."""

    exit_code = ExitCode.REFUSED


class RestoreError(RecoupError):
    """A restore could not be carried out; the target is as it was."""


class HarmedError(RecoupError):
    """A restore failed, and its target is not as it was, because the person had asked for a way that cannot promise it."""


class DamagedError(RecoupError):
    """Stored bytes are not what the manifest says."""

    exit_code = ExitCode.DAMAGED


class NoRepositoryError(RecoupError):
    """There is no repository at the place named."""

    exit_code = ExitCode.NO_REPOSITORY


class NoSuchSetError(UsageError):
    """No backup set answers to the name, prefix or time given."""


class LockedError(RecoupError):
    """Another run holds a lock."""

    exit_code = ExitCode.LOCKED
    retryable = True


class WrongKeyError(RecoupError):
    """The key given does not open the data."""

    exit_code = ExitCode.WRONG_KEY


class NoOpenerError(WrongKeyError):
    """The program that opens the data is not installed here: nothing is known about key or data."""

    exit_code = ExitCode.FAILED


class RefusedError(RecoupError):
    """Refused for safety: an unknown format version, a broken manifest, a rule that would be violated."""

    exit_code = ExitCode.REFUSED


class UnsafePathError(RefusedError):
    """A name or path would lead out of the folder where it belongs."""


class NoSpaceError(RecoupError):
    """There is not enough free space; nothing was written."""


class StorageError(RecoupError):
    """The repository's storage cannot be written or read."""


class RightError(StorageError):
    """A right is missing.

    Args:
        message: what may not be done.
        hint: what to do.
        right: as the provider calls it.
    """

    def __init__(self, message: str, hint: str = "", right: str = "") -> None:
        super().__init__(message, hint)
        self.right = right


class ReadOnlyError(StorageError):
    """Nothing may be written to the repository, not even a lock."""


class WorkersError(RecoupError):
    """The machines that were to share the work cannot be used, or gave it up; what they left is not listed."""


class SkippedError(RecoupError):
    """A precondition was not met; the run was skipped."""

    exit_code = ExitCode.SKIPPED


class InterruptedRunError(RecoupError):
    """The user stopped the run."""

    exit_code = ExitCode.INTERRUPTED


def forbids_writing(error: BaseException) -> bool:
    """Whether it says that nothing may be written: a file system mounted read-only, or a missing right."""
    if isinstance(error, OSError):
        return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
    return isinstance(error, RightError | ReadOnlyError)
