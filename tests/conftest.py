import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["postgres_server.fixtures", "qdrant_server.fixtures", "services.standing"]

pytest.register_assert_rewrite("recoup.testing")

# no test asserts a time: a loaded machine is not a fault
settings.register_profile("recoup", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("recoup")
