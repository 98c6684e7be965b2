"""A store of one's own whose certificate nobody else knows."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recoup.errors import StorageError
from recoup.storage.object_store import ObjectStorage, Options, connect
from s3_server.buckets import Bucket
from tls_terminating import Terminator, certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return certificate(tmp_path)


@pytest.fixture
def endpoint(authority: Path, bucket: Bucket) -> Iterator[str]:
    place = urlsplit(bucket.endpoint)
    terminator = Terminator(authority, authority.with_name("key.pem"), (str(place.hostname), place.port or 80))
    yield f"https://127.0.0.1:{terminator.port}"
    terminator.close()


def opened(bucket: Bucket, endpoint: str, **more: object) -> ObjectStorage:
    return connect(
        bucket.url, Options.model_validate({**bucket.options, "endpoint": endpoint, "retry_wait": 0.01, **more})
    )


def test_what_the_file_of_certificates_names_is_trusted(bucket: Bucket, endpoint: str, authority: Path) -> None:
    storage = opened(bucket, endpoint, ca_file=authority)
    storage.put("key", b"data")
    assert storage.get("key") == b"data"


def test_an_unknown_certificate_is_told_at_once_and_nothing_is_sent(bucket: Bucket, endpoint: str) -> None:
    storage = opened(bucket, endpoint)
    for act in (lambda: storage.put("key", b"data"), lambda: storage.get("key")):
        with pytest.raises(StorageError, match=r"certificate of .* is not trusted") as caught:
            act()
        assert "ca_file" in caught.value.hint
        assert "tried" not in caught.value.message
    assert bucket.keys() == []


def test_a_file_of_certificates_that_is_none_is_told(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for file in ("missing.pem", "empty.pem"):
        with pytest.raises(StorageError, match="certificates in"):
            opened(bucket, "https://127.0.0.1:1", ca_file=tmp_path / file).put("key", b"data")
