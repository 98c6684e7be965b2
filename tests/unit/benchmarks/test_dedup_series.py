"""The made series: what changes from day to day, and how much."""

import itertools
from pathlib import Path

import pytest

import dedup_files
from dedup_series import series
from dedup_texts import Language, pieces


def rows(dump: Path) -> dict[int, bytes]:
    """A dump's rows by their id."""
    lines = dump.read_bytes().split(b"FROM stdin;\n")[1].split(b"\\.\n")[0].splitlines()
    found = {int(line.split(b"\t")[0]): line for line in lines}
    assert len(found) == len(lines)
    return found


def test_a_days_dump_has_new_updated_and_deleted_rows_in_the_given_shares(tmp_path: Path) -> None:
    days = [rows(path) for path in dedup_files.dumps(1000, tmp_path)]
    assert len(days) == dedup_files.DAYS
    for before, after in itertools.pairwise(days):
        assert len(after.keys() - before.keys()) == 10
        assert len(before.keys() - after.keys()) == 2
        assert sum(after[number] != before[number] for number in after.keys() & before.keys()) == 5


def test_a_dump_is_the_same_each_time(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append([path.read_bytes() for path in dedup_files.dumps(300, tmp_path / name)])
    assert made[0] == made[1]


def test_a_flat_file_changes_in_a_hundredth_of_its_pages_and_grows_by_what_is_inserted(tmp_path: Path) -> None:
    (first, nothing), (second, limit) = dedup_files.flat(8_000_000, tmp_path)
    before, after = first.read_bytes(), second.read_bytes()
    assert nothing == 0
    assert (len(before), len(after)) == (8_000_000, 8_000_000 + dedup_files.INSERTED)
    turn = len(before) // 4096 // 2 * 4096 + 1000
    without = after[:turn] + after[turn + dedup_files.INSERTED :]
    changed = sum(before[at : at + 4096] != without[at : at + 4096] for at in range(0, len(before), 4096))
    assert changed == len(before) // 4096 // 100
    assert limit >= changed * 4096 + dedup_files.INSERTED


@pytest.mark.parametrize("make", [dedup_files.sqlite_files, dedup_files.duckdb_files])
def test_database_files_change_every_day_and_leave_nothing_else(make: object, tmp_path: Path) -> None:
    assert callable(make)
    made = list(make(1000, tmp_path))
    assert sorted(made) == sorted(tmp_path.iterdir())
    assert len({path.read_bytes() for path in made}) == dedup_files.DAYS


def test_a_language_says_the_same_for_the_same_seed() -> None:
    one, same, other = (Language(seed).texts(50) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert 300 < sum(map(len, one)) / len(one) < 900


def test_real_texts_come_in_small_pieces_with_nothing_lost_and_no_text_twice(tmp_path: Path) -> None:
    long = "".join(f"line {number} of a long document\n" for number in range(200))
    (tmp_path / "copies").mkdir()
    (tmp_path / "long.py").write_text(long)
    (tmp_path / "copies" / "long.py").write_text(long)
    (tmp_path / "short.py").write_text("one line")
    (tmp_path / "table.bin").write_text("no text")
    found = list(pieces(1, {"python": [tmp_path]}))
    texts = {source: "".join(p.text for p in found if p.source == source) for source in {p.source for p in found}}
    assert sorted(texts.values()) == [long, "one line"]
    assert max(len(piece.text) for piece in found) <= 520
    assert [piece.number for piece in found if piece.source != "short.py"] == list(range(len(found) - 1))


def test_of_web_pages_only_the_text_is_taken(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<script>var x = 1</script><p class='a'>one &lt; two</p>")
    (piece,) = pieces(1, {"rust": [tmp_path]})
    assert piece.text.split() == ["one", "<", "two"]


def test_a_series_is_made_once_and_kept(tmp_path: Path) -> None:
    made = series("pg", 1000, tmp_path)
    moment = made.path(0).stat().st_mtime_ns
    assert [one.kind for one in made.days] == ["first", "ordinary", "ordinary", "ordinary"]
    assert all(0 < one.limit < made.days[0].limit / 5 for one in made.days[1:])
    again = series("pg", 1000, tmp_path)
    assert again == made
    assert again.path(0).stat().st_mtime_ns == moment
