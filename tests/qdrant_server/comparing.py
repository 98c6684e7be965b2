"""Comparing an answer with the recorded one: what has to be equal, and what may differ because it is of its moment or machine."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qdrant_server.asking import Answer
from qdrant_server.recordings import Exchange

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d")
_PEER = re.compile(r"(?<![\d.])\d{13,20}(?!\d)")
_RANDOM = re.compile(r"(?<=-recovery-)\w{6,8}|(?<=-arc-)\w{6,8}")
_ORDER = re.compile(r"(?<=of shard )\d+(?= has state)")  # which shard comes first is open
_PORT = re.compile(r"127\.0\.0\.1:\d{4,5}")
_INSIDE = re.compile(
    r"(?<=with existing collection: ).*|(?<=Service internal error: ).*(?=No space left on device)"
    r"|(?<=invalid_sha256_hash ).*(?=\])",
    re.DOTALL,
)


def plain(text: str, root: str = "") -> str:
    """A text without what is of its moment or machine: ids made up, times in names, ports, the storage's place."""
    if root:
        text = text.replace(root, "/qdrant")
    for pattern, name in (
        (_UUID, "<uuid>"),
        (_MOMENT, "<moment>"),
        (_PEER, "<peer>"),
        (_RANDOM, "<random>"),
        (_INSIDE, "<inside>"),
        (_ORDER, "<shard>"),
    ):
        text = pattern.sub(name, text)
    return _PORT.sub("127.0.0.1:<port>", text)


