"""On a bucket that keeps objects by force."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.storage.object_store import ObjectStorage, Options, connect
from s3_server.buckets import Bucket
from unit.repository.dedup.small_sets import DAY, Small, noise

A, B = noise(1), noise(2)


def opened(bucket: Bucket, **options: object) -> ObjectStorage:
    return connect(f"{bucket.url}/backups", Options.model_validate({**bucket.options, **options}))


def test_packs_that_a_new_set_uses_are_locked_as_long_as_the_set(locked_bucket: Bucket, tmp_path: Path) -> None:
    small = Small(tmp_path, opened(locked_bucket, lock_days=1))
    small.add(a=A)
    (pack,) = small.packs
    small.storage = opened(locked_bucket, lock_days=4)
    second = small.add(a=A)
    assert small.packs == {pack}
    kept = [small.storage.locked_until(key) for key in (pack.key, f"{second}/manifest.json")]
    assert None not in kept
    assert kept[0] >= kept[1] > datetime.now(UTC) + 3 * DAY  # type: ignore[operator]
    small.check()


def test_what_the_storage_keeps_by_force_waits(locked_bucket: Bucket, tmp_path: Path) -> None:
    small = Small(tmp_path, opened(locked_bucket, lock_days=1))
    small.add(a=A)
    with pytest.raises(ZeroDivisionError), small.begun(b=B) as writer:
        writer.run.flush()  # type: ignore[attr-defined]
        raise ZeroDivisionError
    packs = small.packs
    assert len(packs) == 2
    freed = small.delete(at_once=True)
    assert (freed.freed_bytes, freed.later_bytes > 3000) == (0, True)
    assert small.packs == packs
    small.clock.time = datetime.now(UTC) + timedelta(days=9)
    assert small.delete(at_once=True).freed_bytes == 0, "the storage's word counts, and its clock"
    small.check()
