"""Lines of SHA256SUMS, exactly as `sha256sum` writes and checks them."""

import re
from collections.abc import Iterator

from recoup.errors import DamagedError
from recoup.model.names import checked_relative

_LINE = re.compile(rb"(\\?)([0-9a-f]{64})  (.+)", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEANING = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


def read(data: bytes) -> Iterator[tuple[str, str]]:
    """Digest and path of each line.

    Raises:
        DamagedError: a line is none.
        UnsafePathError: a path leads out of the set.
    """
    *lines, rest = data.split(b"\n")
    if rest:
        raise DamagedError("SHA256SUMS ends in the middle of a line")
    for text in lines:
        found = _LINE.fullmatch(text)
        if found is None:
            raise DamagedError("SHA256SUMS has a line that is none")
        escaped, digest, name = found.groups()
        path = _ESCAPED.sub(lambda match: _MEANING.get(match[1], match[0]), name) if escaped else name
        yield digest.decode(), checked_relative(path.decode("utf-8", "surrogateescape"))


def line(sha256: str, path: str) -> bytes:
    """One line: digest, two spaces, path; backslash, newline and carriage return are escaped as GNU coreutils does."""
    name = path.encode("utf-8", "surrogateescape")
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    prefix = b"\\" if escaped != name else b""
    return prefix + sha256.encode() + b"  " + escaped + b"\n"
