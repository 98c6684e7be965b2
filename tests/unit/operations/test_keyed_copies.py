"""Copies and repairs where one repository's bucket has a shape of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.repository.test_keyed import CLOUDOPS, OF_DB, keyed
from recoup.errors import ExitCode
from recoup.model.names import SetName
from recoup.model.part import Part, StreamPart, TreePart
from recoup.operations import repair
from recoup.repository._base import Subset
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import LARGE, Given, stream_bytes
from unit.operations.scripted import ScriptedCapture, ScriptedSource
from unit.operations.test_copy import copied
from unit.operations.test_fanout import back_up_into, made
from unit.operations.test_repair import mend, small_tree

DATA = LARGE[:300_000]


@pytest.fixture
def shaped(tmp_path: Path) -> PlainRepository:
    repository = keyed(LocalStorage(tmp_path / "shaped"), OF_DB)
    repository.create()
    repository.name = "shaped"
    return repository


@pytest.fixture
def sets(tmp_path: Path) -> PlainRepository:
    return made("sets", LocalStorage(tmp_path / "sets"), "tar.gz", "gzip")


def parts() -> Iterator[Part]:
    yield StreamPart("main.db", Given(DATA), len(DATA))
    yield TreePart("more", small_tree())


def holds_all(repository: PlainRepository) -> SetName:
    [name] = repository.names()
    assert list(repository.verify(name, Subset())) == []
    stream = repository.manifest(name).sources["db"].parts[0]
    assert stream_bytes(repository.fetch(name, "db", stream)) == DATA
    return name


def stored(root: Path) -> Path:
    [found] = (root / "db").glob("main_*.db")
    return found


def test_one_reading_goes_into_both_shapes(shaped: PlainRepository, sets: PlainRepository, tmp_path: Path) -> None:
    source = ScriptedSource([ScriptedCapture(parts)])
    assert back_up_into([shaped, sets], {"db": source}).exit_code == ExitCode.OK
    holds_all(shaped)
    holds_all(sets)
    assert stored(tmp_path / "shaped").read_bytes() == DATA


@pytest.mark.parametrize("direction", ["in", "out"])
def test_sets_are_copied_from_one_shape_into_the_other(
    shaped: PlainRepository, sets: PlainRepository, direction: str
) -> None:
    origin, target = (sets, shaped) if direction == "in" else (shaped, sets)
    source = ScriptedSource([ScriptedCapture(parts)])
    assert back_up_into([origin], {"db": source}).exit_code == ExitCode.OK
    assert copied(origin, target).exit_code == ExitCode.OK
    holds_all(target)
    assert [one.there for one in copied(origin, target).sets] == [True]


def test_an_artefact_is_mended_under_its_own_key(
    shaped: PlainRepository, sets: PlainRepository, tmp_path: Path
) -> None:
    source = ScriptedSource([ScriptedCapture(parts)])
    back_up_into([shaped, sets], {"db": source})
    [name] = shaped.names()
    stored(tmp_path / "shaped").write_bytes(DATA[:-1] + b"!")
    report = mend(shaped, sets, name)
    assert (report.exit_code, report.left) == (ExitCode.OK, ())
    holds_all(shaped)


def test_a_set_is_mended_by_artefacts(shaped: PlainRepository, sets: PlainRepository, tmp_path: Path) -> None:
    source = ScriptedSource([ScriptedCapture(parts)])
    back_up_into([shaped, sets], {"db": source})
    [name] = sets.names()
    for path in ("db/main.db.gz", "db/more.tar.gz", "db.more.members.jsonl"):
        (tmp_path / "sets" / str(name) / path).unlink()
    news: list[Any] = []
    sides = repair.Sides(sets, shaped, SystemClock(), news.append)
    [row] = repair.plan([name], sides)
    assert repair.run(row, sides).left == ()
    holds_all(sets)


def test_the_shape_of_collections_takes_copies_beside_what_is_there(sets: PlainRepository, tmp_path: Path) -> None:
    target = keyed(LocalStorage(tmp_path / "fleet"), CLOUDOPS)
    target.create()
    target.name = "fleet"
    source = ScriptedSource([ScriptedCapture(parts)])
    back_up_into([sets], {"db": source})
    assert copied(sets, target).exit_code == ExitCode.OK
    holds_all(target)
