"""Downloads that are cut, short, or meet an object that is gone: the right bytes come, or an error."""

import random
from collections.abc import Callable
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

from recoup.errors import StorageError
from recoup.storage.object_store import ObjectStorage
from recoup.testing.fault_proxy import (
    Answer,
    Before,
    CutResponse,
    FaultProxy,
    Line,
    Refuse,
    ShortBody,
)
from s3_server.buckets import Bucket

Connecting = Callable[..., ObjectStorage]

_MIB = 1024 * 1024
_LARGE = random.Random(11).randbytes(5 * _MIB + 200_007)  # two ranges


def _read(storage: ObjectStorage, key: str = "large") -> bytes:
    pieces = []
    with storage.reader(key) as reader:
        while piece := reader.read(_MIB):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("fault", [Refuse(), CutResponse(100_000), ShortBody(100_000), Answer(503, "SlowDown")])
def test_a_download_goes_on_after_each_passing_fault(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage, fault: object
) -> None:
    bucket.put("stack/large", _LARGE)
    for skipped in range(2):
        proxy.clear()
        proxy.inject(fault, skip=skipped, times=1)  # type: ignore[arg-type]
        assert _read(storage) == _LARGE


@pytest.mark.parametrize("length", [0, 5, 100_000])
def test_a_body_that_is_always_short_is_a_failure_not_a_short_object(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage, length: int
) -> None:
    bucket.put("stack/large", _LARGE)
    proxy.inject(ShortBody(length), method="GET")
    with pytest.raises(StorageError):
        _read(storage)


@pytest.mark.parametrize("length", [0, 5])
def test_a_small_object_that_comes_short_is_read_again_or_refused(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage, length: int
) -> None:
    bucket.put("stack/manifest.json", b'{"whole": true}')
    proxy.inject(ShortBody(length), method="GET", times=1)
    assert storage.get("manifest.json") == b'{"whole": true}'
    proxy.inject(ShortBody(length), method="GET")
    with pytest.raises(StorageError):
        storage.get("manifest.json")


def test_an_empty_object_is_read_as_empty(bucket: Bucket, storage: ObjectStorage) -> None:
    bucket.put("stack/empty", b"")
    assert storage.get("empty") == b""
    assert _read(storage, "empty") == b""


def test_an_object_that_is_deleted_between_list_and_get_is_missing(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage
) -> None:
    bucket.put("stack/a", b"x")
    proxy.inject(Before(lambda: bucket.delete("stack/a")), contains="stack/a")
    assert [found.key for found in storage.list()] == ["a"]
    with pytest.raises(FileNotFoundError):
        storage.get("a")


def test_an_object_that_is_deleted_while_it_is_read_is_an_error(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage
) -> None:
    bucket.put("stack/large", _LARGE)
    proxy.inject(Before(lambda: bucket.delete("stack/large")), skip=1, times=1)
    with pytest.raises((FileNotFoundError, StorageError)):
        _read(storage)


class _FiftyThousand:
    """Answers as S3 does for a bucket of 50,000 objects (ListObjectsV2, 1,000 a page)."""

    _ALL: ClassVar = [f"stack/set_{number // 100:03}/{number:05} ä&b" for number in range(50_000)]

    def meet(self, line: Line, /) -> None:
        """Answers one page."""
        query = parse_qs(urlsplit(line.request.first[1]).query)
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        first = next((n for n, key in enumerate(self._ALL) if key > after), len(self._ALL))
        page = self._ALL[first : first + 1000]
        more = first + 1000 < len(self._ALL)
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-21T02:00:00.000Z</LastModified>"
            f'<ETag>"{number}"</ETag><Size>{number}</Size></Contents>'
            for number, key in enumerate(page)
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        body = (
            f"<?xml version='1.0'?><ListBucketResult><KeyCount>{len(page)}</KeyCount>{token}"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{entries}</ListBucketResult>"
        )
        Answer(200, body=body.encode()).meet(line)


def test_a_listing_of_fifty_thousand_keys_is_whole_though_it_is_cut(proxy: FaultProxy, storage: ObjectStorage) -> None:
    proxy.inject(Refuse(), skip=7, times=1)
    proxy.inject(Answer(503, "SlowDown"), skip=20, times=2)
    proxy.inject(_FiftyThousand())
    keys = [found.key for found in storage.list()]
    assert keys == [key.removeprefix("stack/") for key in _FiftyThousand._ALL]
    assert proxy.count() == 53


def test_a_listing_that_cannot_be_finished_is_a_failure_not_a_short_list(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage
) -> None:
    proxy.inject(Answer(503, "SlowDown"), skip=3)
    proxy.inject(_FiftyThousand())
    with pytest.raises(StorageError):
        list(storage.list())
