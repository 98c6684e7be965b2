from pathlib import Path

import pytest

from postgres_server.running import Database
from recoup.errors import DamagedError, UsageError
from recoup.sources.postgres import look_into

from .test_files import dumped


@pytest.mark.requirement("SR-11")
def test_a_dump_says_what_it_holds_and_a_cut_one_is_damaged(database: Database, tmp_path: Path) -> None:
    database.execute(
        "CREATE TABLE notes AS SELECT n, repeat('note ', n) FROM generate_series(1, 1500) n",
        "CREATE TABLE tags AS SELECT n FROM generate_series(1, 40) n",
    )
    custom = dumped(database, tmp_path / "rag.dump", "--format=custom")
    assert look_into(custom, tmp_path) == "1,540 rows in 2 tables"
    text = dumped(database, tmp_path / "rag.sql")
    assert look_into(text, tmp_path) == "SQL text, whole; its rows are counted by nobody"
    for path in (custom, text):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DamagedError):
            look_into(path, tmp_path)


def test_text_of_unknown_origin_may_be_cut_off_and_anything_else_is_no_dump(tmp_path: Path) -> None:
    path = tmp_path / "hand.sql"
    path.write_text("CREATE TABLE a (b int);\n")
    assert "may be cut off" in look_into(path, tmp_path)
    path.write_bytes(b"\0\1\2")
    with pytest.raises(UsageError, match="neither a dump"):
        look_into(path, tmp_path)
