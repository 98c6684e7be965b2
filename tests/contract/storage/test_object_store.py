import secrets

import pytest

from recoup.storage._base import Storage
from recoup.storage.object_store import Options, connect
from recoup.testing.storage_contract import StorageContract
from s3_server.buckets import Bucket


class TestObstoreMemory(StorageContract):
    many = 2_500
    large = 20 << 20

    @pytest.fixture
    def storage(self) -> Storage:
        return connect(f"memory://{secrets.token_hex(8)}/some/prefix")


class TestS3(StorageContract):
    many = 1_100
    large = 40 << 20

    @pytest.fixture
    def storage(self, bucket: Bucket) -> Storage:
        return connect(f"{bucket.url}/some/prefix", Options.model_validate(bucket.options))
