"""Hosts that may only add sets: what they can do with their key file, and what they cannot."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import RefusedError, StorageError, WrongKeyError
from recoup.repository.dedup.keys import KIND_CHUNK, Keys, new_keys
from recoup.repository.dedup.keyslots import add, create, open_keys, remove
from recoup.repository.dedup.openers import KeyFile
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.record import Record
from recoup.repository.dedup.writers import Makers, decode_writer, let_in, writers
from recoup.storage.memory import MemoryStorage
from sealing_keys import age_key, private

REPOSITORY = "00112233445566778899aabbccddeeff"
MOMENT = datetime(2026, 11, 21, 2, tzinfo=UTC)


@pytest.fixture
def file(storage: MemoryStorage, keys: Keys, tmp_path: Path) -> Path:
    let_in(storage, keys, tmp_path / "writer", "web server", MOMENT)
    return tmp_path / "writer"


def host(storage: MemoryStorage, record: Record, file: Path) -> Keys:
    return open_keys(storage, record, DedupOptions(writer_key_file=file))


def test_a_writer_key_file_is_what_the_page_says(storage: MemoryStorage, keys: Keys, file: Path) -> None:
    held = json.loads(file.read_text())
    assert set(held) == {"format", "version", "repository", "writer", "public", "dedup", "owner", "signing"}
    assert (held["format"], held["version"], held["repository"]) == ("recoup-writer-key", 1, REPOSITORY)
    assert (held["public"], held["dedup"], held["owner"]) == (keys.public.hex(), keys.dedup.hex(), keys.owner.hex())
    assert file.stat().st_mode & 0o777 == 0o600
    told = json.loads(storage.get(f"keys/writers/{held['writer']}.json"))
    signature = bytes.fromhex(told.pop("signature"))
    text = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    Ed25519PublicKey.from_public_bytes(keys.owner).verify(signature, text)
    assert (told["format"], told["label"], told["writer"]) == ("recoup-writer", "web server", held["writer"])


def test_a_writer_key_file_has_no_way_to_the_private_key(keys: Keys, file: Path) -> None:
    assert keys.private is not None
    assert keys.private.hex() not in file.read_text()
    assert keys.signing.hex() not in file.read_text()


def test_a_writer_names_chunks_as_the_owner_and_reads_nothing(
    storage: MemoryStorage, keys: Keys, record: Record, file: Path
) -> None:
    writer = host(storage, record, file)
    assert (writer.chunk_key, writer.index_key, writer.cut_seed) == (keys.chunk_key, keys.index_key, keys.cut_seed)
    assert not writer.can_read
    assert writer.maker not in (keys.maker, writer.owner)
    run = keys.new_run()
    run.seal(KIND_CHUNK, 0, b"x", b"id")
    with pytest.raises(WrongKeyError, match="cannot be read on this host"):
        writer.open_run(run.sealed, "the pack")


def test_a_writer_is_believed_by_itself_alone(
    storage: MemoryStorage, keys: Keys, record: Record, tmp_path: Path
) -> None:
    made = [let_in(storage, keys, tmp_path / name, name, MOMENT) for name in ("a", "b")]
    first = host(storage, record, tmp_path / "a")
    assert first.maker == made[0].verify
    assert first.believes(first.maker, first.maker)
    assert first.believes(keys.maker, keys.maker)
    assert not first.believes(made[1].verify, made[1].verify)
    assert not keys.believes(first.maker, first.maker)


def test_a_writer_lets_nobody_in(storage: MemoryStorage, record: Record, file: Path, tmp_path: Path) -> None:
    writer = host(storage, record, file)
    with pytest.raises(WrongKeyError, match="cannot let others in"):
        let_in(storage, writer, tmp_path / "second", "", MOMENT)
    with pytest.raises(WrongKeyError, match="cannot make keyslots"):
        add(storage, writer, KeyFile(private(tmp_path / "key", bytes(32))), "", MOMENT)


def test_a_writer_that_was_removed_is_turned_away(
    storage: MemoryStorage, keys: Keys, record: Record, file: Path
) -> None:
    writer = host(storage, record, file).writer
    assert remove(storage, keys, writer[:8], MOMENT) == writer
    with pytest.raises(WrongKeyError, match=r"does not count any more: writer .* was shut out on 2026-11-21"):
        host(storage, record, file)
    storage.delete(f"keys/writers/{writer}.json")
    with pytest.raises(WrongKeyError, match="has no writer"):
        host(storage, record, file)


def test_a_writer_shuts_nobody_out(storage: MemoryStorage, record: Record, file: Path) -> None:
    writer = host(storage, record, file)
    with pytest.raises(WrongKeyError, match="cannot remove keys"):
        remove(storage, writer, writer.writer, MOMENT)
    assert host(storage, record, file) == writer


def test_sets_are_those_of_the_owner_and_of_hosts_that_were_let_in(
    storage: MemoryStorage, keys: Keys, record: Record, file: Path
) -> None:
    makers = Makers(storage, record)
    writer = host(storage, record, file)
    makers.require(keys.maker, "set 1")
    makers.require(writer.maker, "set 2")
    remove(storage, keys, writer.writer, MOMENT)
    Makers(storage, record).require(writer.maker, "set 2")  # made while it was let in, or so it says
    with pytest.raises(RefusedError, match="set 3 was made by a host that was never let in"):
        makers.require(bytes(32), "set 3")


def test_who_is_let_in_later_is_known_then(storage: MemoryStorage, keys: Keys, record: Record, tmp_path: Path) -> None:
    makers = Makers(storage, record)
    with pytest.raises(RefusedError):
        makers.require(bytes(32), "set 1")
    later = let_in(storage, keys, tmp_path / "later", "", MOMENT)
    makers.require(later.verify, "set 2")


def test_a_record_that_somebody_else_signed_makes_nobody_known(
    storage: MemoryStorage, keys: Keys, record: Record
) -> None:
    thief = new_keys(REPOSITORY)
    fields = {"format": "recoup-writer", "version": 1, "repository": REPOSITORY, "writer": "a" * 16, "label": ""}
    told = thief.signed({**fields, "verify": thief.maker.hex(), "created": MOMENT.isoformat()})
    storage.put(f"keys/writers/{'a' * 16}.json", json.dumps(told).encode())
    with pytest.raises(RefusedError, match="never let in"):
        Makers(storage, record).require(thief.maker, "set 1")


def test_shutting_a_writer_out_needs_no_other_slot_and_leaves_its_record(
    storage: MemoryStorage, keys: Keys, record: Record, file: Path
) -> None:
    remove(storage, keys, host(storage, record, file).writer, MOMENT)
    [writer] = writers(storage, record)[0]
    assert writer.removed == MOMENT


def test_the_writer_key_of_another_repository_is_turned_away(storage: MemoryStorage, keys: Keys, file: Path) -> None:
    other = Record.of(new_keys(REPOSITORY))
    with pytest.raises(WrongKeyError, match="is one of another repository"):
        host(storage, other, file)
    with pytest.raises(WrongKeyError, match="is one of another repository"):
        host(storage, replace(Record.of(keys), repository="0" * 32), file)


def test_a_writer_key_with_another_signing_key_is_turned_away(
    storage: MemoryStorage, record: Record, file: Path
) -> None:
    held = json.loads(file.read_text())
    file.write_text(json.dumps({**held, "signing": "ab" * 32}))
    with pytest.raises(WrongKeyError, match="is not the one that writer"):
        host(storage, record, file)


def test_a_record_that_the_owner_did_not_sign_lets_nobody_in(
    storage: MemoryStorage, keys: Keys, record: Record, file: Path
) -> None:
    writer = host(storage, record, file)
    key = f"keys/writers/{writer.writer}.json"
    told = json.loads(storage.get(key))
    storage.put(key, json.dumps(writer.signed({**told, "label": "mine"})).encode())
    with pytest.raises(RefusedError, match="not signed by the owner"):
        host(storage, record, file)
    good, problems = writers(storage, record)
    assert good == ()
    assert "not signed by the owner" in problems[0].message


def test_the_record_of_one_writer_does_not_count_for_another(
    storage: MemoryStorage, keys: Keys, record: Record, tmp_path: Path
) -> None:
    first, second = (let_in(storage, keys, tmp_path / name, name, MOMENT) for name in ("a", "b"))
    storage.put(f"keys/writers/{first.id}.json", storage.get(f"keys/writers/{second.id}.json"))
    with pytest.raises(RefusedError):
        host(storage, record, tmp_path / "a")


def test_writers_are_listed_with_their_labels(storage: MemoryStorage, record: Record, file: Path) -> None:
    [found] = writers(storage, record)[0]
    assert (found.label, found.created) == ("web server", MOMENT)


def test_a_repository_for_recipients_alone_gives_its_maker_a_writer_key(
    storage: MemoryStorage, keys: Keys, record: Record, tmp_path: Path
) -> None:
    """So a host can make a repository that it never can read."""
    public, identity = age_key(tmp_path)
    options = DedupOptions(recipients=(public,), writer_key_file=tmp_path / "writer")
    create(storage, keys, options, "web server", MOMENT)
    assert not open_keys(storage, record, options).can_read
    assert open_keys(storage, record, DedupOptions(identity_file=identity)) == keys


def test_a_writer_key_that_is_there_is_not_written_over(
    storage: MemoryStorage, keys: Keys, file: Path, tmp_path: Path
) -> None:
    before, there = file.read_bytes(), sorted(item.key for item in storage.list())
    options = DedupOptions(recipients=(age_key(tmp_path)[0],), writer_key_file=file)
    with pytest.raises(RefusedError, match="is there already"):
        create(storage, keys, options, "", MOMENT)
    assert file.read_bytes() == before
    assert sorted(item.key for item in storage.list()) == there


def test_a_key_file_whose_record_could_not_be_stored_is_taken_back(keys: Keys, tmp_path: Path) -> None:
    class Full(MemoryStorage):
        def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
            raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        let_in(Full(), keys, tmp_path / "writer", "", MOMENT)
    assert not (tmp_path / "writer").exists()


@given(
    st.binary(max_size=100)
    | st.dictionaries(st.text(max_size=8), st.text() | st.integers()).map(lambda it: json.dumps(it).encode())
)
def test_any_bytes_are_no_record_of_a_writer(data: bytes) -> None:
    with pytest.raises(RefusedError):
        decode_writer(data, "a" * 16, Record(REPOSITORY, bytes(32), bytes(32)))


@pytest.mark.parametrize(
    "other", [{"public": 5}, {"dedup": "ab"}, {"writer": "../x"}, {"writer": 5}, {"version": 2}, {"format": ""}]
)
def test_a_damaged_writer_key_is_told(
    storage: MemoryStorage, record: Record, file: Path, other: dict[str, Any]
) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **other}))
    with pytest.raises(WrongKeyError, match="is not a writer key, or is damaged"):
        host(storage, record, file)
