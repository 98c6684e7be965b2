"""What can go wrong between us and a Qdrant server."""

import contextlib
import json
from collections.abc import Iterator

from recoup.errors import RestoreError, SourceError


class ServerError(SourceError):
    """The server answered with an error.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        text: what the server itself said, shortened.
    """

    def __init__(self, message: str, hint: str = "", status: int = 0, text: str = "") -> None:
        super().__init__(message, hint)
        self.status, self.text = status, text


class UnreachableError(ServerError):
    """Nobody answers there, or the connection broke before the end."""


class SilentError(UnreachableError):
    """It was reached, and sent nothing for too long; what it was asked for may still be done."""


class ForbiddenError(ServerError):
    """The key is missing, wrong, or lacks a right."""


class MissingError(ServerError):
    """What was asked for is not there (404)."""


@contextlib.contextmanager
def restoring() -> Iterator[None]:
    """Turns a server's error into one of a restore."""
    try:
        yield
    except ServerError as error:
        raise RestoreError(error.message, error.hint) from error


def said(data: bytes) -> str:
    """The server's own words: JSON with `status.error`, or plain text."""
    try:
        status = json.loads(data)["status"]
        return str(status["error"] if isinstance(status, dict) else status)
    except (ValueError, KeyError, TypeError, RecursionError):
        return data.decode(errors="replace").strip()
