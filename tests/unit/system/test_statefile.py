"""What a machine remembers of a stack: private, transactional, never in the way when it is damaged."""

import sqlite3
from pathlib import Path

import pytest

from recoup.system.statefile import StateError, forget, remembered, state_path

TABLES = "CREATE TABLE IF NOT EXISTS runs (verb TEXT PRIMARY KEY, code INTEGER);"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def put(code: int) -> None:
    with remembered("shop", TABLES) as memory:
        memory.execute("INSERT OR REPLACE INTO runs VALUES ('backup', ?)", [code])


def found() -> list[int]:
    with remembered("shop", TABLES) as memory:
        return [row["code"] for row in memory.execute("SELECT code FROM runs")]


def test_what_was_written_is_there_for_the_next_process() -> None:
    put(3)
    assert found() == [3]


def test_only_its_owner_can_read_it() -> None:
    put(0)
    assert state_path("shop").stat().st_mode & 0o777 == 0o600
    assert state_path("shop").parent.stat().st_mode & 0o777 == 0o700


def test_an_error_inside_takes_back_what_was_written() -> None:
    put(0)
    with pytest.raises(KeyError), remembered("shop", TABLES) as memory:
        memory.execute("UPDATE runs SET code = 7")
        raise KeyError
    assert found() == [0]


def test_a_damaged_file_is_put_aside_and_a_new_one_begun() -> None:
    put(0)
    state_path("shop").write_bytes(b"not a database, but long enough to be looked at" * 100)
    assert found() == []
    assert state_path("shop").with_suffix(".db.damaged").is_file()
    put(5)
    assert found() == [5]


def test_damage_that_shows_only_when_it_is_read_is_put_aside_for_the_next_run() -> None:
    with remembered("shop", TABLES) as memory:
        memory.executemany("INSERT INTO runs VALUES (?, 0)", [(f"{number:0500}",) for number in range(100)])
    path = state_path("shop")
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StateError, match=r"was damaged; it is now shop\.db\.damaged"):
        found()
    assert found() == []
    put(5)
    assert found() == [5]


def test_a_place_that_cannot_be_written_is_a_sentence(state: Path) -> None:
    state.mkdir()
    (state / "recoup").write_text("a file where the folder should be")
    with pytest.raises(StateError, match=r"shop\.db.*cannot be used") as error:
        put(0)
    assert "XDG_STATE_HOME" in error.value.hint


def test_a_transaction_that_lasts_is_waited_for_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoup.system.statefile._PATIENCE", 0.05)
    put(0)
    other = sqlite3.connect(state_path("shop"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StateError, match="locked"):
            put(1)
    finally:
        other.close()
    assert found() == [0]


def test_forgetting_leaves_nothing() -> None:
    put(0)
    assert forget("shop")
    assert not forget("shop")
    assert found() == []
