import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from postgres_server import stacks
from postgres_server.running import PASSWORD, Database, Postgres
from recoup.errors import RestoreError, SourceError
from recoup.model.part import StreamPart
from recoup.sources.postgres import _twin_server
from recoup.sources.postgres._restore_options import DrillOptions, RestoreOptions
from recoup.sources.postgres._twin_server import _gave_up
from recoup.sources.postgres.server import PostgresSource, drilled
from recoup.testing.source_contract import Taken, differences

Make = Callable[..., PostgresSource]
Keep = Callable[[PostgresSource], Taken]
Left = Callable[[], set[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the twins."""
    made = tmp_path / "drill"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def filled(database: Database, leftovers: Left) -> Database:
    """The tables of a RAG application."""
    stacks.rag(database)
    return database


@pytest.mark.requirement("SR-11")
def test_a_drill_starts_a_server_of_its_own_and_leaves_nothing(
    filled: Database, role: Callable[..., str], source_of: Make, keep: Keep, folder: Path, leftovers: Left
) -> None:
    owner = role("an owner of here")
    stacks.varied(filled)
    filled.execute(f'ALTER TABLE documents OWNER TO "{owner}"')
    source = source_of(filled, tables=["users", "document_chunks", "parted"], globals=True)
    taken = keep(source)
    with source.scratch(folder) as twin:
        twin.restore(taken.again(), RestoreOptions())
        assert twin.present()
        assert differences(taken.facts, twin.facts()) == []
        assert len(taken.facts.probes) == 20
        sockets = Path(twin.existing().target.split("@")[1].split(":")[0])
        assert sockets.is_dir()
        assert leftovers() == set()
    assert not sockets.exists()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("way", ["here", "url"])
def test_a_drill_makes_a_temporary_database_where_it_is_told_to(
    way: str,
    filled: Database,
    source_of: Make,
    keep: Keep,
    folder: Path,
    leftovers: Left,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_twin_server, "embedded_programs", lambda: None)
    source = source_of(filled, tables=["api_keys"])
    taken = keep(source)
    options = DrillOptions(drill_here=True) if way == "here" else DrillOptions(scratch_url=filled.server.url())
    with pytest.raises(SourceError, match="no server that a drill may use"), source.scratch(folder):
        pass
    with drilled(source, options).scratch(folder) as twin:
        twin.restore(taken.again(), RestoreOptions())
        assert differences(taken.facts, twin.facts()) == []
        (made,) = leftovers()
        assert made.startswith(f"{filled.name}_drill_")
        filled.server.execute(made, "DELETE FROM memory_logs WHERE id = 7")
        assert {line.partition(": ")[0] for line in differences(taken.facts, twin.facts())} == {
            "table public.memory_logs"
        }
    assert leftovers() == set()


def test_the_scratch_urls_password_is_in_no_record(filled: Database, source_of: Make) -> None:
    source = source_of(filled, scratch_url=filled.server.url())
    assert PASSWORD not in str(source.settings())
    assert "scratch_url" not in source.settings()


def test_a_table_s_own_dump_that_lacks_rows_fails_the_drill(
    filled: Database, source_of: Make, keep: Keep, folder: Path, leftovers: Left
) -> None:
    source = source_of(filled, tables=["api_keys"], drill_here=True, scratch_url=filled.server.url())
    taken = keep(source)
    filled.execute("DELETE FROM api_keys WHERE id = 3")
    other = keep(source)

    def mixed() -> "list[StreamPart]":
        newer = {part.name: part for part in other.again() if isinstance(part, StreamPart)}
        return [
            newer[part.name] if part.name.startswith("tables/") else part
            for part in taken.again()
            if isinstance(part, StreamPart)
        ]

    with (
        pytest.raises(
            RestoreError, match=r"tables/public.api_keys.dump is not what was backed up.*expected 20, found 19"
        ),
        source.scratch(folder) as twin,
    ):
        twin.restore(iter(mixed()), RestoreOptions())
    assert leftovers() == set()


def test_owners_are_left_out_on_a_scratch_server_that_lacks_the_roles(
    filled: Database, role: Callable[..., str], source_of: Make, keep: Keep, folder: Path
) -> None:
    gone = role("soon away")
    filled.execute(f'ALTER TABLE documents OWNER TO "{gone}"', f'GRANT SELECT ON users TO "{gone}"')
    source = source_of(filled, scratch_url=filled.server.url())
    taken = keep(source)
    filled.execute("ALTER TABLE documents OWNER TO postgres", f'DROP OWNED BY "{gone}"')
    filled.server.drop_role(gone)
    with source.scratch(folder) as twin:
        twin.restore(taken.again(), RestoreOptions())
        assert differences(taken.facts, twin.facts()) == []


def test_old_temporary_databases_of_drills_are_dropped_by_name_and_age(
    filled: Database, postgres: Postgres, source_of: Make, keep: Keep, folder: Path
) -> None:
    old, young, other = "x_drill_20200101_000000_ab12", "x_drill_20990101_000000_ab12", "x_drill_20200101_000000"
    for name in (old, young, other):
        postgres.create(name)
    try:
        with source_of(filled, scratch_url=postgres.url()).scratch(folder):
            assert old not in postgres.databases()
            assert {young, other} <= postgres.databases()
    finally:
        for name in (old, young, other):
            postgres.drop(name)


@pytest.mark.parametrize("where", ["own", "url"])
def test_a_drill_that_was_killed_is_tidied_up_by_the_next_one(
    where: str, filled: Database, source_of: Make, keep: Keep, folder: Path, leftovers: Left
) -> None:
    source = source_of(filled, **({"scratch_url": filled.server.url()} if where == "url" else {}))
    taken = keep(source)
    pid = os.fork()
    if pid == 0:
        with source.scratch(folder) as twin:
            twin.restore(taken.again(), RestoreOptions())
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert len(leftovers()) == (1 if where == "url" else 0)
    with source.scratch(folder) as twin:
        assert leftovers() == set()
        twin.restore(taken.again(), RestoreOptions())
        assert differences(taken.facts, twin.facts()) == []
    assert leftovers() == set()
    assert [path for path in folder.iterdir() if path.name.startswith("recoup-pg-")] == []


def test_a_server_that_is_still_starting_has_not_given_up() -> None:
    early = "2026-11-21 09:47:19.108 UTC [7] FATAL:  the database system is starting up\n"
    assert not _gave_up(early)
    assert _gave_up(f"{early}2026-11-21 09:47:20.000 UTC [1] FATAL:  could not create shared memory segment\n")
