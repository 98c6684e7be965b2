"""SQLite keeps the promise of a source."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from recoup.sources._base import NoRestoreOptions, Site, Source
from recoup.sources.sqlite import Options, SqliteSource, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import SourceContract


def run(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


class TestSqlite(SourceContract):
    @pytest.fixture(params=["wal", "delete"])
    def mode(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def site(self, site_folder: Path, staging: Path) -> Site:
        return Site("chat", site_folder, staging, SystemClock())

    @pytest.fixture
    def source(self, site: Site) -> Source:
        return connect(Options(kind="sqlite", path=Path("chat.db"), busy_timeout=5), site)

    @pytest.fixture
    def lenient(self, site: Site) -> Source:
        return connect(Options(kind="sqlite", path=Path("chat.db"), busy_timeout=5, allow_empty=True), site)

    @pytest.fixture
    def fill(self, site_folder: Path, mode: str) -> Callable[[], None]:
        statements = (
            f"PRAGMA journal_mode = {mode}",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, text TEXT)",
            "INSERT INTO messages (text) VALUES ('one'), ('two'), ('three')",
        )
        return lambda: run(site_folder / "chat.db", *statements)

    @pytest.fixture
    def empty(self, site_folder: Path, mode: str) -> Callable[[], None]:
        return lambda: run(site_folder / "chat.db", f"PRAGMA journal_mode = {mode}", "PRAGMA user_version = 1")

    @pytest.fixture
    def damage(self) -> Callable[[Source], None]:
        def delete(source: Source) -> None:
            assert isinstance(source, SqliteSource)
            run(source._path, "DELETE FROM messages WHERE id = 2")

        return delete

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        return NoRestoreOptions()
