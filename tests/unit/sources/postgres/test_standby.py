from collections.abc import Callable
from typing import Any

import pytest

from postgres_server.running import PASSWORD, Postgres, embedded_programs, home, running
from recoup.sources.postgres.server import PostgresSource

Make = Callable[..., PostgresSource]
Take = Callable[[PostgresSource], Any]


@pytest.mark.slow
def test_a_standby_is_captured_and_says_which_rows_it_has_not(source_of: Make, take: Take) -> None:
    with running(embedded_programs(), {"wal_level": "replica"}) as primary, home() as folder:
        primary.execute(
            "postgres",
            "CREATE TABLE t AS SELECT n FROM generate_series(1, 500) AS n",
            "CREATE UNLOGGED TABLE quick AS SELECT 1",
        )
        primary.execute("postgres", "CREATE SEQUENCE s", "SELECT nextval('s')")
        standby = Postgres(primary.programs, folder)
        place = f"host={primary.folder} port={primary.port} user=postgres password={PASSWORD}"
        standby.run(
            "pg_basebackup",
            f"--dbname={place}",
            f"--pgdata={standby.data}",
            "--write-recovery-conf",
            "--checkpoint=fast",
        )
        standby.start()
        try:
            taken = take(source_of(standby.url("postgres"), tables=["t"]))
        finally:
            standby.stop(at_once=True)
    assert taken.facts.values["table public.t"]["rows"] == 500
    assert taken.facts.values["table public.quick"]["rows"] == 0
    assert any("unlogged" in told for told in taken.findings)
