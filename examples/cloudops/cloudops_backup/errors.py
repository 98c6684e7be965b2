"""What the application is told when something goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import recoup
from recoup.errors import NoSpaceError


class BackupError(Exception):
    """Base of all errors here. The text is for people."""


class NotConfiguredError(BackupError):
    """Something was asked for that the settings leave out."""


class SnapshotNotFoundError(BackupError):
    """There is no snapshot of that name or date."""


class InsufficientSpaceError(BackupError):
    """There is too little space; nothing was written."""


class NotReadyError(BackupError):
    """A restored collection did not become green in time; what was there before still answers."""


@contextmanager
def translated() -> Iterator[None]:
    """Recoup's errors as ours; their hints say what to do."""
    try:
        yield
    except NoSpaceError as error:
        raise InsufficientSpaceError(f"Insufficient disk space: {sentence(error)}") from error
    except recoup.RecoupError as error:
        raise BackupError(sentence(error)) from error


def sentence(error: recoup.RecoupError) -> str:
    """Message and hint."""
    return f"{error.message}. {error.hint}" if error.hint else error.message
