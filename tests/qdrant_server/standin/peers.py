"""What the nodes of a cluster ask each other, over the paths `/internal/...` of their HTTP interface."""

import http.client
import json
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import quote, urlsplit

from qdrant_server.standin.errors import Refused

_PATIENCE = 30.0


class Unreachable(Exception):  # noqa: N818 - a state of things
    """Another node does not answer."""


def ask(url: str, path: str, body: object, key: str = "", patience: float = _PATIENCE) -> Any:
    """Asks another node.

    Args:
        url: its base URL.
        path: below `/internal/`.
        body: JSON.
        key: the cluster's full key.
        patience: seconds.

    Raises:
        Unreachable: it does not answer.
        Refused: it does not want to.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=patience)
    try:
        connection.request("POST", f"/internal/{path}", json.dumps(body), _headers(key))
        answer = connection.getresponse()
        data = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{url}: {error}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise Refused(answer.status, data["status"]["error"])
    return data["result"]


def shard_path(collection: str, shard: int, verb: str) -> str:
    """Path of what is asked of one shard."""
    return f"shard/{quote(collection, safe='')}/{shard}/{verb}"


def fetch(url: str, path: str, body: object, key: str, target: IO[bytes]) -> Mapping[str, str]:
    """Writes what another node sends into a file; the arguments and errors are those of `ask`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE)
    try:
        connection.request("POST", f"/internal/{path}", json.dumps(body), _headers(key))
        answer = connection.getresponse()
        if answer.status != 200:
            raise Unreachable(f"{url}: {answer.status}")
        while data := answer.read(1 << 20):
            target.write(data)
        return dict(answer.headers)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{url}: {error}") from None
    finally:
        connection.close()


def _headers(key: str) -> dict[str, str]:
    return {"Content-Type": "application/json"} | ({"api-key": key} if key else {})
