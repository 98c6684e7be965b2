import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postgres_server import stacks
from postgres_server.running import PASSWORD, Database
from recoup.errors import RefusedError, SourceError
from recoup.operations import doctor
from recoup.sources.postgres._connection import Address, UnreachableError
from recoup.sources.postgres._options import Options
from recoup.sources.postgres.server import PostgresSource

Make = Callable[..., PostgresSource]
Take = Callable[[PostgresSource], Any]


def parameters(database: Database, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": database.server.port, "user": "postgres", "database": database.name, **more}


@pytest.fixture
def filled(database: Database) -> Database:
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    return database


def test_a_database_is_reached_by_parameters(filled: Database, source_of: Make, take: Take) -> None:
    assert f"{filled.name}.dump" in take(source_of("", **parameters(filled, password=PASSWORD))).files


def test_a_database_is_reached_by_a_service_and_a_password_file(
    filled: Database, source_of: Make, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, passwords = tmp_path / "services", tmp_path / "pgpass"
    services.write_text(f"[mine]\nhost=127.0.0.1\nport={filled.server.port}\nuser=postgres\ndbname={filled.name}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    passwords.write_text(f"127.0.0.1:{filled.server.port}:*:postgres:{PASSWORD}\n")
    passwords.chmod(0o600)
    assert f"{filled.name}.dump" in take(source_of("", service="mine", passfile="pgpass")).files


def test_urls_as_python_frameworks_write_them_are_understood(filled: Database, source_of: Make) -> None:
    assert source_of(filled.url.replace("postgresql://", "postgresql+asyncpg://")).present()


@pytest.mark.started
def test_the_password_is_in_no_argument_of_any_child(
    filled: Database, source_of: Make, take: Take, tmp_path: Path
) -> None:
    stacks.varied(filled)
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal():
                    try:
                        seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                    except OSError:
                        continue
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        take(source_of(filled, tables=["no_key"], globals=True))
        take(source_of(filled, format="directory", jobs=2))
    finally:
        stop.set()
        watcher.join()
    dumps = [line for line in seen if re.search(r"/pg_dump(all)? ", line)]
    assert len(dumps) >= 3
    assert [line for line in seen if PASSWORD in line] == []


def test_no_secret_is_recorded(filled: Database, source_of: Make, take: Take) -> None:
    source = source_of(filled.url + "?application_name=mine", scratch_url=filled.url)
    settings = json.dumps(source.settings())
    assert PASSWORD not in settings
    assert "***" not in settings
    assert json.loads(settings)["host"] == "127.0.0.1"
    assert all(PASSWORD.encode() not in data for data in take(source).files.values())
    again = Options.model_validate({**source.settings(), "kind": "postgres", "password": PASSWORD})
    with Address.of(again).connected() as connection:
        assert connection.info.dbname == filled.name


def test_another_place_gets_nothing_of_the_address_above_all_no_password() -> None:
    options = Options.model_validate({"kind": "postgres", "host": "a", "user": "u", "password": "secret", "jobs": 3})
    moved = options.moved("postgresql://other/db")
    assert moved.jobs == 3
    address = Address.of(moved)
    assert address.secrets == {}
    assert dict(address.parameters) == {"host": "other", "dbname": "db"}


@pytest.mark.parametrize("url", ["postgresql://x:y@[::1", "postgresql://h/db?nonsense=1"])
def test_a_url_that_is_none_is_told_without_repeating_it(url: str, source_of: Make) -> None:
    with pytest.raises(SourceError, match="libpq") as caught:
        source_of(url).check()
    assert url not in caught.value.message


def test_a_server_that_is_down_is_absent_and_told(source_of: Make) -> None:
    source = source_of("postgresql://postgres:secret-word@127.0.0.1:1/db")
    assert not source.present()
    with pytest.raises(UnreachableError, match="nobody answers") as caught:
        source.check()
    assert "secret-word" not in caught.value.message
    with pytest.raises(UnreachableError), source.capture():
        pass


def test_a_database_that_is_not_there_is_absent_and_told(database: Database, source_of: Make) -> None:
    source = source_of(database.server.url("nowhere"))
    assert not source.present()
    with pytest.raises(UnreachableError, match="no database 'nowhere'"):
        source.check()


def test_a_wrong_password_is_an_error_and_not_an_absence(database: Database, source_of: Make) -> None:
    source = source_of(database.url_of("postgres", "wrong-planted-word"))
    with pytest.raises(SourceError, match="does not let us in") as caught:
        source.present()
    assert not isinstance(caught.value, UnreachableError)
    assert "wrong-planted-word" not in caught.value.message


@pytest.mark.parametrize("host", ["10.1.2.3", "db.example.org", "localhost,db.example.org"])
def test_hosts_of_the_network_are_refused_where_only_this_machine_may_be_contacted(host: str, source_of: Make) -> None:
    source = source_of("", host=host, user="u", database="d", allow_remote=False)
    for ask in (source.check, source.present, source.estimate):
        with pytest.raises(RefusedError, match="not this machine"):
            ask()


def test_a_service_that_hides_the_host_is_refused_too(source_of: Make) -> None:
    with pytest.raises(RefusedError):
        source_of("", service="mine", allow_remote=False).check()


def test_this_machine_is_allowed(filled: Database, source_of: Make) -> None:
    assert source_of(filled, allow_remote=False).present()
    assert source_of(
        "",
        host=str(filled.server.folder),
        port=filled.server.port,
        user="postgres",
        database=filled.name,
        allow_remote=False,
    ).present()


def test_settings_of_the_users_session_do_not_change_the_facts(
    filled: Database, source_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.execute(
        "CREATE TABLE dated AS SELECT now() AS at, interval '1 mon 2 days' AS i, 0.1::float8 AS f, '\\x00'::bytea AS b"
    )
    facts = source_of(filled).facts()
    monkeypatch.setenv("PGOPTIONS", "-c datestyle=German -c intervalstyle=iso_8601 -c extra_float_digits=-5")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    assert source_of(filled).facts() == facts
    assert os.environ["PGTZ"] == "Asia/Tokyo"


def test_doctor_says_that_nobody_answers_and_not_that_a_path_is_wrong(source_of: Make) -> None:
    source = source_of("postgresql://127.0.0.1:1/app", connect_timeout=2)
    [finding] = [one for one in doctor.run({"db": source}, {}, {}, ()).findings if one.subject == "source db"]
    assert finding.severity == "error"
    assert "nobody answers" in finding.message
    assert "See whether the server runs" in finding.hint


def test_doctor_tells_the_servers_version_and_the_role(filled: Database, source_of: Make) -> None:
    found = [one for one in doctor.run({"db": source_of(filled)}, {}, {}, ()).findings if one.subject == "source db"]
    assert [one.severity for one in found] == ["ok", "ok"]
    assert re.match(r"PostgreSQL \d+\.\d+.* answers; the role postgres may read", found[1].message)
