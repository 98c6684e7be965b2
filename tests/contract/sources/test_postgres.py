"""A PostgreSQL database keeps the promise of a source."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from postgres_server.running import Postgres, embedded_programs
from recoup.sources._base import Site, Source
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres._twin import PostgresTwin
from recoup.sources.postgres.server import Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import SECRET, SourceContract

_NUMBERS = itertools.count()


class TestPostgres(SourceContract):
    @pytest.fixture(autouse=True)
    def _state(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))

    @pytest.fixture
    def name(self, postgres: Postgres) -> Iterator[str]:
        """A database that is not there, and its owner, whose password is the planted one."""
        name = f"contract_{next(_NUMBERS)}"
        before = postgres.databases()
        postgres.execute("postgres", f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{SECRET}'")
        yield name
        for made in postgres.databases() - before:
            postgres.drop(made)
        postgres.drop_role(name)

    @pytest.fixture
    def options(self, postgres: Postgres, name: str) -> Options:
        url = postgres.url(name, name, SECRET)
        settings = {
            "url": url,
            "programs": str(embedded_programs()),
            "tables": ["notes"],
            "drill_here": True,
            "probes": 3,
        }
        return Options.model_validate({"kind": "postgres", "scratch_url": url, **settings})

    @pytest.fixture
    def site(self, site_folder: Path, staging: Path) -> Site:
        return Site("db", site_folder, staging, SystemClock(), seed=3)

    @pytest.fixture
    def source(self, options: Options, site: Site) -> Source:
        return connect(options, site)

    @pytest.fixture
    def lenient(self, options: Options, site: Site) -> Source:
        return connect(options.model_copy(update={"allow_empty": True, "tables": ()}), site)

    @pytest.fixture
    def fill(self, postgres: Postgres, name: str, empty: Callable[[], None]) -> Callable[[], None]:
        def make() -> None:
            empty()
            postgres.execute(
                name,
                "CREATE EXTENSION vector",
                "CREATE TABLE notes (id serial PRIMARY KEY, said text, meaning vector(3))",
                "INSERT INTO notes (said, meaning) SELECT 'note ' || n, format('[1,%s,%s]', n, n * n)::vector"
                " FROM generate_series(1, 50) AS n",
                "CREATE INDEX ON notes USING hnsw (meaning vector_l2_ops)",
            )

        return make

    @pytest.fixture
    def empty(self, postgres: Postgres, name: str) -> Callable[[], None]:
        def make() -> None:
            postgres.create(name)
            postgres.execute("postgres", f"ALTER DATABASE {name} OWNER TO {name}")

        return make

    @pytest.fixture
    def damage(self, postgres: Postgres, name: str) -> Callable[[Source], None]:
        def delete(source: Source) -> None:
            where = source._name if isinstance(source, PostgresTwin) else name
            postgres.execute(where, "DELETE FROM notes WHERE id = 7")

        return delete

    @pytest.fixture
    def vanish(self, postgres: Postgres, name: str) -> Callable[[], None]:
        return lambda: postgres.drop(name)

    @pytest.fixture
    def picture(self, postgres: Postgres, name: str) -> Callable[[], object]:
        return lambda: (postgres.databases(), postgres.rows(name, "SELECT * FROM notes ORDER BY id"))

    @pytest.fixture
    def is_kept(self, postgres: Postgres) -> Callable[[str], bool]:
        return lambda kept: kept in postgres.databases()

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        return RestoreOptions()
