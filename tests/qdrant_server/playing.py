"""Playing a recording to a fresh server: each request again, in its order, with what is of this server put in its place."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qdrant_server.asking import Answer, ask, multipart
from qdrant_server.comparing import Comparison
from qdrant_server.recordings import Exchange, vanishes
from qdrant_server.starting import Started

_PATIENCE = 60.0  # seconds to wait for what comes by itself: indexing, replication, a snapshot made in the background
_CHECKSUM = re.compile(r"(?<=checksum=)(?!0{64})[0-9a-f]{64}")
_AT_ONCE = "three at once"


class Playing:
    """One replay.

    Args:
        nodes: the servers, in the recording's order.
        substitutes: what to send where the recording says only how long it was.
        headers: header fields for a recorded request, with the keys put in.
    """

    def __init__(
        self,
        nodes: Sequence[Started],
        substitutes: Mapping[tuple[str, int], Callable[["Playing"], Any]],
        headers: Callable[[Exchange], Mapping[str, str]],
    ) -> None:
        self.nodes = nodes
        self.answers: dict[tuple[str, int], Answer] = {}
        self.comparison = Comparison(str(nodes[0].folder))
        self._substitutes = substitutes
        self._headers = headers
        self._known: dict[str, str] = {
            "http://127.0.0.1:6333": nodes[0].url,
            "/qdrant/": f"{nodes[0].folder}/",
            "/elsewhere/": f"{self._elsewhere()}/",
        }
        self._names: dict[tuple[int, str], str] = {}
        self._created: dict[int, int] = {}
        self._ahead = 0

    def _elsewhere(self) -> Path:
        """A folder beside the server's with the snapshot that a request names there."""
        folder = self.nodes[0].folder.with_name("elsewhere")
        folder.mkdir(exist_ok=True)
        (folder / "docs-collection.snapshot").touch()
        return folder

    def play(self, exchanges: Sequence[Exchange]) -> Iterator[str]:
        """Plays exchanges and yields what is not as recorded."""
        for at_once, group in groupby(exchanges, lambda exchange: exchange.note.startswith(_AT_ONCE)):
            if at_once:
                yield from self._together(list(group))
            else:
                for exchange in group:
                    yield from self._one(exchange)

    def _one(self, exchange: Exchange) -> Iterator[str]:
        if exchange.creates:
            self._reach_next_second(exchange)
        latest = time.monotonic() + (_PATIENCE if exchange.reads else 0)
        while True:
            answer = self.send(exchange)
            found = self._judged(exchange, answer)
            if not found or time.monotonic() >= latest:
                break
            time.sleep(0.2)
        yield from (f"{exchange}: {difference}" for difference in found)

    def _together(self, exchanges: list[Exchange]) -> Iterator[str]:
        self._reach_next_second(exchanges[0])
        with ThreadPoolExecutor(len(exchanges)) as pool:
            for exchange, answer in zip(exchanges, pool.map(self.send, exchanges), strict=True):
                yield from (f"{exchange}: {difference}" for difference in self._judged(exchange, answer))

    def _reach_next_second(self, exchange: Exchange) -> None:
        """Names have the second of their creation: within the same one, the later snapshot takes the earlier one's place.

        A snapshot of everything makes one of each collection, too, and moves it away. A real server's clock is waited for; the
        stand-in's is put forward.
        """
        server = self.server(exchange)
        if not server.real:
            self._ahead += 1
            server.faults.set(clock_ahead=self._ahead)
            return
        while int(time.time()) == self._created.get(exchange.node):
            time.sleep(0.02)
        self._created[exchange.node] = int(time.time())

    def server(self, exchange: Exchange) -> Started:
        """The node that a request goes to."""
        return self.nodes[exchange.node]

    def send(self, exchange: Exchange) -> Answer:
        """Sends a recorded request to its node."""
        path = self._here(exchange.path, exchange).replace(
            "/collections/..", "/"
        )  # as the recording's client resolved it
        body, headers = None, dict(self._headers(exchange))
        if exchange.uploads:
            ((field, (name, _)),) = exchange.request["multipart"].items()
            data = self._substitutes[exchange.recording, exchange.number](self)
            path = _CHECKSUM.sub(sha256(data).hexdigest(), path)
            body, headers["Content-Type"] = multipart(field, name, data)
        elif "json" in exchange.request:
            substitute = self._substitutes.get((exchange.recording, exchange.number))
            value = exchange.request["json"] if substitute is None else substitute(self)
            body, headers["Content-Type"] = (
                self._here(json.dumps(value, separators=(",", ":")), exchange).encode(),
                "application/json",
            )
        answer = ask(self.server(exchange).url, exchange.method, path, headers, body)
        self.answers[exchange.recording, exchange.number] = answer
        return answer

    def _here(self, text: str, exchange: Exchange) -> str:
        """A recorded text with names, checksums, peers and places of this server."""
        own = {name: actual for (node, name), actual in self._names.items() if node == exchange.node}
        others = {name: actual for (node, name), actual in self._names.items() if node != exchange.node}
        for recorded, actual in (others | own | self._known).items():
            text = text.replace(recorded, actual).replace(quote(recorded, safe=""), quote(actual, safe=""))
        return text

    def _judged(self, exchange: Exchange, answer: Answer) -> list[str]:
        self._learn(exchange, answer)
        found = self.comparison.differences(exchange, answer)
        expected = self._known.get(exchange.response.get("sha256", ""))
        if expected is not None and sha256(answer.content).hexdigest() != expected:
            found.append("the bytes are not those whose checksum was told at the creation")
        return found

    def _learn(self, exchange: Exchange, answer: Answer) -> None:
        """Which name, checksum and peer of this server stand for the recorded ones."""
        recorded, found = _result(exchange.response.get("json")), _result(_parsed(answer.content))
        if "peer_id" in recorded and "peer_id" in found:
            self.comparison.peers[recorded["peer_id"]] = self.comparison.peers[found["peer_id"]] = (
                f"node {exchange.node}"
            )
            self._known[str(recorded["peer_id"])] = str(found["peer_id"])
        if exchange.creates and "name" in recorded and "name" in found:
            earlier = self._names.get((exchange.node, recorded["name"]), found["name"])
            if earlier != found["name"]:
                self._remove(exchange, earlier)
            self._names[exchange.node, recorded["name"]] = found["name"]
            if "checksum" in recorded and "checksum" in found:
                self._known[recorded["checksum"]] = found["checksum"]
            if vanishes(exchange):
                self._remove(exchange, found["name"])

    def _remove(self, exchange: Exchange, name: str) -> None:
        """Deletes a snapshot that was not there any more when recorded: it vanished, or one of its second took its place."""
        folder = exchange.path.partition("?")[0]
        self.server(exchange).ask("DELETE", f"{folder}/{quote(name, safe='')}", wait="true")


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _result(document: Any) -> dict[str, Any]:
    result = document.get("result") if isinstance(document, dict) else None
    return result if isinstance(result, dict) else {}
