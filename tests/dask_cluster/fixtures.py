"""The Dask cluster as a pytest fixture: started once for a file of tests, with two workers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dask_cluster.running import Cluster
from s3_server.running import ACCOUNT


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("dask")
    environ = {"XDG_STATE_HOME": str(folder / "state"), "S3_SECRET": ACCOUNT.secret_key}
    cluster = Cluster(folder, folder / "recoup.yaml", environ | {"TMPDIR": os.environ.get("TMPDIR", "/tmp")})
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """A scheduler and the workers `one` and `two`; their configuration is the file `cluster.config`."""
    _cluster.config.unlink(missing_ok=True)
    _cluster.start("one", "two")
    return _cluster


@pytest.fixture
def workers_folder(cluster: Cluster) -> Path:
    """Where relative paths of the workers' configuration begin."""
    return cluster.config.parent
