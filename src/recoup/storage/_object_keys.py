"""Keys as object stores take them: any name that a file can have, told apart from every other.

Stores, and the XML of their listings, refuse control characters; some take a backslash for a slash; a name need not be UTF-8.
Such bytes are written as `%0A`, `%5C`, `%FF`; all else stays readable. A `%` is escaped only where it would be mistaken for
one of these, so that every stored key means one key and keys that other programs made are found under their own name.
"""

import re

from recoup.errors import StorageError
from recoup.model.names import checked_relative, shown

_LONGEST = 1024
"""Bytes of a key (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)."""

_UNSAFE = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff\ufffe\uffff]")
_CODE = "(?:[01][0-9A-F]|7F|5C|[89A-F][0-9A-F])"
_MISTAKEN = re.compile(f"%(?=(?:25)*{_CODE})")
_ESCAPED = re.compile(f"%25(?=(?:25)*{_CODE})|(?:%{_CODE})+")


def escaped(key: str) -> str:
    """A key as it is stored."""
    return _UNSAFE.sub(_codes, _MISTAKEN.sub("%25", key))


def _codes(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def unescaped(stored: str) -> str:
    """The key that is stored under a name; the opposite of `escaped`."""
    return _ESCAPED.sub(_characters, stored)


def _characters(found: re.Match[str]) -> str:
    if found[0] == "%25":
        return "%"
    text = bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")
    return "".join(c if _UNSAFE.match(c) else c.encode().decode("ascii", "surrogateescape") for c in text)


class Keys:
    """Keys below a prefix of a bucket.

    Args:
        prefix: what all keys begin with, without slashes at its ends; may be empty.
    """

    def __init__(self, prefix: str) -> None:
        self._base = f"{prefix}/" if prefix else ""

    def stored(self, key: str) -> str:
        """The object's name for a key.

        Raises:
            UnsafePathError: it is no relative path.
            StorageError: it is too long for an object store.
        """
        name = self._base + escaped(checked_relative(key))
        if len(name.encode()) > _LONGEST:
            raise StorageError(
                f"the name {shown(key)[:120]}... has more than {_LONGEST} bytes, which no object store takes",
                "Choose `pack: tar.zst` for the repository: folders are stored as one archive then.",
            )
        return name

    def below(self, prefix: str) -> str:
        """What the names of all objects below `prefix` begin with; a slash follows unless it is empty."""
        return self.stored(prefix) if prefix else self._base.removesuffix("/")

    def key(self, stored: str) -> str:
        """The key of an object's name."""
        return unescaped(stored.removeprefix(self._base))
