"""What comes in and what goes out over HTTP."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from qdrant_server.standin.errors import Refused
from qdrant_server.standin.rights import Access


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: `GET`, ...
        path: as it came, without the question mark and what follows.
        values: parts of the path that stand for something, decoded.
        query: parameters after the question mark.
        headers: with names in lower case.
        body: what follows, to its end.
        length: length of the body in bytes; None where it comes in chunks.
        access: what the sender may do.
        started: when it came, by the monotonic clock.
    """

    method: str
    path: str
    values: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: BinaryIO
    length: int | None
    access: Access
    started: float = field(default_factory=time.monotonic)

    @property
    def collection(self) -> str:
        return self.values["collection"]

    @property
    def shard(self) -> int:
        """The shard's id.

        Raises:
            Refused: 400.
        """
        text = self.values["shard"]
        if not text.isascii() or not text.isdigit():
            raise Refused(400, f'Deserialize error in path parameters: can not parse "{text}" to a u32', plain=False)
        return int(text)

    @property
    def waits(self) -> bool:
        return self.query.get("wait", "true") != "false"

    def json(self) -> Any:
        """The body.

        Raises:
            Refused: 400.
        """
        data = self.body.read()
        try:
            return json.loads(data or b"{}")
        except ValueError as error:
            raise Refused(400, f"Format error in JSON body: {error}") from None


@dataclass(frozen=True)
class Result:
    """JSON with a result."""

    value: Any


@dataclass(frozen=True)
class Bare:
    """JSON as it is, or text."""

    value: Any
    status: int = 200


@dataclass(frozen=True)
class Accepted:
    """The work goes on after the answer."""


@dataclass(frozen=True)
class Download:
    """A file, of which parts can be asked for; without `ranges` it comes whole and in chunks, as from S3."""

    path: Path
    ranges: bool = True


@dataclass(frozen=True)
class Stream:
    """Bytes of unknown number, in chunks.

    Attributes:
        name: the file name to suggest.
        pieces: the bytes.
    """

    name: str
    pieces: Iterator[bytes]


@dataclass(frozen=True)
class Unchanged:
    """304, followed by text that no answer of this status may have."""

    text: str


Answer = Result | Bare | Accepted | Download | Stream | Unchanged
