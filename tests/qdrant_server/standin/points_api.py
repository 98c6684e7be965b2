"""Points over HTTP."""

from collections.abc import Mapping
from typing import Any

from qdrant_server.standin.answers import Request, Result
from qdrant_server.standin.collections_api import changed
from qdrant_server.standin.errors import Refused, not_found
from qdrant_server.standin.node import Node
from qdrant_server.standin.points import Points


def upsert(node: Node, request: Request) -> Result:
    points = Points(node, request.collection)
    body = request.json()
    listed = _listed(body)
    if not listed:
        raise Refused(400, "Bad request: Empty update request")
    return changed(request, points.upsert(listed, body.get("shard_key")))


def _listed(body: Mapping[str, Any]) -> list[Any]:
    """The points of either form: one after another, or their parts side by side."""
    if "points" in body:
        return list(body["points"])
    if "batch" not in body:
        raise Refused(
            400, "Format error in JSON body: data did not match any variant of untagged enum PointInsertOperations"
        )
    batch = body["batch"]
    payloads = batch.get("payloads") or [None] * len(batch["ids"])
    vectors = batch["vectors"]
    if isinstance(vectors, Mapping):
        vectors = [{name: column[at] for name, column in vectors.items()} for at in range(len(batch["ids"]))]
    return [
        {"id": point, "vector": vector, "payload": payload}
        for point, vector, payload in zip(batch["ids"], vectors, payloads, strict=True)
    ]


def retrieve(node: Node, request: Request) -> Result:
    """Points by their ids; without payload where nothing is said, other than `scroll`."""
    return Result(Points(node, request.collection).retrieve({"with_payload": False, **request.json()}))


def get(node: Node, request: Request) -> Result:
    text = request.values["point"]
    point = int(text) if text.isdigit() else text
    found = Points(node, request.collection).retrieve({"ids": [point], "with_vector": True})
    if not found:
        raise not_found(f"Point with id {text} does not exists!")
    return Result(found[0])


def scroll(node: Node, request: Request) -> Result:
    return Result(Points(node, request.collection).scroll(request.json()))


def count(node: Node, request: Request) -> Result:
    return Result({"count": Points(node, request.collection).count(request.json())})


def query(node: Node, request: Request) -> Result:
    return Result({"points": _queried(Points(node, request.collection), request.json())})


def query_batch(node: Node, request: Request) -> Result:
    points = Points(node, request.collection)
    return Result([{"points": _queried(points, search)} for search in request.json()["searches"]])


def search(node: Node, request: Request) -> Result:
    """The older way to ask for neighbours."""
    json = request.json()
    vector = json["vector"]
    named = isinstance(vector, Mapping) and "vector" in vector
    asked = {"query": vector["vector"], "using": vector["name"]} if named else {"query": vector}
    return Result(_queried(Points(node, request.collection), {**json, **asked}))


def _queried(points: Points, json: Mapping[str, Any]) -> list[dict[str, Any]]:
    return points.query(json)


def facet(node: Node, request: Request) -> Result:
    return Result({"hits": Points(node, request.collection).facet(request.json())})


def delete(node: Node, request: Request) -> Result:
    return _change(node, request, "delete")


def set_payload(node: Node, request: Request) -> Result:
    return _change(node, request, "set_payload")


def overwrite_payload(node: Node, request: Request) -> Result:
    return _change(node, request, "overwrite_payload")


def delete_payload(node: Node, request: Request) -> Result:
    return _change(node, request, "delete_payload")


def clear_payload(node: Node, request: Request) -> Result:
    return _change(node, request, "clear_payload")


def update_vectors(node: Node, request: Request) -> Result:
    points = Points(node, request.collection)
    body = request.json()
    return changed(request, points.update_vectors(body["points"], body.get("shard_key")))


def delete_vectors(node: Node, request: Request) -> Result:
    return _change(node, request, "delete_vectors")


def _change(node: Node, request: Request, kind: str) -> Result:
    points = Points(node, request.collection)
    body = request.json()
    change = {"key": None, **body, "kind": kind}
    return changed(request, points.change(change, body.get("shard_key")))
