"""The servers as pytest fixtures: started once for a session, made fresh before each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_server.choosing import VARIABLE, Keys, chosen
from qdrant_server.places import quick_folder
from qdrant_server.running import Qdrant
from qdrant_server.starting import Cluster, Started, start, start_cluster


def pytest_report_header() -> str:
    """Says in the report which server runs."""
    return f"qdrant server: {chosen()}"


def _skip_elsewhere(what: str) -> None:
    if chosen().url:
        pytest.skip(f"{what}: {VARIABLE} has to be unset or to name a program")


@pytest.fixture(scope="session")
def _qdrant_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quick_folder(tmp_path_factory.mktemp("qdrant")) as folder:
        yield folder


@pytest.fixture(scope="session")
def _qdrant(_qdrant_folder: Path) -> Iterator[Qdrant]:
    choice = chosen()
    if not choice.url:
        started = start(choice, _qdrant_folder / "alone", Keys())
        yield started
        started.close()
        return
    server = Qdrant(choice.url, 6334, Keys(), real=True)
    if found := server.collections():
        pytest.exit(
            f"{choice.url} has collections ({', '.join(found[:3])}); the tests need a server that holds nothing", 4
        )
    yield server
    server.clean()
    server.close()


@pytest.fixture
def qdrant(_qdrant: Qdrant) -> Qdrant:
    """A server without collections, aliases, snapshots and faults, that demands no key."""
    if isinstance(_qdrant, Started):
        _qdrant.freshen()
    else:
        _qdrant.clean()
    return _qdrant


@pytest.fixture(scope="session")
def _qdrant_with_keys(_qdrant_folder: Path) -> Iterator[Started]:
    _skip_elsewhere("a server with keys")
    keys = Keys(full="full-key-of-the-tests", read_only="read-only-key-of-the-tests")
    started = start(chosen(), _qdrant_folder / "keys", keys)
    yield started
    started.close()


@pytest.fixture
def qdrant_with_keys(_qdrant_with_keys: Started) -> Started:
    """A fresh server that demands a key (`api_key`, `read_only_key`) or a token (`token(...)`)."""
    _qdrant_with_keys.freshen()
    return _qdrant_with_keys


@pytest.fixture(scope="session")
def _qdrant_cluster(_qdrant_folder: Path) -> Iterator[Cluster]:
    _skip_elsewhere("a cluster")
    cluster = start_cluster(chosen(), _qdrant_folder / "cluster")
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def _qdrant_distributed(_qdrant_folder: Path) -> Iterator[Cluster]:
    _skip_elsewhere("a server in distributed mode")
    cluster = start_cluster(chosen(), _qdrant_folder / "distributed", 1)
    yield cluster
    cluster.close()


@pytest.fixture
def qdrant_distributed(_qdrant_distributed: Cluster) -> Started:
    """A fresh server that is a cluster by itself: shard keys need that."""
    _qdrant_distributed.freshen()
    return _qdrant_distributed.nodes[0]


@pytest.fixture
def qdrant_cluster(_qdrant_cluster: Cluster) -> Cluster:
    """A fresh cluster of three nodes."""
    _qdrant_cluster.freshen()
    return _qdrant_cluster
