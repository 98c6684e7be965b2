import os
import signal
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "dask_cluster.fixtures",
    "postgres_server.fixtures",
    "preloaded.fixtures",
    "qdrant_server.fixtures",
    "s3_server.fixtures",
    "services.standing",
    "temporary_folders",
]

pytest.register_assert_rewrite("recoup.testing")

# no test asserts a time: a loaded machine is not a fault
settings.register_profile("recoup", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("recoup")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Workers of pytest-xdist ignore Ctrl-C, and what they start would inherit that."""
    if hasattr(session.config, "workerinput"):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers of pytest-xdist begin with the files that take longest: what comes last keeps all but one of them waiting."""
    if not hasattr(config, "workerinput"):
        return
    seconds: Counter[Path] = Counter()
    for item in items:
        seconds[item.path] += 15 if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -seconds[item.path])


@pytest.fixture(autouse=True)
def _memory_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine remembers of a stack is each test's own: stacks of many tests have the same name."""
    if "XDG_STATE_HOME" not in os.environ:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state" / uuid.uuid4().hex))


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine keeps of repositories is each test's own, and none of it that of whoever runs the tests."""
    if "XDG_CACHE_HOME" not in os.environ:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache" / uuid.uuid4().hex))
