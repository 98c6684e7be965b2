from collections.abc import Callable, Iterator

import pytest

from recoup.storage.object_store import ObjectStorage, Options, connect
from recoup.testing.fault_proxy import FaultProxy
from s3_server.buckets import Bucket
from s3_server.running import S3Server

Connecting = Callable[..., ObjectStorage]
"""Opens the bucket of a test by way of the proxy; settings that differ from the test's own are given by name."""

MIB = 1024 * 1024


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    """Between Recoup and the real server."""
    with FaultProxy("127.0.0.1", s3.port) as running:
        yield running


@pytest.fixture
def connecting(bucket: Bucket, proxy: FaultProxy) -> Connecting:
    def open_it(found: Bucket = bucket, **settings: object) -> ObjectStorage:
        own: dict[str, object] = {"retry_wait": 0.02, "timeout": 20, "part_size": "5MiB"}
        return connect(
            f"{found.url}/stack", Options.model_validate({**found.through(proxy.url).options, **own, **settings})
        )

    return open_it


@pytest.fixture
def storage(connecting: Connecting) -> ObjectStorage:
    """The test's bucket, by way of the proxy."""
    return connecting()
