"""The command line, stopped while it dumps: nothing is stored, and no program and no session stays."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from postgres_server.running import Database, Postgres, embedded_programs


def wait_until(met: Callable[[], bool]) -> None:
    while not met():
        time.sleep(0.02)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_backup_that_is_stopped_in_a_dump_leaves_nothing(
    sign: signal.Signals, database: Database, postgres: Postgres, tmp_path: Path
) -> None:
    database.execute("CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 200000) AS n")
    sources = {"db": {"kind": "postgres", "url": database.url, "tables": ["t"]}}
    config = {"version": 1, "stack": "t", "repositories": {"r": {"path": "repo"}}, "sources": sources}
    (tmp_path / "recoup.yaml").write_text(json.dumps(config))
    environ = {**os.environ, "PATH": f"{embedded_programs()}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "recoup"]
    subprocess.run([*command, "init"], cwd=tmp_path, env=environ, check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, "backup"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    here = f"datname = '{database.name}'"
    dumping = f"SELECT 1 FROM pg_stat_activity WHERE {here} AND query LIKE 'COPY public.t%'"
    wait_until(lambda: bool(postgres.rows("postgres", dumping)) or process.poll() is not None)
    process.send_signal(sign)
    said = b"".join(process.communicate())
    assert process.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130), said
    wait_until(lambda: not postgres.rows("postgres", f"SELECT 1 FROM pg_stat_activity WHERE {here}"))
    names = [path.name for path in (tmp_path / "repo").iterdir()]
    assert not [name for name in names if name.startswith("backup_")]
    again = subprocess.run([*command, "backup"], cwd=tmp_path, env=environ, check=False, capture_output=True)
    assert again.returncode == 0, again.stderr
    assert not list((tmp_path / "repo").glob(".partial/*"))
