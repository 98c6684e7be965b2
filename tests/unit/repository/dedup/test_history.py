import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.history import (
    Record,
    condemned_since,
    decode_record,
    encode_record,
    newer_records,
    read_records,
    write_record,
)
from recoup.repository.dedup.keys import verify_signature
from recoup.repository.dedup.packs import PackRef
from recoup.storage.memory import MemoryStorage
from unit.repository.dedup.stores import KEYS, NOW, run_id, writer_keys

ONE, TWO = PackRef(run_id(1), 0), PackRef(run_id(2), 5)
RECORD = Record(
    NOW, (ONE,), (TWO,), (ONE, TWO), ("a.idx",), ("backup_20261121_020000",), timedelta(hours=3), "", ("old.json",)
)


def test_a_record_has_the_form_of_the_page() -> None:
    document = json.loads(encode_record(KEYS, RECORD))
    signature = bytes.fromhex(document.pop("signature"))
    assert document == {
        "format": "recoup-history",
        "version": 1,
        "repository": KEYS.repository,
        "time": "2026-11-21T02:00:00+00:00",
        "condemned": [run_id(1).hex() + "-00000000"],
        "rescued": [run_id(2).hex() + "-00000005"],
        "removed_packs": [ONE.name, TWO.name],
        "removed_index": ["a.idx"],
        "removed_sets": ["backup_20261121_020000"],
        "removed_history": ["old.json"],
        "grace": 10800,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert verify_signature(KEYS.owner, signature, text)


def test_records_come_back_the_oldest_first(tmp_path: Path) -> None:
    storage, problems = MemoryStorage(), list[RecoupError]()
    names = [write_record(storage, KEYS, Record(NOW - timedelta(days=days), (ONE,))) for days in (1, 3, 2)]
    for cache in (None, Cache(tmp_path, KEYS), Cache(tmp_path, KEYS)):
        records = read_records(storage, KEYS, problems, cache)
        assert [record.name for record in records] == [names[1], names[2], names[0]]
    assert problems == []
    assert [record.name for record in newer_records(storage, KEYS, records[:2])] == [names[0]]


def test_a_pack_is_condemned_since_the_first_record_until_it_is_rescued() -> None:
    def since(*records: Record) -> dict[PackRef, timedelta]:
        return {ref: one.since - NOW for ref, one in condemned_since(records).items()}

    hours = [NOW + timedelta(hours=n) for n in range(4)]
    assert since(Record(hours[0], (ONE,)), Record(hours[1], (ONE, TWO))) == {
        ONE: timedelta(0),
        TWO: timedelta(hours=1),
    }
    assert since(Record(hours[0], (ONE,)), Record(hours[1], rescued=(ONE,))) == {}
    assert since(Record(hours[0], (ONE,)), Record(hours[1], rescued=(ONE,)), Record(hours[2], (ONE,))) == {
        ONE: timedelta(hours=2)
    }


def test_nobodys_records_but_the_owners_are_believed() -> None:
    storage, problems = MemoryStorage(), list[RecoupError]()
    name = write_record(storage, writer_keys(1), RECORD)
    assert read_records(storage, KEYS, problems) == []
    assert name in str(problems[0])
    assert newer_records(storage, KEYS, []) == []


def test_every_byte_of_a_record_is_guarded() -> None:
    good = encode_record(KEYS, RECORD)
    whole = decode_record(KEYS, good, "a record")
    for place in range(len(good) - 1):
        data = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        try:
            found = decode_record(KEYS, data, "a record")
        except (DamagedError, RefusedError):
            continue
        assert found == whole  # a space between keys, or a digit of the signature in the other case


@settings(max_examples=25)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
)
def test_whatever_the_owner_signs_is_a_record_or_is_refused(value: object) -> None:
    for key in ("time", "condemned", "removed_index", "grace"):
        document = json.loads(encode_record(KEYS, RECORD)) | {key: value}
        try:
            data = json.dumps(KEYS.signed({k: v for k, v in document.items() if k != "signature"})).encode()
        except ValueError:
            continue  # a lone surrogate cannot be signed
        try:
            decode_record(KEYS, data, "a record")
        except RecoupError:
            continue


def test_a_record_of_a_later_version_or_another_repository_is_refused() -> None:
    document = {k: v for k, v in json.loads(encode_record(KEYS, RECORD)).items() if k != "signature"}
    with pytest.raises(RefusedError, match="version"):
        decode_record(KEYS, json.dumps(KEYS.signed(document | {"version": 2})).encode(), "a record")
    with pytest.raises(DamagedError, match="this repository"):
        decode_record(KEYS, json.dumps(KEYS.signed(document | {"repository": "00" * 16})).encode(), "a record")
    for data in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000):
        with pytest.raises(DamagedError):
            decode_record(KEYS, data, "a record")
