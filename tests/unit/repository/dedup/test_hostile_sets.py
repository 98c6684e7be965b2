"""Sets that somebody with all keys made to do harm: a typed error or the right bytes, soon, and in little memory."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blake3
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError
from recoup.model.manifest import MemberList, StoredPart
from recoup.model.part import TreePart
from recoup.repository._base import Subset
from recoup.repository.dedup import sets
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.keys import KIND_MANIFEST, KIND_RECIPES, RunKey
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.reading import Chunks
from recoup.repository.dedup.recipes import MAGIC, unpacked
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.dedup.storing import StreamStorer
from recoup.repository.dedup.writing import DedupSetWriter
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, manifest_of, record_of
from unit.repository.dedup import golden
from unit.repository.dedup.golden import KEY_FILE, kept, restored
from unit.repository.dedup.honesty import objects_of, opened_by_key
from unit.repository.dedup.stores import KEYS, Host, chunk_id

DAYS = objects_of(golden.FOLDER / "days-1")
NAME = "backup_20261122_020000"
CONTENT = kept(1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../../etc", "/", ".", "tree", "chunks", "db/main.db", "0" * 64]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)


class Forger:
    """Takes a golden set apart, and makes it again with whatever it is to hold."""

    def __init__(self, key: Path) -> None:
        self.repository = opened_by_key(DAYS, key)
        self.keys = self.repository.keys
        name = self.repository.names()[1]
        self.header = self.repository.header(name)
        self.run_key: RunKey = self.keys.open_run(self.header.key, "")
        self.identity = sets.identity(self.header.run, self.keys.repository)
        self.manifest = self._opened(KIND_MANIFEST, self.header.counter, self.header.manifest)
        self.recipes = self._opened(KIND_RECIPES, 0, DAYS[f"{NAME}/recipes"][len(MAGIC) :])

    def _opened(self, kind: int, counter: int, sealed: bytes) -> bytes:
        return unpacked(self.run_key.open(kind, counter, sealed, self.identity, ""), 1 << 20, "")

    def forged(self, key: Path, manifest: bytes, recipes: bytes) -> DedupRepository:
        """The repository with the set made anew, signed and sealed by the keys."""
        packed = zstandard.ZstdCompressor().compress(recipes)
        file = MAGIC + self.run_key.seal(KIND_RECIPES, 0, packed, self.identity)
        digest = blake3.blake3(file).hexdigest()
        head = sets.encode_set(manifest, self.header.run, 9, self.run_key, digest, self.keys)
        return opened_by_key({**DAYS, f"{NAME}/manifest.json": head, f"{NAME}/recipes": file}, key)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "key"
    file.write_bytes(KEY_FILE)
    return file


@pytest.fixture(scope="module")
def forger(key: Path) -> Forger:
    return Forger(key)


def attempts(repository: DedupRepository) -> tuple[bool, dict[str, object] | None]:
    """Whether the set verifies, and what it yields; None for a typed error. All else comes through."""
    name = repository.names()[1]
    try:
        verifies = not list(repository.verify(name, Subset()))
    except RecoupError:
        verifies = False
    try:
        return verifies, restored(repository, name)
    except RecoupError as error:
        assert error.message
        return verifies, None


def test_a_set_that_was_made_anew_as_it_was_is_read(forger: Forger, key: Path) -> None:
    assert attempts(forger.forged(key, forger.manifest, forger.recipes)) == (True, CONTENT)


def places(value: Any) -> Iterator[tuple[Callable[[Any], None], Any]]:
    """Every place in a JSON document: what sets it, and what is there."""
    listed = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, inner in list(listed):
        yield lambda new, place=place: value.__setitem__(place, new), inner  # type: ignore[misc]
        yield from places(inner)


@settings(max_examples=40)
@given(st.data())
def test_a_manifest_with_another_value_anywhere_is_refused_or_read(
    forger: Forger, key: Path, data: st.DataObject
) -> None:
    document = json.loads(forger.manifest)
    part = document["sources"]["db"]["parts"][0]
    part["attributes"] = {"mode": 0o600, "mtime_ns": 5, "xattrs": {"user.note": "AAAA"}}
    setting = data.draw(st.sampled_from([setting for setting, _ in places(document)]))
    setting(data.draw(json_values))
    verifies, found = attempts(forger.forged(key, json.dumps(document).encode(), forger.recipes))
    assert found is not None or not verifies


@settings(max_examples=40)
@given(st.data())
def test_recipes_that_were_mutated_yield_the_bytes_of_their_roots_or_nothing(
    forger: Forger, key: Path, data: st.DataObject
) -> None:
    mutated = bytearray(forger.recipes)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    verifies, found = attempts(forger.forged(key, forger.manifest, bytes(mutated)))
    assert found is None or found == CONTENT
    assert found is not None or not verifies


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": 1, "mtime_ns": 2**63, "xattrs": {}},
        {"mode": 1, "mtime_ns": -(2**80), "xattrs": {}},
        {"mode": 1, "mtime_ns": 1, "xattrs": {"user.note": "A"}},
        {"mode": 1, "mtime_ns": 1, "xattrs": {"user.note": "é"}},
    ],
)
def test_a_manifest_with_attributes_that_no_file_has_is_refused(
    forger: Forger, key: Path, attributes: dict[str, Any]
) -> None:
    document = json.loads(forger.manifest)
    document["sources"]["db"]["parts"][0]["attributes"] = attributes
    assert attempts(forger.forged(key, json.dumps(document).encode(), forger.recipes)) == (False, None)


def test_a_tree_without_a_member_list_does_not_verify(forger: Forger, key: Path) -> None:
    document = json.loads(forger.manifest)
    document["sources"]["tree"]["parts"][0]["members"] = None
    assert attempts(forger.forged(key, json.dumps(document).encode(), forger.recipes)) == (False, None)


@pytest.mark.parametrize("item", ["manifest.json", "recipes"])
def test_a_file_of_a_set_that_is_far_too_long_is_not_taken_into_memory(key: Path, item: str, tmp_path: Path) -> None:
    for found, data in DAYS.items():
        (tmp_path / "r" / found).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / found).write_bytes(data)
    os.truncate(tmp_path / "r" / NAME / item, 10**12)
    options = DedupOptions(key_file=key)
    repository = DedupRepository("r", LocalStorage(tmp_path / "r"), options, SystemClock(), None)
    assert attempts(repository) == (False, None)
    assert restored(repository, repository.names()[0]) == kept(0)


# --- member lists -----------------------------------------------------------------------------------------------------


def with_tree(key: Path, lines: bytes, count: int) -> DedupRepository:
    """A repository whose newest set has a tree with a member list of any bytes, and ten bytes of content."""
    repository = opened_by_key(DAYS, key)
    with repository.begin(NOW.replace(year=2027)) as writer:
        assert isinstance(writer, DedupSetWriter)
        recipes = []
        for path, content in (("tree", b"0123456789"), ("tree.members.jsonl", lines)):
            storer = StreamStorer(writer.run)
            storer.write(content)
            recipes.append(storer.finish()[0])
            writer.keep(path, recipes[-1])
        stream, listed = recipes
        members = MemberList("tree.members.jsonl", count, listed.root.hex(), listed.size)
        part = StoredPart(".", "tree", "tree", 10, 10, stream.root.hex(), pack="chunks", members=members)
        writer.commit(manifest_of(writer.name, {"tree": record_of(part)}))
    return repository


def yielded(repository: DedupRepository) -> dict[str, bytes] | None:
    """The files of its newest set's tree, or None for a typed error."""
    name = repository.names()[-1]
    try:
        part = repository.fetch(name, "tree", repository.manifest(name).sources["tree"].parts[0])
        assert isinstance(part, TreePart)
        found = {}
        for member in part.members:
            with member.content.open() if member.content else open("/dev/null", "rb") as reader:
                found[member.name] = b"".join(iter(lambda: reader.read(5), b""))
    except RecoupError:
        return None
    return found


