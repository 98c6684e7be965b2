"""A snapshot as the form that Qdrant's upload endpoints take: `multipart/form-data` with one field, written while it is sent."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

_BLOCK = 1024 * 1024
_BOUNDARY = "recoup-part-of-a-form-5b1f0a7e92"


def snapshot_form(
    content: Path | Iterable[bytes], size: int | None, name: str, passing: Callable[[int], None] | None
) -> tuple[Iterator[bytes], dict[str, str]]:
    """The body and its headers.

    Args:
        content: a file, or its blocks.
        size: bytes of it where known; a file's own by default. Without it the body is sent in chunks.
        name: file name to give.
        passing: is told of every block's length.
    """
    if isinstance(content, Path) and size is None:
        size = content.stat().st_size
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="snapshot"; filename="{quote(name)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    if size is not None:
        headers["Content-Length"] = str(len(head) + size + len(tail))
    return _form(head, content, tail, passing), headers


def _form(
    head: bytes, content: Path | Iterable[bytes], tail: bytes, passing: Callable[[int], None] | None
) -> Iterator[bytes]:
    yield head
    for block in _blocks_of(content) if isinstance(content, Path) else content:
        yield block
        if passing is not None:
            passing(len(block))
    yield tail


def _blocks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            yield block
