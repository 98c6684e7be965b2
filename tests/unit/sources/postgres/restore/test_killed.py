"""A restore that is killed before any of its statements leaves a whole database, and nothing else after the next run."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from postgres_server.running import Database
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres.server import PostgresSource
from recoup.testing.source_contract import Taken, differences

Make = Callable[..., PostgresSource]
Keep = Callable[[PostgresSource], Taken]
Left = Callable[[], set[str]]


def killed_at(n: int, function: Callable[[], object]) -> bool:
    """Runs a function in a fork that is killed just before its n-th statement; True when it ended before that."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _kill_before(n)
            function()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), f"the run failed by itself at statement {n}"
    return status == 0


def _kill_before(n: int) -> None:
    execute, left = psycopg.Connection.execute, n

    def counted(self: "psycopg.Connection[Any]", *arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, *arguments, **more)

    psycopg.Connection.execute = counted  # type: ignore[method-assign] # of this fork alone


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"tables": "notes"}, {"mode": "drop-create"}], ids=["swap", "tables", "drop-create"]
)
def test_a_kill_at_any_step_leaves_the_old_or_the_new_and_the_next_run_tidies_up(
    options: dict[str, str], database: Database, source_of: Make, keep: Keep, leftovers: Left
) -> None:
    database.execute("CREATE TABLE notes (id int PRIMARY KEY)", "INSERT INTO notes VALUES (1), (2)")
    source = source_of(database, tables=[])
    taken = keep(source)
    wanted = RestoreOptions.model_validate({**options, "wait": 2})
    ends, step, n = set[str](), 1 if options == {} else 3, 1
    while True:
        if database.name in database.server.databases():
            database.execute("DROP TABLE notes", "CREATE TABLE notes (id int)")
            database.execute(
                "DO $$ DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'recoup%' "
                "LOOP EXECUTE format('DROP SCHEMA %I CASCADE', s); END LOOP; END $$"
            )
        for name in leftovers():
            database.server.drop(name)
        ended = killed_at(n, lambda: source.restore(taken.again(), wanted))
        said = source.recover()
        assert not [name for name in leftovers() if "_before_" not in name], n
        if database.name not in database.server.databases():
            assert options.get("mode") == "drop-create"
            assert any("had dropped it" in sentence for sentence in said), n
            ends.add("gone")
        else:
            rows = database.rows("SELECT count(*) FROM notes")
            assert rows in ([(0,)], [(2,)]), n
            if rows == [(2,)] and not options.get("tables"):
                assert differences(taken.facts, source.facts()) == [], n
            ends.add("new" if rows == [(2,)] else "old")
        assert source.recover() == ()
        if ended:
            break
        n += step
    assert {"old", "new"} <= ends
    assert ("gone" in ends) == (options.get("mode") == "drop-create")
