"""One file of a set as an answer, whole or a range of it."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, cast

from fastapi import Response

from recoup.errors import UsageError
from recoup.model.manifest import Manifest
from recoup.model.names import shown
from recoup.operations.contents import split
from recoup.web._attachment import attachment
from recoup.web._ranges import Span, span_of
from recoup.web._set_choice import chosen_stack
from recoup.web._streaming import Blocks, Download, closable

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.operations.contents import Entry
    from recoup.web._site import Site


def taken_out(site: "Site", repository: str, manifest: Manifest, path: str, headers: Mapping[str, str]) -> Response:
    """One file of a set, to be saved. Should it not be what was stored, the connection is broken off before its end.

    Args:
        site: what the pages stand on.
        repository: where the set is; it was looked up.
        manifest: of the set.
        path: in the set, compared with what it has.
        headers: of the request, their names in small letters.

    Raises:
        UsageError: there is no such file.
        DamagedError: it is damaged, and so short that this was seen before the answer began.
    """
    stack = chosen_stack(site, repository)
    found = _file(stack, manifest.name, path)
    tag = _tag(manifest, found.path)
    same = headers.get("if-range", tag) == tag
    span = span_of(headers.get("range", "") if same else "", found.bytes)
    if span is None:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{found.bytes}"})
    blocks = Blocks(closable(stack.read(manifest.name, found.path, span.first, span.last)), span.length)
    return Download(blocks, _headers(found, span, tag), 206 if span.partial else 200)


def _file(stack: "Stack", name: str, path: str) -> "Entry":
    """The file that a path leads to.

    Raises:
        UsageError: it leads to none.
    """
    wanted = "/".join(step for step in split(path) if step)
    entries = cast("Generator[Entry]", stack.entries(name, wanted))
    with closing(entries):
        first = next(entries, None)
    if first is None or first.path != wanted or first.kind not in ("stream", "file"):
        raise UsageError(f"{shown(path)} is no file of {name}", "Look inside the set: files have a download each.")
    return first


def _tag(manifest: Manifest, path: str) -> str:
    """Names a file for browsers that go on with a download that was interrupted (`ETag`). A set never changes."""
    digest = hashlib.sha256(f"{manifest.id}\0".encode() + path.encode("utf-8", "surrogateescape")).hexdigest()
    return f'"{digest[:32]}"'


def _headers(found: "Entry", span: Span, tag: str) -> dict[str, str]:
    """Of an answer with a file."""
    made = {**attachment(found.path), "Content-Length": str(span.length), "Accept-Ranges": "bytes", "ETag": tag}
    if span.partial:
        made["Content-Range"] = f"bytes {span.first}-{span.last}/{span.size}"
    return made
