"""A full and a partial snapshot of a real server make what it held then, or nothing."""

import contextlib
import hashlib
import io
import random
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.surgery import BLOCK, END, Member, flipped, members
from recoup.errors import DamagedError, RefusedError
from recoup.sources.qdrant._manifests import DoubtfulError, restricted, same
from recoup.sources.qdrant._members import members as raw_members
from recoup.sources.qdrant._merging import merged
from recoup.sources.qdrant._opened import opened
from recoup.sources.qdrant._tar import Entry
from recoup.sources.qdrant._unpacking import unpack

from .pairs import BIG, SMALL, Pair, Slow, checked, member, rebuilt, small, without_manifests


@pytest.mark.requirement("SR-3")
def test_the_merged_shard_is_what_the_server_held(pair: Pair, truth: Mapping[str, Any], tmp_path: Path) -> None:
    contents = unpack(io.BytesIO(pair.merged()), tmp_path / "shard")
    assert contents.form == "streamed"
    assert contents.shards[0].active
    with opened({0: tmp_path / "shard" / "0"}) as shards:
        assert shards.count() == truth["count"] == 841
        ids = sorted(str(point["id"]) for point in shards.scroll(with_payload=False, with_vectors=False))
        assert hashlib.sha256("\n".join(ids).encode()).hexdigest() == truth["ids_sha256"]
        assert [shards.count(one["filter"]) for one in truth["filters"]] == [one["count"] for one in truth["filters"]]
        points = shards.get([point["id"] for point in truth["points"]], with_vectors=False)
        assert [point["payload"] for point in points] == [point["payload"] for point in truth["points"]]
        for text, expected in truth["exact_neighbours"].items():
            hits = shards.search(int(text), len(expected), with_payload=False)
            assert [hit["score"] for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_what_did_not_change_keeps_its_bytes_and_its_place(pair: Pair) -> None:
    found = pair.merged()
    came = {one.name for one in members(pair.partial)}
    kept = [one.name for one in members(pair.full) if one.name.startswith("segments/")]
    assert [one.name for one in members(found)][: len(kept)] != kept, "new files stand with their segment"
    assert [name for name in (one.name for one in members(found)) if name in kept] == kept
    for one in members(found):
        source = pair.partial if one.name in came else pair.full
        assert found[one.start : one.end] == member(source, one.name)
    assert len(kept) - len(came & set(kept)) == 52, "of the big segment's files"
    assert not any(one.name.endswith("segment_manifest.json") for one in members(found))
    assert found.endswith(END)


def test_holes_stay_holes(pair: Pair) -> None:
    found = pair.merged()
    assert len(found) < 3 << 20
    assert checked(found).unpacked > 100 << 20


@pytest.mark.parametrize("piece", [511, 513, 10_000])
def test_it_does_not_matter_in_which_pieces_the_earlier_one_is_read(pair: Pair, piece: int) -> None:
    assert pair.merged(piece) == pair.merged()


def test_segments_that_are_gone_go_and_new_ones_come(pair: Pair) -> None:
    """The small segment stands for one that the optimizer made anew."""
    new = "11111111-2222-4333-8444-555555555555"
    big = small_name(pair.partial, SMALL, new)
    pair.partial = big
    found = checked(pair.merged()).shards[0]
    assert set(found.segments) == {BIG, new}
    assert found.segments[new] == checked(pair.partial).shards[0].segments[new]


def small_name(data: bytes, old: str, new: str) -> bytes:
    """The archive with another id of a segment; headers are made anew where they name it."""

    def renamed(entry: Member, found: bytes) -> bytes:
        if old not in entry.name:
            return found
        return small(entry.name.replace(old, new), content_of(data, entry).replace(old.encode(), new.encode()))

    return rebuilt(data, renamed)


def content_of(data: bytes, entry: Member) -> bytes:
    return data[entry.content : entry.content + entry.size]


def drop(name: str) -> Callable[[Pair], None]:
    def change(pair: Pair) -> None:
        pair.partial = rebuilt(pair.partial, lambda entry, data: b"" if entry.name.endswith(name) else data)

    return change


def set_version(name: str, version: Any) -> Callable[[Pair], None]:
    return lambda pair: pair.manifests(lambda told: told["file_versions"].update({name: version}))


def lose_from_the_earlier(pair: Pair) -> None:
    pair.lengths = checked(pair.full).shards[0].segments
    pair.full = rebuilt(pair.full, lambda entry, data: b"" if entry.name.endswith("matrix.dat") else data)


def record_another_length(pair: Pair) -> None:
    pair.lengths = checked(pair.full).shards[0].segments
    pair.lengths[BIG]["vector_storage/matrix.dat"] += 1


def forget_a_file(pair: Pair) -> None:
    pair.lengths = checked(pair.full).shards[0].segments
    del pair.lengths[BIG]["vector_storage/matrix.dat"]


def forget_a_segment(pair: Pair) -> None:
    pair.known = {SMALL: pair.known[SMALL]}


def nest(pair: Pair) -> None:
    pair.full = small(f"segments/{BIG}.tar", b"") + pair.full


def double(pair: Pair) -> None:
    pair.partial = rebuilt(pair.partial, lambda entry, data: data * 2 if entry.name.endswith("wal/") else data)


DOUBTS: Mapping[str, tuple[Callable[[Pair], object], str]] = {
    "a changed file did not come": (drop(f"{BIG}/files/payload_storage/tracker.dat"), "tracker.dat .*did not come"),
    "a segment came without its manifest": (drop(f"{BIG}/files/segment_manifest.json"), "without its manifest"),
    "a file is newer than it came": (set_version("vector_storage/matrix.dat", 21), "matrix.dat .*did not come"),
    "a file is older than before": (set_version("vector_storage/matrix.dat", 17), "put back"),
    "a file has no known version": (set_version("vector_storage/matrix.dat", 0), "did not come"),
    "a file is new": (set_version("vector_storage/other.dat", 20), "other.dat .*did not come"),
    "a version is none": (set_version("vector_storage/matrix.dat", "18"), "no versions"),
    "a version is a truth": (set_version("vector_storage/matrix.dat", True), "no versions"),
    "there are no versions": (lambda pair: pair.manifests(dict.clear), "no versions"),
    "the manifest is another segment's": (
        lambda pair: pair.manifests(lambda told: told.update(segment_id=SMALL)),
        "another one",
    ),
    "a segment is older than before": (
        lambda pair: pair.manifests(lambda told: told.update(segment_version=17)),
        "older than in the earlier set",
    ),
    "the manifest that was sent lacks the segment": (forget_a_segment, "did not come"),
    "the earlier one lacks a file": (lose_from_the_earlier, "lacks vector_storage/matrix.dat"),
    "the earlier one has another length": (record_another_length, "another length than recorded"),
    "the record lacks a file": (forget_a_file, "has no vector_storage/matrix.dat"),
    "the earlier one is no stream": (nest, "no file of a segment"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_does_not_fit_is_doubted(pair: Pair, doubt: str) -> None:
    change, reason = DOUBTS[doubt]
    change(pair)
    with pytest.raises(DoubtfulError, match=reason):
        pair.merged()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_an_earlier_one_that_is_cut_is_damaged(pair: Pair, share: float) -> None:
    pair.lengths = checked(pair.full).shards[0].segments
    pair.full = pair.full[: int(len(pair.full) * share)]
    with pytest.raises(DamagedError, match="cut short"):
        pair.merged()


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bytes_give_a_typed_error_or_a_snapshot(pair: Pair, seed: int) -> None:
    """Content is nobody's business here: stored bytes have their hashes, and a drill opens them."""
    chance = random.Random(seed)
    pair.lengths = checked(pair.full).shards[0].segments
    headers = [one.start + chance.randrange(BLOCK) for one in members(pair.full if seed % 2 else pair.partial)]
    places = chance.sample(headers, 1 + seed % 3)
    if seed % 2:
        pair.full = flipped(pair.full, *places)
    else:
        pair.partial = flipped(pair.partial, *places)
    with contextlib.suppress(DamagedError, RefusedError):
        assert checked(pair.merged()).form == "streamed"


def test_an_earlier_one_with_links_is_doubted(pair: Pair) -> None:
    link = bytearray(small("segments/x", b""))
    link[156:157] = b"2"
    link[148:156] = b" " * 8
    link[148:156] = f"{sum(link[:512]):06o}\0 ".encode()
    pair.lengths = checked(pair.full).shards[0].segments
    pair.full = bytes(link) + pair.full
    with pytest.raises(DoubtfulError, match="neither a file nor a folder"):
        pair.merged()


def test_a_member_that_comes_twice_is_doubted(pair: Pair) -> None:
    path = pair.folder / "partial"
    whole = checked(pair.partial).shards[0]
    double(pair)
    path.write_bytes(pair.partial)
    with pytest.raises(DoubtfulError, match="holds wal twice"):
        b"".join(merged(pair.base, io.BytesIO(pair.full), path, whole))


def test_merged_snapshots_are_the_base_of_the_next(pair: Pair, tmp_path: Path) -> None:
    """The same changes once more: nothing of the base is older or newer."""
    once = pair.merged()
    again = Pair(once, pair.partial, checked(pair.partial).shards[0].partial, tmp_path)
    assert without_manifests(again.merged()) == once


def test_memory_does_not_grow_with_the_files(pair: Pair) -> None:
    """Two files of 24 MiB in the earlier snapshot: one stays, one goes."""
    size = 24 << 20
    for name in ("stays.dat", "goes.dat"):
        pair.full = empty(f"segments/{BIG}/files/{name}", size) + bytes(size) + pair.full
    known = {**pair.known[BIG], "file_versions": {**pair.known[BIG]["file_versions"], "stays.dat": 18}}
    pair.known = {**pair.known, BIG: known}
    pair.manifests(lambda told: told["file_versions"].update({"stays.dat": 18}))
    path, came, base = pair.folder / "partial", checked(pair.partial).shards[0], pair.base
    path.write_bytes(pair.partial)
    tracemalloc.start()
    length = sum(len(piece) for piece in merged(base, Slow(pair.full, 1 << 20), path, came))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < length < 2 * size
    assert peak < 12 << 20


def empty(name: str, size: int) -> bytes:
    """The header of a file of some length."""
    header = bytearray(small(name, b""))
    header[-388:-376] = f"{size:011o}\0".encode()
    header[-364:-356] = b" " * 8
    header[-364:-356] = f"{sum(header[-512:]):06o}\0 ".encode()
    return bytes(header)


def test_manifests_are_the_same_by_segments_and_versions(pair: Pair) -> None:
    after = checked(pair.partial).shards[0].partial
    assert same(pair.known, dict(reversed([*pair.known.items()])))
    assert not same(pair.known, after)
    assert not same(pair.known, {BIG: pair.known[BIG]})


def test_of_a_manifest_counts_what_was_read_after_it(pair: Pair) -> None:
    held = checked(pair.full).shards[0].segments
    del held[SMALL]["vector_storage/vectors/config.json"]
    gone = "11111111-2222-4333-8444-555555555555"
    told = {**pair.known, gone: {**pair.known[BIG], "segment_id": gone}}
    kept = restricted(told, {**held, "00000000-2222-4333-8444-555555555555": {}})
    assert set(kept) == {BIG, SMALL}
    assert kept[BIG] == pair.known[BIG]
    lost = pair.known[SMALL]["file_versions"].keys() - kept[SMALL]["file_versions"].keys()
    assert lost == {"vector_storage/vectors/config.json"}


def test_an_archive_falls_into_its_members(pair: Pair) -> None:
    found: dict[str, bytes] = {}
    name = ""
    for piece in raw_members(io.BytesIO(pair.full), "it"):
        if isinstance(piece, Entry):
            name = piece.name
        else:
            found[name] = found.get(name, b"") + piece
    assert b"".join(found.values()) + END == pair.full
    assert found == {one.name.rstrip("/"): pair.full[one.start : one.end] for one in members(pair.full)}