def _number(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _is_manifest(found: object) -> bool:
    """Whether it is a snapshot manifest: which files there are, and at which version, is the engine's affair."""
    return isinstance(found, dict) and all(
        _UUID.fullmatch(segment)
        and entry["segment_id"] == segment
        and _number(entry["segment_version"])
        and all(version is None or _number(version) for version in entry["file_versions"].values())
        for segment, entry in found.items()
    )


_RULES: tuple[tuple[str, Callable[[object], bool]], ...] = (
    (r"time", _number),
    (r".*\.size", lambda found: _number(found) and found != 0),
    (r".*\.checksum", lambda found: isinstance(found, str) and bool(_SHA256.fullmatch(found))),
    (r".*\.creation_time", lambda found: bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", str(found)))),
    # counters of the server's inside, and how far its optimizer has come
    (r".*\.operation_id|.*\.points\[\d+\]\.version", _number),
    (r".*\.segments_count|.*\.indexed_vectors_count", _number),
    (r"result\.raft_info\..*", lambda _: True),
    (r".*\.last_update", lambda found: isinstance(found, str)),
    (r"result\.message_send_failures", lambda found: isinstance(found, dict)),
    (r"commit", lambda found: isinstance(found, str)),
)
"""What is compared by its shape alone: path in the JSON, and what it has to be."""

_COLORS = ("green", "yellow", "grey")
"""States of a collection: how far its optimizer has come."""

_UNORDERED = re.compile(r"result\.(aliases|shard_keys|remote_shards|collections)|result")
"""Lists whose order means nothing."""


def _metrics(recorded: str, found: str) -> Iterator[str]:
    """Each recorded line on snapshots has to be there; a server tells much more, of its moment and machine."""
    for line in set(recorded.splitlines()) - set(found.splitlines()):
        if re.match(r"(# (HELP|TYPE) )?snapshot_", line):
            yield f"metric missing: {line}"


def _twins_sorted(points: list[Any]) -> list[Any]:
    """Points in their order, but those of one id (on two shards that share a key), whose order is open."""
    groups = (list(group) for _, group in itertools.groupby(points, key=lambda point: point["id"]))
    return [point for group in groups for point in sorted(group, key=lambda point: json.dumps(point, sort_keys=True))]


class Comparison:
    """Compares answers of one replay with the recorded ones.

    Args:
        root: folder of the server that is `/qdrant` in the recordings.
        peers: peer id to a name for it, of both servers.
    """

    def __init__(self, root: str, peers: Mapping[int, str] | None = None) -> None:
        self._root = root
        self.peers: dict[int, str] = dict(peers or {})

    def differences(self, exchange: Exchange, answer: Answer) -> list[str]:
        """What is not as recorded; empty: all is."""
        if answer.status != exchange.status:
            return [f"status {answer.status} instead of {exchange.status}: {answer.content[:300]!r}"]
        return [*self._headers(exchange, answer), *self._body(exchange, answer)]

    def _headers(self, exchange: Exchange, answer: Answer) -> Iterator[str]:
        recorded = exchange.response.get("headers")
        if recorded is None:
            return
        whole = "date" in recorded  # else length and type are all that was written down
        for name in ("content-type", "accept-ranges", "content-disposition", "content-encoding")[
            : None if whole else 1
        ]:
            if self._plain(recorded.get(name)) != self._plain(answer.headers.get(name)):
                yield f"header {name}: {answer.headers.get(name)!r} instead of {recorded.get(name)!r}"
        for name in ("content-length", "transfer-encoding", "etag", "last-modified", "content-range")[
            : None if whole else 1
        ]:
            if (name in recorded) != (name in answer.headers):
                yield f"header {name} is {'missing' if name in recorded else 'too many'}"

    def _body(self, exchange: Exchange, answer: Answer) -> Iterator[str]:
        recorded = exchange.response
        if "json" in recorded:
            try:
                found = json.loads(answer.content)
            except ValueError:
                yield f"no JSON: {answer.content[:200]!r}"
                return
            yield from self._values(recorded["json"], found, "")
        elif "text" in recorded and "\0" not in recorded["text"]:
            if exchange.path == "/metrics":
                yield from _metrics(recorded["text"], answer.text)
            elif self._plain(recorded["text"]) != self._plain(answer.text):
                yield f"text {answer.text[:300]!r} instead of {recorded['text'][:300]!r}"
        elif recorded.get("bytes") == 0 and answer.content:
            yield f"a body where there was none: {answer.content[:100]!r}"

    def _plain(self, text: str | None) -> str | None:
        return None if text is None else plain(text, self._root)

    def _values(self, expected: Any, found: Any, at: str) -> Iterator[str]:
        if at == "result.status" and expected in _COLORS:
            expected = found if found in _COLORS else expected
        rule = next((check for pattern, check in _RULES if re.fullmatch(pattern, at)), None)
        if rule is not None:
            if not rule(found):
                yield f"{at}: {found!r} where {expected!r} was"
        elif at == "result" and _is_manifest(expected) and expected:
            if not _is_manifest(found) or not found:
                yield f"no manifest: {str(found)[:200]}"
        elif isinstance(expected, dict) and isinstance(found, dict):
            yield from self._fields(expected, found, at)
        elif isinstance(expected, list) and isinstance(found, list):
            yield from self._items(expected, found, at)
        elif not self._same(expected, found, at):
            yield f"{at}: {str(found)[:400]} instead of {str(expected)[:400]}"

    def _fields(self, expected: dict[str, Any], found: dict[str, Any], at: str) -> Iterator[str]:
        names = {self._key(name): name for name in expected}
        others = {self._key(name): name for name in found}
        for name in names.keys() ^ (others.keys() - {"usage"}):
            yield f"{at}.{name} is {'missing' if name in names else 'too many'}"
        for name in names.keys() & others.keys():
            yield from self._values(expected[names[name]], found[others[name]], f"{at}.{name}".lstrip("."))

    def _items(self, expected: list[Any], found: list[Any], at: str) -> Iterator[str]:
        if len(expected) != len(found):
            yield f"{at}: {len(found)} items instead of {len(expected)}: {str(found)[:300]}"
            return
        if _UNORDERED.fullmatch(at):
            expected, found = sorted(expected, key=self._sorting), sorted(found, key=self._sorting)
        elif at == "result.points":
            expected, found = _twins_sorted(expected), _twins_sorted(found)
        for place, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from self._values(one, other, f"{at}[{place}]")

    def _sorting(self, item: Any) -> str:
        named = {int(number): name for number, name in self.peers.items()}
        text = json.dumps(item, sort_keys=True)
        return plain(_PEER.sub(lambda match: named.get(int(match[0]), match[0]), text), self._root)

    def _key(self, name: str) -> str:
        return self.peers.get(int(name), name) if name.isdigit() else plain(name, self._root)

    def _same(self, expected: Any, found: Any, at: str) -> bool:
        if at.endswith("peer_id"):
            return self.peers.get(expected) == self.peers.get(found) and isinstance(found, int)
        if at.endswith("score"):
            return _number(found) and abs(expected - found) < 1e-3
        if isinstance(expected, str) and isinstance(found, str):
            return plain(expected, self._root) == plain(found, self._root)
        return type(expected) is type(found) and bool(expected == found)
