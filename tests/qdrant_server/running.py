"""A running Qdrant server as the tests see it: what to ask, how to empty it, how to end it."""

import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from qdrant_server.choosing import Keys

PATIENCE = 60.0
"""Seconds that an answer or a start may take on a loaded machine."""


class Faults:
    """The faults of a stand-in, switched over its admin port; `standin/faults.py` says which there are."""

    def __init__(self, url: str) -> None:
        self._url = url

    def set(self, **settings: object) -> None:
        """Switches on what is named, beside what is on already."""
        httpx.post(f"{self._url}/faults", json=settings, timeout=PATIENCE).raise_for_status()

    def clear(self) -> None:
        """Switches all off."""
        httpx.delete(f"{self._url}/faults", timeout=PATIENCE).raise_for_status()


class Qdrant:
    """One running server.

    Attributes:
        url: base URL of its HTTP interface, without a slash at the end.
        keys: what it demands.
        real: whether it is Qdrant itself.
    """

    def __init__(self, url: str, grpc_port: int, keys: Keys, *, real: bool) -> None:
        self.url = url
        self._grpc_port = grpc_port
        self.keys = keys
        self.real = real
        headers = {"Accept-Encoding": "identity"} | ({"api-key": keys.full} if keys.full else {})
        self.http = httpx.Client(base_url=url, headers=headers, timeout=PATIENCE)

    @property
    def api_key(self) -> str:
        """The key that may do everything; empty where none is needed."""
        return self.keys.full

    @property
    def read_only_key(self) -> str:
        """The key that may only read; empty where none is needed."""
        return self.keys.read_only

    def token(self, access: object, *, expires: int | None = None) -> str:
        """A JSON Web Token that this server accepts; see `Keys.token`."""
        return self.keys.token(access, expires=expires)

    @property
    def grpc_port(self) -> int:
        """Port of its gRPC interface; where it is just starting, waits until somebody listens there."""
        latest = time.monotonic() + PATIENCE
        while time.monotonic() < latest:
            with socket.socket() as probe:
                if not probe.connect_ex((urlsplit(self.url).hostname or "", self._grpc_port)):
                    return self._grpc_port
            time.sleep(0.05)
        raise RuntimeError(f"nobody listens for gRPC at port {self._grpc_port} of the server at {self.url}")

    @property
    def faults(self) -> Faults:
        """Its switches; a test that asks for them is skipped where the server has none."""
        pytest.skip("faults can be switched on in the stand-in alone")

    @property
    def snapshots(self) -> Path:
        """Its snapshots folder; a test that asks for it is skipped where that is out of reach."""
        pytest.skip("the folders of a server that was started by somebody else are out of reach")

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        try:
            return self.http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def ask(self, method: str, path: str, body: object = None, **parameters: Any) -> Any:
        """The `result` of a JSON exchange.

        Raises:
            AssertionError: the server refused; its words are in the message.
        """
        answer = self.http.request(method, path, json=body, params=parameters)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json().get("result")

    def collections(self) -> list[str]:
        """Names of its collections."""
        return [entry["name"] for entry in self.ask("GET", "/collections")["collections"]]

    def clean(self) -> None:
        """Removes all aliases, collections and snapshots."""
        for entry in self.ask("GET", "/aliases")["aliases"]:
            drop = {"delete_alias": {"alias_name": entry["alias_name"]}}
            self.ask("POST", "/collections/aliases", {"actions": [drop]})
        self.drop_snapshots()
        for name in self.collections():
            self.ask("DELETE", f"/collections/{quote(name, safe='')}")

    def drop_snapshots(self) -> None:
        """Removes the snapshots that this node lists: of itself, of its collections and of their shards."""
        folders = ["/snapshots"]
        for name in self.collections():
            path = f"/collections/{quote(name, safe='')}"
            folders += [
                f"{path}/snapshots",
                *(f"{path}/shards/{shard}/snapshots" for shard in self._local_shards(path)),
            ]
        for folder in folders:
            for entry in self.ask("GET", folder):
                self.http.delete(f"{folder}/{quote(entry['name'], safe='')}")

    def _local_shards(self, path: str) -> list[int]:
        answer = self.http.get(f"{path}/cluster")
        return [shard["shard_id"] for shard in answer.json()["result"]["local_shards"]] if answer.is_success else []

    def close(self) -> None:
        """Gives back what this object holds; the server is not touched."""
        self.http.close()

    def kill(self) -> None:
        """Ends it at once, as a power cut does."""
        pytest.skip("a server that was started by somebody else is not killed")

    def stop(self) -> None:
        """Asks it to end, and waits for that."""
        pytest.skip("a server that was started by somebody else is not stopped")

    def start(self) -> None:
        """Starts it again, on the same storage and ports."""
        pytest.skip("a server that was started by somebody else is not started")

    def restart(self) -> None:
        """Stops it in order and starts it again."""
        self.stop()
        self.start()
