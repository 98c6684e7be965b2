import gzip
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from postgres_server import stacks
from postgres_server.running import PASSWORD, Database, embedded_programs
from recoup.cli.main import app
from recoup.errors import DamagedError, RecoupError, RefusedError, UsageError
from recoup.model.facts import compare
from recoup.sources.postgres._restore_file import look, planned
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres.server import PostgresSource

Make = Callable[..., PostgresSource]
Left = Callable[[], set[str]]


def dumped(database: Database, path: Path, *arguments: str) -> Path:
    """A dump taken by hand."""
    program = embedded_programs() / "pg_dump"
    done = subprocess.run(
        [program, f"--file={path}", f"--dbname={database.url}", *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def filled(database: Database, leftovers: Left) -> Database:
    """A database with something of everything."""
    stacks.rag(database)
    stacks.varied(database)
    return database


@pytest.fixture
def elsewhere(filled: Database) -> Iterator[str]:
    """The URL of a database that is not there."""
    name = f"{filled.name}_elsewhere"
    yield filled.server.url(name)
    filled.server.drop(name)


@pytest.mark.requirement("SR-19")
@pytest.mark.parametrize("kind", ["custom", "directory", "plain"])
def test_a_dump_taken_by_hand_restores_and_its_rows_are_counted(
    kind: str, filled: Database, elsewhere: str, source_of: Make, tmp_path: Path
) -> None:
    path = dumped(filled, tmp_path / "dump", f"--format={kind}")
    with planned(path, elsewhere, RestoreOptions(), jobs=1 if kind == "plain" else 2) as undertaken:
        assert not undertaken.plan.present
        assert undertaken.run().kept == ""
        assert bool(undertaken.doubt) == (kind == "plain")
        assert undertaken.dump.whole
    assert [line for line in compare(source_of(filled).facts(), source_of(elsewhere).facts()) if not line.equal] == []


@pytest.mark.parametrize("kind", ["custom", "plain"])
def test_a_file_truncated_at_any_byte_is_found_before_anything_is_made(
    kind: str, filled: Database, elsewhere: str, tmp_path: Path
) -> None:
    data = dumped(filled, tmp_path / "dump", f"--format={kind}").read_bytes()
    chance, cut, before = random.Random(5), tmp_path / "cut", filled.server.databases()
    for length in [0, 3, len(data) - 160, *(chance.randrange(len(data) - 160) for _ in range(40))]:
        cut.write_bytes(data[:length])
        with pytest.raises(RecoupError), planned(cut, elsewhere, RestoreOptions()):
            pass
    assert filled.server.databases() == before


def test_the_first_error_of_sql_text_ends_it(filled: Database, elsewhere: str, tmp_path: Path) -> None:
    path = tmp_path / "hand.sql"
    path.write_text("CREATE TABLE a (b int);\nINSERT INTO nowhere VALUES (1);\nCREATE TABLE c (d int);\n")
    with planned(path, elsewhere, RestoreOptions()) as undertaken:
        assert "may be cut off" in undertaken.doubt
        with pytest.raises(RecoupError, match='relation "nowhere" does not exist'):
            undertaken.run()
    assert filled.server.databases() & {f"{filled.name}_elsewhere"} == set()


@pytest.mark.parametrize(
    "command", [r"\connect postgres", r"\c postgres", r"\! touch /tmp/x", r"\i other.sql", r"\copy t from 'x'"]
)
def test_commands_of_psql_that_lead_out_of_the_database_are_refused(command: str, tmp_path: Path) -> None:
    path = tmp_path / "hand.sql"
    path.write_text(f"CREATE TABLE a (b text);\n{command}\n")
    with pytest.raises(RefusedError, match="leads out of the database"):
        look(path)
    path.write_text(f"COPY a (b) FROM stdin;\n{command}\n\\.\n")  # in rows they are text
    assert look(path).kind == "plain"


def test_what_is_no_dump_says_what_it_is(filled: Database, tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(UsageError, match="is not there"):
        look(path)
    path.write_bytes(gzip.compress(b"SELECT 1;"))
    with pytest.raises(UsageError, match="gzip"):
        look(path)
    path.write_bytes(b"\0\1\2")
    with pytest.raises(UsageError, match="neither a dump"):
        look(path)
    with pytest.raises(UsageError, match=r"without toc\.dat"):
        look(tmp_path)
    with pytest.raises(UsageError, match="is a tar"):
        look(dumped(filled, tmp_path / "tar", "--format=tar"))
    done = subprocess.run(
        [embedded_programs() / "pg_dumpall", "--globals-only", f"--dbname={filled.url}"],
        capture_output=True,
        check=True,
    )
    path.write_bytes(done.stdout)
    with pytest.raises(RefusedError, match="a whole server"):
        look(path)
    folder = dumped(filled, tmp_path / "folder", "--format=directory")
    next(file for file in sorted(folder.iterdir()) if file.name != "toc.dat").unlink()
    with pytest.raises(DamagedError):
        look(folder)


def test_the_command_shows_its_plan_and_restores(filled: Database, tmp_path: Path, leftovers: Left) -> None:
    path = dumped(filled, tmp_path / "dump", "--format=custom")
    filled.execute("DELETE FROM memory_logs")
    runner = CliRunner()
    arguments = ["postgres", "restore", str(path), "--target", filled.url]
    planned_only = runner.invoke(app, [*arguments, "--dry-run"])
    assert planned_only.exit_code == 0, planned_only.output
    assert "in one transaction" in planned_only.output
    assert "counted and compared with those in the dump" in planned_only.output, "a plan promises what is done, no more"
    assert leftovers() == set()
    done = runner.invoke(app, [*arguments, "--yes", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert {result["kept"]} == leftovers()
    assert result["rows"] > 400
    assert filled.rows("SELECT count(*) FROM memory_logs") == [(200,)]
    assert PASSWORD not in planned_only.output + done.output
    cleaned = runner.invoke(app, ["postgres", "cleanup", "--target", filled.url])
    assert "Nothing was left." in cleaned.output
