from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postgres_server.running import Database, Postgres
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres.server import PostgresSource
from recoup.testing.source_contract import Taken, take


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of other runs have no say."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[PostgresSource], Taken]:
    """Captures a source to disk."""
    numbers = iter(range(100))
    return lambda source: take(source, tmp_path / f"taken{next(numbers)}")


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., str]:
    """Restores what was kept; returns where what was there is kept."""

    def restore(source: PostgresSource, taken: Taken, **options: Any) -> str:
        return source.restore(taken.again(), RestoreOptions.model_validate({"wait": 0.5, **options})).kept

    return restore


@pytest.fixture
def leftovers(postgres: Postgres) -> Iterator[Callable[[], set[str]]]:
    """The databases that restores made beside others; dropped after the test."""
    before = postgres.databases()

    def found() -> set[str]:
        return {
            name
            for name in postgres.databases() - before
            if any(f"_{w}_2" in name for w in ("restore", "before", "tables", "drill"))
        }

    yield found
    for name in found():
        postgres.drop(name)


@pytest.fixture
def role(database: Database) -> Iterator[Callable[..., str]]:
    """Makes roles; dropped with what they own after the test."""
    made: list[str] = []

    def create(name: str, *words: str) -> str:
        database.execute(f'CREATE ROLE "{name}" {" ".join(words)}')
        made.append(name)
        return name

    yield create
    there = {name for (name,) in database.server.rows("postgres", "SELECT rolname FROM pg_roles")}
    for name in (one for one in reversed(made) if one in there):
        for other in database.server.databases() - {"template0"}:
            database.server.execute(other, f'REASSIGN OWNED BY "{name}" TO postgres', f'DROP OWNED BY "{name}"')
        database.server.drop_role(name)
