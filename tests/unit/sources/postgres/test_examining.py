import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from postgres_server import stacks
from postgres_server.running import Database
from recoup.errors import DamagedError
from recoup.model.part import Attributes, Member, Part, StreamPart, TreePart
from recoup.model.reports import Damage
from recoup.sources._staged import StagedBytes
from recoup.sources.postgres import _programs
from recoup.sources.postgres._archive import Intake, read_contents
from recoup.sources.postgres._blocks import read_blocks
from recoup.sources.postgres._examining import examine
from recoup.sources.postgres._plain import PlainWatch
from recoup.sources.postgres.server import PostgresSource

Make = Callable[..., PostgresSource]
Take = Callable[[PostgresSource], Any]


def parts(files: Mapping[str, bytes]) -> Iterator[Part]:
    """Files as they were captured, as parts again."""
    trees: dict[str, list[Member]] = {}
    for name, data in files.items():
        folder, _, member = name.partition(".dir/")
        if member:
            trees.setdefault(f"{folder}.dir", []).append(
                Member(member, "file", Attributes(0o600, 0), len(data), content=StagedBytes(data))
            )
        else:
            yield StreamPart(name, StagedBytes(data), len(data))
    for name, members in trees.items():
        yield TreePart(name, iter([Member(".", "folder", Attributes(0o700, 0)), *members]))


def looked(files: Mapping[str, bytes]) -> list[Damage]:
    return list(examine(parts(files)))


@pytest.fixture
def taken(database: Database, source_of: Make, take: Take) -> dict[str, bytes]:
    """A capture with everything, not compressed, so that a flipped byte is no matter of the compression."""
    stacks.rag(database, documents=5)
    stacks.varied(database)
    files: dict[str, bytes] = take(source_of(database, tables=["users", "parted"], globals=True, compresses=True)).files
    return files


@pytest.mark.requirement("SR-11")
@pytest.mark.parametrize("kind", ["custom", "directory", "plain"])
@pytest.mark.parametrize("compresses", [True, False])
def test_sound_dumps_are_sound(kind: str, compresses: bool, database: Database, source_of: Make, take: Take) -> None:
    stacks.varied(database)
    taken = take(
        source_of(database, format=kind, compresses=compresses, tables=["parted", "nothing_in_it"], globals=True)
    )
    assert looked(taken.files) == []


@pytest.mark.requirement("SR-11")
def test_a_dump_truncated_at_any_byte_is_found(taken: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_programs, "newest", lambda: None)  # by our own reading alone; the next test asks pg_restore
    (name,) = [name for name in taken if name.endswith(".dump") and "/" not in name]
    data = taken[name]
    chance = random.Random(1)
    for length in {0, 1, 5, len(data) - 1, len(data) - 5, *(chance.randrange(len(data)) for _ in range(150))}:
        with pytest.raises(DamagedError):
            whole(data[:length])
    (found,) = looked({**taken, name: data[:-1]})
    assert found.kind == "content"
    assert found.item == name


def whole(data: bytes) -> None:
    """Reads an archive to its end."""
    chunks = iter([data[at : at + 1000] for at in range(0, len(data), 1000)])
    intake = Intake(lambda _size: next(chunks, b""), "the dump")
    read_blocks(intake, read_contents(intake))


def test_pg_restore_is_asked_too_where_it_is_installed(
    taken: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = [name for name in taken if name.endswith(".dump") and "/" not in name]
    monkeypatch.setattr("recoup.sources.postgres._examining.read_blocks", lambda _intake, _contents: {})
    found = looked({**taken, name: taken[name][:-2000]})
    assert any("pg_restore" in one.message for one in found)


def test_a_flipped_byte_of_the_structure_is_found_or_harmless(taken: dict[str, bytes]) -> None:
    """What a flip inside of rows changes is the business of the hashes; none may end in another error."""
    name = next(name for name in taken if name.startswith("tables/public.users"))
    chance = random.Random(2)
    for _ in range(150):
        data = bytearray(taken[name])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        with contextlib.suppress(DamagedError):
            whole(bytes(data))


def test_a_dump_with_fewer_rows_than_were_counted_is_found(
    taken: dict[str, bytes], database: Database, source_of: Make, take: Take
) -> None:
    database.execute("DELETE FROM memory_logs WHERE id <= 3")
    name = f"{database.name}.dump"
    later = take(source_of(database, compresses=True)).files[name]
    (found,) = looked({**taken, name: later})
    assert "holds 197 rows of public.memory_logs; counted were 200 rows" in found.message


def test_a_dump_of_another_database_is_found(
    taken: dict[str, bytes], database: Database, databases: Callable[..., Database], source_of: Make, take: Take
) -> None:
    other = databases(database.server)
    other.execute("CREATE TABLE t ()")
    files = take(source_of(other)).files
    found = looked({**taken, f"{database.name}.dump": files[f"{other.name}.dump"]})
    assert "is a dump of the database" in found[0].message


@pytest.mark.parametrize("name", ["database.json", "facts.json", "globals.sql", "tables/public.users.dump"])
def test_a_part_that_is_missing_is_named(name: str, taken: dict[str, bytes]) -> None:
    found = looked({part: data for part, data in taken.items() if part != name})
    assert any(one.item == name and one.kind == "missing" for one in found)


def test_records_of_a_newer_version_are_not_guessed_at(taken: dict[str, bytes]) -> None:
    newer = json.dumps({**json.loads(taken["database.json"]), "version": 2}).encode()
    assert any("version 2" in one.message for one in looked({**taken, "database.json": newer}))


def test_a_file_of_a_directory_that_is_missing_or_cut_is_found(
    database: Database, source_of: Make, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks.varied(database)
    files = take(source_of(database, format="directory")).files
    monkeypatch.setattr(_programs, "newest", lambda: None)
    largest = max((name for name in files if name.endswith(".gz")), key=lambda name: len(files[name]))
    assert "are missing" in looked({name: data for name, data in files.items() if name != largest})[0].message
    assert "compressed" in looked({**files, largest: files[largest][:-9]})[0].message


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_a_plain_dump_is_complete_only_with_its_last_lines(
    step: int, database: Database, source_of: Make, take: Take
) -> None:
    stacks.varied(database)
    database.execute("INSERT INTO no_key VALUES (1, E'\\n-- PostgreSQL database dump complete\\n')")
    data = take(source_of(database, format="plain")).files[f"{database.name}.sql"]
    end = data.index(b"\n--\n-- PostgreSQL database dump complete\n--\n") + 40
    for cut, complete in ((len(data), True), (end, False), (len(data) // 2, False), (0, False)):
        watch = PlainWatch()
        for at in range(0, cut, step):
            watch.feed(data[at : min(at + step, cut)])
        assert watch.complete is complete
    assert watch.sequences == {}


def test_sequences_in_a_plain_dump_are_read_from_it_and_not_from_rows(
    database: Database, source_of: Make, take: Take
) -> None:
    stacks.varied(database)
    database.execute("INSERT INTO no_key VALUES (1, 'SELECT pg_catalog.setval(''x.y'', 1, true);')")
    facts = take(source_of(database, format="plain")).facts.values
    assert facts["sequence app.v1.numbers"] == {"value": "345"}
    assert "sequence x.y" not in facts
