"""A stack of a Qdrant server whose sets go to a bucket; workers have the same configuration, and secrets of their own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recoup
from dask_cluster.running import Cluster
from qdrant_server.running import Qdrant
from recoup.model.events import Event, News
from s3_server.buckets import Bucket

Open = Callable[..., recoup.Stack]


@pytest.fixture
def news() -> list[Event]:
    return []


@pytest.fixture
def opened(tmp_path: Path, cluster: Cluster, bucket: Bucket, qdrant: Qdrant, news: list[Event]) -> Open:
    """Writes the configuration for both sides, opens the stack and makes its repository."""

    def make(
        *,
        endpoint: str = "",
        source: dict[str, Any] | None = None,
        workers_source: dict[str, Any] | None = None,
        **repository: Any,
    ) -> recoup.Stack:
        vectors = {"kind": "qdrant", "url": qdrant.url, "grpc_port": qdrant.grpc_port, "method": "stream"}
        storage = bucket.options | {"secret_key": "${S3_SECRET}", "endpoint": endpoint or bucket.endpoint}
        config: dict[str, Any] = {
            "version": 1,
            "stack": "small",
            "sources": {"vectors": vectors | (source or {})},
            "repositories": {"s3": {"url": f"{bucket.url}/sets", "storage": storage} | repository},
            "execution": {"dask": cluster.address},
        }
        path = tmp_path / "recoup.yaml"
        path.write_text(json.dumps(config))
        config["sources"]["vectors"] |= workers_source or {}
        cluster.config.write_text(json.dumps(config))

        def hear(said: News) -> None:
            if isinstance(said, Event):
                news.append(said)

        stack = recoup.open(path, environ={"S3_SECRET": bucket.account.secret_key}, cwd=tmp_path, emit=hear)
        stack.create_repositories()
        return stack

    return make
