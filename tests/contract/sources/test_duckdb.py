"""DuckDB keeps the promise of a source."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from pydantic import BaseModel

from recoup.sources._base import NoRestoreOptions, Site, Source
from recoup.sources.duckdb import DuckDB, Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import SourceContract


def run(path: Path, *statements: str) -> None:
    with contextlib.closing(duckdb.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)


class TestDuckDB(SourceContract):
    @pytest.fixture
    def site(self, site_folder: Path, staging: Path) -> Site:
        return Site("cache", site_folder, staging, SystemClock())

    @pytest.fixture
    def source(self, site: Site) -> Source:
        return connect(Options(kind="duckdb", path=Path("cache.duckdb")), site)

    @pytest.fixture
    def lenient(self, site: Site) -> Source:
        return connect(Options(kind="duckdb", path=Path("cache.duckdb"), allow_empty=True), site)

    @pytest.fixture
    def fill(self, site_folder: Path) -> Callable[[], None]:
        statements = (
            "CREATE TABLE documents (id BIGINT PRIMARY KEY, text VARCHAR)",
            "INSERT INTO documents SELECT range, md5(range::VARCHAR) FROM range(5000)",
        )
        return lambda: run(site_folder / "cache.duckdb", *statements)

    @pytest.fixture
    def empty(self, site_folder: Path) -> Callable[[], None]:
        return lambda: run(site_folder / "cache.duckdb", "CREATE SCHEMA nothing")

    @pytest.fixture
    def damage(self) -> Callable[[Source], None]:
        def delete(source: Source) -> None:
            assert isinstance(source, DuckDB)
            run(source._path, "DELETE FROM documents WHERE id = 2")

        return delete

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        return NoRestoreOptions()
