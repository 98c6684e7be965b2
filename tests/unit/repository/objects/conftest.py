import pytest

from unit.repository.objects.places import Fleet


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()
