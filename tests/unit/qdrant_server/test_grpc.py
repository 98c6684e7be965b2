"""gRPC answers as HTTP does, by Qdrant's own client."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import grpc
import pytest
from qdrant_client import QdrantClient, models

from qdrant_server.running import Qdrant

POINTS = [
    models.PointStruct(
        id=number if number % 2 else f"00000000-0000-0000-0000-{number:012d}",
        vector={
            "dense": [float(number), 1.0, 0.0, 2.0],
            "words": models.SparseVector(indices=[number, 100], values=[0.5, 1.5]),
            "tokens": [[float(number), 1.0], [2.0, 3.0]],
        },
        payload={"kind": ["odd", "even"][number % 2 == 0], "nested": {"list": [1, 2.5, None, True, "é"]}},
    )
    for number in range(1, 31)
]


def connect(server: Qdrant, key: str = "", *, by_grpc: bool = True) -> QdrantClient:
    place = urlsplit(server.url)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        return QdrantClient(
            host=place.hostname,
            port=place.port,
            grpc_port=server.grpc_port,
            prefer_grpc=by_grpc,
            api_key=key or None,
            https=False,
            timeout=60,
            check_compatibility=False,
        )


@pytest.fixture
def filled(qdrant: Qdrant) -> Qdrant:
    vectors = {
        "dense": {"size": 4, "distance": "Dot"},
        "tokens": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
    }
    qdrant.ask("PUT", "/collections/docs", {"vectors": vectors, "sparse_vectors": {"words": {}}, "shard_number": 2})
    with closing(connect(qdrant)) as client:
        client.upsert("docs", POINTS, wait=True)
    return qdrant


def everything(client: QdrantClient, **options: object) -> Iterator[models.Record]:
    offset = None
    while True:
        page, offset = client.scroll("docs", limit=7, offset=offset, with_vectors=True, **options)
        yield from page
        if offset is None:
            return


def test_what_was_upserted_over_grpc_is_scrolled_alike_over_both(filled: Qdrant) -> None:
    with closing(connect(filled)) as over_grpc, closing(connect(filled, by_grpc=False)) as over_http:
        found = list(everything(over_grpc))
        assert found == list(everything(over_http))
    assert {record.id for record in found} == {point.id for point in POINTS}
    assert {record.id: record.payload for record in found} == {point.id: point.payload for point in POINTS}


def test_a_filter_chooses_over_grpc(filled: Qdrant) -> None:
    odd = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value="odd"))])
    with closing(connect(filled)) as client:
        assert len(list(everything(client, scroll_filter=odd))) == 15
        assert client.count("docs", count_filter=odd).count == 15


def test_a_missing_collection_is_not_found(qdrant: Qdrant) -> None:
    with closing(connect(qdrant)) as client, pytest.raises(grpc.RpcError) as caught:
        client.scroll("nope")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "nope" in caught.value.details()


def write(client: QdrantClient) -> None:
    client.upsert("docs", [models.PointStruct(id=1, vector=[1.0, 2.0])])


def read(client: QdrantClient) -> None:
    client.scroll("docs")


@pytest.mark.parametrize(
    ("key", "action", "code"),
    [
        ("full", write, None),
        ("read_only", read, None),
        ("read_only", write, grpc.StatusCode.PERMISSION_DENIED),
        ("", read, grpc.StatusCode.UNAUTHENTICATED),
        ("wrong", read, grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_keys_count_over_grpc_as_over_http(
    qdrant_with_keys: Qdrant, key: str, action: Callable[[QdrantClient], None], code: grpc.StatusCode | None
) -> None:
    qdrant_with_keys.ask("PUT", "/collections/docs", {"vectors": {"size": 2, "distance": "Dot"}})
    keys = {"full": qdrant_with_keys.api_key, "read_only": qdrant_with_keys.read_only_key}
    with closing(connect(qdrant_with_keys, keys.get(key, key))) as client:
        if code is None:
            action(client)
            return
        with pytest.raises(grpc.RpcError) as caught:
            action(client)
    assert caught.value.code() == code