def line(**fields: Any) -> bytes:
    """A line of a member list."""
    file = {"name": "a", "kind": "file", "mode": 0o600, "mtime_ns": 1, "bytes": 10, "sha256": ""}
    return json.dumps(file | fields).encode() + b"\n"


def test_a_tree_that_is_as_it_should_be_is_read(key: Path) -> None:
    assert yielded(with_tree(key, line(bytes=4) + line(name="b", bytes=3, at=7), 2)) == {"a": b"0123", "b": b"789"}


@pytest.mark.parametrize(
    "lines",
    [
        line(bytes=11),
        line(at=1),
        line(at=-1, bytes=1),
        line(at=2**63),
        line(bytes=-1),
        line(bytes=2**80),
        line(name="../a"),
        line(name="/a"),
        line(name=""),
        line(kind="device"),
        line(mode="x"),
        line(bytes="x"),
        line(bytes=float("inf")),
        line(at=float("nan"), bytes=1),
        line(mtime_ns=float("inf")),
        line(mtime_ns=2**70),
        line(xattrs={"user.a": "!"}),
        b"{}\n",
        b"[" * 100_000,
        b"\xff\n",
        line()[:-1] + b"\0\n",
        bytes(2_000_000),
    ],
)
def test_a_member_list_that_no_writer_makes_is_refused(key: Path, lines: bytes) -> None:
    repository = with_tree(key, lines, 1)
    assert yielded(repository) is None
    assert list(repository.verify(repository.names()[-1], Subset()))


# --- chunks -----------------------------------------------------------------------------------------------------------


def test_chunks_that_are_stored_against_each_other_are_not_looked_up_for_ever() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    first, second = b"first" * 30, b"second" * 30
    for one, other in ((first, second), (second, first)):
        host.add(one)
        host.add(one, bases=(chunk_id(other),))
    for found in list(storage.list("packs")):
        data = bytearray(storage.get(found.key))
        data[110] ^= 1
        storage.put(found.key, bytes(data))
    chunks = Chunks(storage, KEYS, Index.load(storage, KEYS))
    with pytest.raises(DamagedError):
        chunks.base(chunk_id(first))
    with pytest.raises(DamagedError):
        chunks.one(chunks.index.by_id(chunk_id(first))[-1])
