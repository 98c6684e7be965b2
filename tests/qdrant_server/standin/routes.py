"""Which path leads where, and what it demands."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from qdrant_server.standin import (
    cluster_api,
    collections_api,
    points_api,
    recovering,
    service_api,
    snapshots_api,
)
from qdrant_server.standin.answers import Answer, Request
from qdrant_server.standin.node import Node
from qdrant_server.standin.rights import Need

Handler = Callable[[Node, Request], Answer]

_C = "/collections/{collection}"
_S = _C + "/shards/{shard}"
_P = _C + "/points"


@dataclass(frozen=True)
class Route:
    """One call.

    Attributes:
        handler: does it.
        need: what its sender has to be allowed.
        plain: whether its errors are plain text, as those of downloads and streams.
        plain_rights: whether at least the refusal for want of rights is plain text, as that of uploads.
    """

    method: str
    template: str
    handler: Handler
    need: Need
    plain: bool = False
    plain_rights: bool = False


_ROUTES = [
    Route("GET", "/", service_api.root, Need.NOTHING),
    Route("GET", "/healthz", service_api.healthy, Need.NOTHING),
    Route("GET", "/livez", service_api.healthy, Need.NOTHING),
    Route("GET", "/readyz", service_api.ready, Need.NOTHING),
    Route("GET", "/metrics", service_api.metrics, Need.GLOBAL),
    Route("GET", "/cluster", cluster_api.status, Need.GLOBAL),
    Route("GET", "/collections", collections_api.listed, Need.LOOK),
    Route("GET", "/aliases", collections_api.aliases, Need.LOOK),
    Route("POST", "/collections/aliases", collections_api.change_aliases, Need.MANAGE),
    Route("GET", _C, collections_api.info, Need.POINTS),
    Route("PUT", _C, collections_api.create, Need.MANAGE),
    Route("PATCH", _C, collections_api.update, Need.MANAGE),
    Route("DELETE", _C, collections_api.delete, Need.MANAGE),
    Route("GET", f"{_C}/exists", collections_api.exists, Need.POINTS),
    Route("GET", f"{_C}/aliases", collections_api.aliases_of, Need.POINTS),
    Route("GET", f"{_C}/cluster", collections_api.cluster_info, Need.READ),
    Route("GET", f"{_C}/shards", collections_api.shard_keys, Need.READ),
    Route("PUT", f"{_C}/shards", collections_api.create_shard_key, Need.MANAGE),
    Route("POST", f"{_C}/shards/delete", collections_api.delete_shard_key, Need.MANAGE),
    Route("PUT", f"{_C}/index", collections_api.create_index, Need.WRITE),
    Route("DELETE", f"{_C}/index/{{field}}", collections_api.delete_index, Need.WRITE),
    Route("PUT", _P, points_api.upsert, Need.WRITE_POINTS),
    Route("POST", _P, points_api.retrieve, Need.POINTS),
    Route("GET", f"{_P}/{{point}}", points_api.get, Need.POINTS),
    Route("POST", f"{_P}/scroll", points_api.scroll, Need.POINTS),
    Route("POST", f"{_P}/count", points_api.count, Need.POINTS),
    Route("POST", f"{_P}/query", points_api.query, Need.POINTS),
    Route("POST", f"{_P}/query/batch", points_api.query_batch, Need.POINTS),
    Route("POST", f"{_P}/search", points_api.search, Need.POINTS),
    Route("POST", f"{_C}/facet", points_api.facet, Need.POINTS),
    Route("POST", f"{_P}/delete", points_api.delete, Need.WRITE_POINTS),
    Route("POST", f"{_P}/payload", points_api.set_payload, Need.WRITE_POINTS),
    Route("PUT", f"{_P}/payload", points_api.overwrite_payload, Need.WRITE_POINTS),
    Route("POST", f"{_P}/payload/delete", points_api.delete_payload, Need.WRITE_POINTS),
    Route("POST", f"{_P}/payload/clear", points_api.clear_payload, Need.WRITE_POINTS),
    Route("PUT", f"{_P}/vectors", points_api.update_vectors, Need.WRITE_POINTS),
    Route("POST", f"{_P}/vectors/delete", points_api.delete_vectors, Need.WRITE_POINTS),
    Route("GET", f"{_C}/snapshots", snapshots_api.listed, Need.READ),
    Route("POST", f"{_C}/snapshots", snapshots_api.create, Need.WRITE),
    Route("PUT", f"{_C}/snapshots/recover", recovering.recover, Need.MANAGE),
    Route("POST", f"{_C}/snapshots/upload", recovering.upload, Need.MANAGE, plain_rights=True),
    Route("GET", f"{_C}/snapshots/{{name}}", snapshots_api.download, Need.READ, plain=True),
    Route("DELETE", f"{_C}/snapshots/{{name}}", snapshots_api.delete, Need.WRITE),
    Route("GET", f"{_S}/snapshots", snapshots_api.listed_of_shard, Need.READ),
    Route("POST", f"{_S}/snapshots", snapshots_api.create_of_shard, Need.WRITE),
    Route("PUT", f"{_S}/snapshots/recover", recovering.recover_shard, Need.MANAGE),
    Route("POST", f"{_S}/snapshots/upload", recovering.upload_shard, Need.MANAGE),
    Route("GET", f"{_S}/snapshots/{{name}}", snapshots_api.download_of_shard, Need.READ, plain=True),
    Route("DELETE", f"{_S}/snapshots/{{name}}", snapshots_api.delete_of_shard, Need.WRITE),
    Route("GET", f"{_S}/snapshot", snapshots_api.stream, Need.WRITE, plain=True),
    Route("GET", f"{_S}/snapshot/partial/manifest", snapshots_api.manifest, Need.GLOBAL),
    Route("POST", f"{_S}/snapshot/partial/create", snapshots_api.create_partial, Need.WRITE, plain=True),
    Route("POST", f"{_S}/snapshot/partial/recover", recovering.upload_partial, Need.MANAGE),
    Route("GET", "/snapshots", snapshots_api.listed_full, Need.GLOBAL),
    Route("POST", "/snapshots", snapshots_api.create_full, Need.MANAGE),
    Route("GET", "/snapshots/{name}", snapshots_api.download_full, Need.GLOBAL, plain=True),
    Route("DELETE", "/snapshots/{name}", snapshots_api.delete_full, Need.MANAGE),
    Route("POST", "/internal/hello", cluster_api.hello, Need.PEER),
    Route("POST", "/internal/step", cluster_api.step, Need.PEER),
    Route("POST", "/internal/shard/{collection}/{shard}/{verb}", cluster_api.shard, Need.PEER),
]


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))


_TABLE = [(route.method, _pattern(route.template), route) for route in _ROUTES]


def found(method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    """The route of a request and what its path names; None: there is none.

    Args:
        path: as it came, percent-encoded.
    """
    for wanted, pattern, route in _TABLE:
        match = pattern.fullmatch(path) if wanted == method else None
        if match:
            return route, {name: unquote(text) for name, text in match.groupdict().items()}
    return None
