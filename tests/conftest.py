import signal

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "dask_cluster.fixtures",
    "postgres_server.fixtures",
    "qdrant_server.fixtures",
    "s3_server.fixtures",
    "services.standing",
]

pytest.register_assert_rewrite("recoup.testing")

# no test asserts a time: a loaded machine is not a fault
settings.register_profile("recoup", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("recoup")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Workers of pytest-xdist ignore Ctrl-C, and what they start would inherit that."""
    if hasattr(session.config, "workerinput"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
