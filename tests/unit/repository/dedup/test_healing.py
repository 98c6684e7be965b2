"""Repair of dedup repositories: from copies of whatever layout, and from what is left of themselves."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, ExitCode
from recoup.model.names import SetName
from recoup.model.part import StreamPart, TreePart
from recoup.model.reports import RepairReport
from recoup.operations import repair
from recoup.repository._base import Repository, Subset
from recoup.repository.dedup.healing import _Filling
from recoup.repository.dedup.index import Place
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.dedup.rows import Row
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import LARGE, Given, stream_bytes, tree_contents
from unit.operations.scripted import ScriptedCapture, ScriptedSource
from unit.operations.test_fanout import back_up_into, made
from unit.operations.test_repair import FILES, small_tree
from unit.repository.dedup.small_sets import Small, noise

DATA = LARGE[:300_000] + bytes(1_500_000)


def dedup(root: Path, key: Path) -> DedupRepository:
    return DedupRepository(root.name, LocalStorage(root), DedupOptions(key_file=key), SystemClock(), None)


@dataclass
class Pair:
    """The same cut in two repositories, the first of which is of chunks, and damaged."""

    root: Path
    key: Path
    there: Repository
    name: SetName

    @property
    def here(self) -> DedupRepository:
        return dedup(self.root, self.key)

    def mended(self, *, alone: bool = False) -> RepairReport:
        sides = repair.Sides(self.here, None if alone else self.there, SystemClock(), lambda _: None)
        [row] = repair.plan([self.name], sides)
        assert row.damage
        return repair.run(row, sides)

    def require_whole(self) -> None:
        here = self.here
        assert list(here.verify(self.name, Subset())) == []
        stream, tree = here.manifest(self.name).sources["it"].parts
        assert stream_bytes(here.fetch(self.name, "it", stream)) == DATA
        contents = tree_contents(here.fetch(self.name, "it", tree))
        assert {name: contents[name][1] for name in FILES} == FILES

    def files(self, folder: str) -> list[Path]:
        return sorted(path for path in (self.root / folder).rglob("*") if path.is_file())


@pytest.fixture(params=["plain", "zipped", "archived", "dedup", "copied"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    here = dedup(tmp_path / "here", key)
    here.create()
    kind, there = request.param, tmp_path / "there"
    others: list[Any] = []
    if kind == "dedup":
        others = [dedup(there, key)]
        others[0].create()
    elif kind != "copied":
        styles: dict[str, Any] = {"plain": ("tree", "none"), "zipped": ("tar.gz", "gzip"), "archived": ("tar", "none")}
        others = [made("there", LocalStorage(there), *styles[kind])]

    def parts() -> Any:
        return iter([StreamPart("main.db", Given(DATA), len(DATA)), TreePart("more", small_tree())])

    source = ScriptedSource([ScriptedCapture(parts)])
    assert back_up_into([here, *others], {"it": source}).exit_code == ExitCode.OK
    if kind == "copied":
        shutil.copytree(here_root := tmp_path / "here", there)
        assert here_root.exists()
        others = [dedup(there, key)]
    return Pair(tmp_path / "here", key, others[0], here.names()[0])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.requirement("SR-9")
def test_a_damaged_chunk_comes_back_from_a_copy_of_any_layout(pair: Pair) -> None:
    [pack] = pair.files("packs")
    flip(pack)
    report = pair.mended()
    assert (report.left, report.exit_code) == ((), ExitCode.OK)
    assert report.repaired
    pair.require_whole()


def test_what_several_sets_share_is_put_back_once_and_all_of_them_are_whole(pair: Pair) -> None:
    def parts() -> Any:
        return iter([StreamPart("main.db", Given(DATA), len(DATA)), TreePart("more", small_tree())])

    assert back_up_into([pair.here], {"it": ScriptedSource([ScriptedCapture(parts)])}).exit_code == ExitCode.OK
    [pack] = pair.files("packs")
    flip(pack)
    sides = repair.Sides(pair.here, pair.there, SystemClock(), lambda _: None)
    rows = repair.plan(pair.here.names(), sides)
    assert all(row.damage for row in rows)
    reports = [repair.run(row, sides) for row in rows]
    assert [report.left for report in reports] == [(), ()]


def test_all_that_was_in_lost_packs_comes_back_from_a_copy_of_any_layout(pair: Pair) -> None:
    for pack in pair.files("packs"):
        pack.unlink()
    report = pair.mended()
    assert (report.left, report.reasons) == ((), ())
    pair.require_whole()


def test_a_lost_index_is_made_anew_without_any_other_repository(pair: Pair) -> None:
    for file in pair.files("index"):
        file.unlink()
    report = pair.mended(alone=True)
    assert report.left == ()
    assert [path.split("/")[0] for path in report.repaired] == ["index"]
    pair.require_whole()


@pytest.mark.parametrize("place", [-1, -12, -40])
def test_what_stands_behind_the_chunks_of_a_pack_is_made_anew(pair: Pair, place: int) -> None:
    [pack] = pair.files("packs")
    whole = pack.read_bytes()
    pack.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[len(whole) + place + 1 :])
    report = pair.mended(alone=True)
    assert (report.left, report.repaired) == ((), (pack.relative_to(pair.root).as_posix(),))
    assert pack.read_bytes() == whole
    pair.require_whole()


def test_what_cannot_be_mended_without_a_copy_is_said(pair: Pair) -> None:
    [pack] = pair.files("packs")
    flip(pack)
    report = pair.mended(alone=True)
    assert report.exit_code == ExitCode.DAMAGED
    assert report.repaired == ()
    assert "no other repository was named" in report.reasons


@pytest.mark.parametrize("path", ["manifest.json", "recipes"])
def test_a_lost_file_of_a_set_comes_back_from_a_copy_with_the_same_keys_alone(pair: Pair, path: str) -> None:
    (pair.root / str(pair.name) / path).write_bytes(b"{}")
    report = pair.mended()
    if (pair.root.parent / "there" / str(pair.name) / "recipes").exists() and _is_copy(pair):
        assert report.repaired == (path,)
        pair.require_whole()
    else:
        assert report.left
        assert report.reasons
        assert (pair.root / str(pair.name) / path).read_bytes() == b"{}"


def _is_copy(pair: Pair) -> bool:
    return isinstance(pair.there, DedupRepository) and pair.there.keys.repository == pair.here.keys.repository


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 17), st.randoms())
def test_chunks_are_put_together_from_pieces_in_any_order(lengths: list[int], size: int, random: Any) -> None:
    import blake3

    data, key, wanted, at = random.randbytes(sum(lengths)), bytes(32), list[tuple[int, Place]](), 0
    for n, length in enumerate(lengths):
        identity = blake3.blake3(data[at : at + length], key=key).digest()
        if n % 2 == 0:
            wanted.append((at, Place(Row(b"r" * 12, n, identity, length, length, 0), PackRef(b"r" * 12, 0), 0, 0, n)))
        at += length
    found = dict[int, bytes]()
    filling = _Filling(wanted, key, lambda place, chunk: found.__setitem__(place.row.number, chunk))
    pieces = [(begin, data[begin : begin + size]) for begin in range(0, len(data), size)]
    random.shuffle(pieces)
    for begin, piece in pieces:
        touched = any(at < begin + len(piece) and begin < at + place.row.length for at, place in wanted)
        assert filling.wants(begin, len(piece)) == touched
        filling.take(begin, piece)
    assert found == {place.row.number: data[begin : begin + place.row.length] for begin, place in wanted}


def test_bytes_of_another_cut_are_not_taken(pair: Pair) -> None:
    [pack] = pair.files("packs")
    pack.unlink()
    here = pair.here
    [part] = [one for one in here.manifest(pair.name).sources["it"].parts if one.kind == "stream"]
    for data in (b"x" * len(DATA), DATA[:1000], b""):
        assert here.healing().heal(pair.name, part, partial(StreamPart, "main.db", Given(data), len(data)), None) == 0
    assert pair.files("packs") == []
    assert here.healing().heal(pair.name, part, lambda: StreamPart("main.db", Given(DATA), len(DATA)), None) > 0


def test_a_pack_is_replaced_by_what_was_stored_or_stays_as_it_is(tmp_path: Path) -> None:
    small = Small(tmp_path)
    first = small.add(a=noise(1))
    [pack] = small.packs
    small.flip(pack, 200)
    assert list(small.again().verify(first, Subset()))
    small.add(a=noise(1))  # so that each chunk of the pack can be read
    before = small.storage.get(pack.key)
    with pytest.raises(DamagedError, match="cannot be made anew"):
        small.again().healing().mend_pack(first, pack.key)
    assert small.storage.get(pack.key) == before
    small.check()
