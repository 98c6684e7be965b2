"""Stores that obstore sends to in parts, shown by its own store in memory; and how parts grow."""

import asyncio
import secrets
from typing import Any

import pytest

from recoup.errors import StorageError
from recoup.storage._object_writing import part_size
from recoup.storage.object_store import ObjectStorage, Options, connect

MIB = 1 << 20


@pytest.fixture
def storage() -> ObjectStorage:
    return connect(f"memory://{secrets.token_hex(8)}/prefix", Options(part_size="5MiB", tags={"a": "b"}))


@pytest.mark.parametrize("size", [5 * MIB, 5 * MIB + 1, 23 * MIB])
def test_what_arrives_in_parts_is_what_was_written(storage: ObjectStorage, size: int) -> None:
    data = secrets.token_bytes(size)
    writer = storage.writer("big")
    for start in range(0, size, 777_777):
        writer.write(data[start : start + 777_777])
    assert list(storage.list()) == []
    writer.commit()
    with storage.reader("big") as reader:
        assert b"".join(iter(lambda: reader.read(MIB), b"")) == data


def test_an_upload_that_is_given_up_leaves_nothing(storage: ObjectStorage) -> None:
    writer = storage.writer("big")
    for _ in range(5):
        writer.write(bytes(5 * MIB))
    writer.abort()
    writer.abort()
    assert list(storage.list()) == []


def test_a_store_that_fails_in_the_middle_is_told_and_leaves_nothing(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    async def put(store: Any, name: str, blocks: Any, **_: object) -> None:
        await anext(blocks)
        raise obstore.exceptions.GenericError("Generic S3 error: HTTP error: error sending request")

    monkeypatch.setattr(obstore, "put_async", put)
    writer = storage.writer("big")
    with pytest.raises(StorageError, match="does not answer"):
        for _ in range(10):
            writer.write(bytes(5 * MIB))
    writer.abort()
    assert list(storage.list()) == []


def test_parts_grow_so_that_ten_thousand_of_them_hold_hundreds_of_gigabytes() -> None:
    sizes = [part_size(8 * MIB, number) for number in range(10_000)]
    assert sizes == sorted(sizes)
    assert sizes[:1000] == [8 * MIB] * 1000
    assert sum(sizes) > 400 * 1024 * MIB
    assert max(sizes) <= 80 * MIB


def test_bandwidth_limits_hold_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    really = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await really(0)

    storage = connect(f"memory://{secrets.token_hex(8)}", Options(upload_limit="1MiB", download_limit="2MiB"))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    writer = storage.writer("big")
    writer.write(bytes(20 * MIB))
    writer.commit()
    assert 19 < max(waits) <= 20  # nobody has really waited: the last part waits for all before it
    waits.clear()
    with storage.reader("big") as reader:
        while reader.read(MIB):
            pass
    assert 9 < max(waits) <= 10
