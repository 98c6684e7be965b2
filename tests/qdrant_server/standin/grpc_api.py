"""The gRPC interface of the stand-in: scroll, upsert, count and the health check, by qdrant-client's own servicer classes.

Each call is put to the HTTP interface of the same server, so that both answer alike and demand the same keys.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import grpc
import httpx
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http import models

from qdrant_server.standin.settings import COMMIT, VERSION

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
_ORDERINGS = {0: "weak", 1: "medium", 2: "strong"}


class Points(messages.PointsServicer):  # type: ignore[misc] # generated without types
    """Reading and writing points.

    Args:
        http: asks the HTTP interface of the same server, without a key of its own.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def Scroll(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 # names are the protocol's
        """One page of points in the order of their ids."""
        body = _selection(request) | {"limit": request.limit if request.HasField("limit") else 10}
        if request.HasField("offset"):
            body["offset"] = GrpcToRest.convert_point_id(request.offset)
        if request.HasField("with_payload"):
            body["with_payload"] = _json(GrpcToRest.convert_with_payload_interface(request.with_payload))
        if request.HasField("with_vectors"):
            body["with_vector"] = GrpcToRest.convert_with_vectors_selector(request.with_vectors)
        answer = self._ask(context, "POST", f"{_path(request)}/scroll", body)
        next_page = answer["result"]["next_page_offset"]
        return messages.ScrollResponse(
            result=[
                RestToGrpc.convert_record(models.Record.model_validate(found | {"payload": found.get("payload") or {}}))
                for found in answer["result"]["points"]
            ],
            next_page_offset=None if next_page is None else RestToGrpc.convert_extended_point_id(next_page),
            time=answer["time"],
        )

    def Upsert(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Writes whole points."""
        body: dict[str, Any] = {"points": [_json(GrpcToRest.convert_point_struct(point)) for point in request.points]}
        if request.HasField("shard_key_selector"):
            body["shard_key"] = _json(GrpcToRest.convert_shard_key_selector(request.shard_key_selector))
        parameters = {"wait": str(request.wait).lower(), "ordering": _ORDERINGS[request.ordering.type]}
        answer = self._ask(context, "PUT", _path(request), body, parameters)
        result = answer["result"]
        status = (
            messages.UpdateStatus.Completed if result["status"] == "completed" else messages.UpdateStatus.Acknowledged
        )
        return messages.PointsOperationResponse(
            result=messages.UpdateResult(operation_id=result["operation_id"], status=status), time=answer["time"]
        )

    def Count(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """How many points there are."""
        exact = request.exact if request.HasField("exact") else True
        answer = self._ask(context, "POST", f"{_path(request)}/count", _selection(request) | {"exact": exact})
        return messages.CountResponse(result=messages.CountResult(count=answer["result"]["count"]), time=answer["time"])

    def _ask(
        self,
        context: grpc.ServicerContext,
        method: str,
        path: str,
        body: object,
        parameters: Mapping[str, str] | None = None,
    ) -> Any:
        answer = self._http.request(method, path, json=body, params=parameters, headers=_key(context))
        if not answer.is_success:
            context.abort(_CODES.get(answer.status_code, grpc.StatusCode.UNKNOWN), _message(answer))
        return answer.json()


class Root(messages.QdrantServicer):  # type: ignore[misc] # generated without types
    """What a client asks when it connects; as over HTTP, without any key."""

    def HealthCheck(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Title and version."""
        return messages.HealthCheckReply(title="qdrant - vector search engine", version=VERSION, commit=COMMIT)


def _path(request: Any) -> str:
    return f"/collections/{quote(request.collection_name, safe='')}/points"


def _selection(request: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if request.HasField("filter"):
        chosen["filter"] = _json(GrpcToRest.convert_filter(request.filter))
    if request.HasField("shard_key_selector"):
        chosen["shard_key"] = _json(GrpcToRest.convert_shard_key_selector(request.shard_key_selector))
    return chosen


def _json(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_none=True) if hasattr(value, "model_dump") else value


def _key(context: grpc.ServicerContext) -> dict[str, str]:
    sent = dict(context.invocation_metadata())
    return {name: str(sent[name]) for name in ("api-key", "authorization") if name in sent}


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["status"]["error"])
    except (ValueError, TypeError, KeyError):
        return answer.text


@contextmanager
def serving(url: str, port: int) -> Iterator[int]:
    """Serves gRPC on the loopback interface for as long as the block lasts.

    Args:
        url: the HTTP interface to ask.
        port: where to listen; 0: anywhere.

    Yields:
        The port.
    """
    with httpx.Client(base_url=url, timeout=None, headers={"Accept-Encoding": "identity"}) as http:
        options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        server = grpc.server(ThreadPoolExecutor(8, "grpc"), options=options)
        messages.add_PointsServicer_to_server(Points(http), server)
        messages.add_QdrantServicer_to_server(Root(), server)
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        try:
            yield bound
        finally:
            server.stop(grace=1).wait()
