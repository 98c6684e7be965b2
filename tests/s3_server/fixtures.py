"""The S3 server as pytest fixtures: started once for a session, an empty bucket for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_server.places import quick_folder
from s3_server.buckets import Bucket
from s3_server.running import S3Server, start


@pytest.fixture(scope="session")
def _s3_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quick_folder(tmp_path_factory.mktemp("s3")) as folder:
        yield folder


@pytest.fixture(scope="session")
def s3(_s3_folder: Path) -> Iterator[S3Server]:
    """The server; whoever ends it starts it again."""
    server = start(_s3_folder)
    yield server
    server.close()


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[Bucket]:
    """An empty bucket."""
    made = s3.bucket()
    yield made
    made.remove()


@pytest.fixture
def locked_bucket(s3: S3Server) -> Iterator[Bucket]:
    """An empty bucket with versions and object lock."""
    made = s3.bucket(locks=True)
    yield made
    made.remove()


@pytest.fixture
def versioned_bucket(s3: S3Server) -> Iterator[Bucket]:
    """An empty bucket with versions."""
    made = s3.bucket(versions=True)
    yield made
    made.remove()
