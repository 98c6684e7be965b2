"""What fails on the way is noticed, tried again, and never stored as good."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.running import Qdrant
from recoup.errors import SourceError
from recoup.sources.qdrant.server import QdrantSource

from .taking import fill, keep, left_on

Make = Callable[..., QdrantSource]

STREAM_FAULTS: dict[str, dict[str, Any]] = {
    "the connection drops": {"cut": 20_000},
    "it ends early, as if that were all": {"cut_member": 9},
    "it ends early without an end of archive": {"cut_normally": 20_000},
    "a segment is left out": {"lose_segment": True},
    "the server answers with an error": {"answer_status": 500},
}
STORED_FAULTS: dict[str, dict[str, Any]] = {
    "the connection drops": {"cut": 20_000},
    "a byte is turned over": {"flip": 20_000},
    "the server answers with an error": {"answer_status": 500},
}


@pytest.fixture
def docs(qdrant: Qdrant, clean_staging: Path) -> Qdrant:
    fill(qdrant, "docs", 60)
    fill(qdrant, "other", 10)
    return qdrant


@pytest.mark.requirement("CO-14", "CO-15")
@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_a_stream_that_fails_once_is_taken_again(docs: Qdrant, source: Make, fault: str) -> None:
    docs.faults.set(path="/collections/docs/shards/0/snapshot", times=1, **STREAM_FAULTS[fault])
    kept = keep(source(docs, method="stream"))
    assert kept.serious == []
    assert kept.doubts == []
    assert kept.facts.values["collection docs"]["points"] == 60


@pytest.mark.requirement("SR-11", "CO-15")
@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_a_stream_that_always_fails_is_named_and_not_stored(docs: Qdrant, source: Make, fault: str) -> None:
    docs.faults.set(path="/collections/docs/shards/0/snapshot", **STREAM_FAULTS[fault])
    kept = keep(source(docs, method="stream"))
    assert len(kept.serious) == 1
    assert "collection docs shard 0" in kept.serious[0]
    assert set(kept.records) == {"other"}
    assert not any(name.startswith("docs/") for name in kept.files)


@pytest.mark.requirement("CO-14", "CO-15")
@pytest.mark.parametrize("fault", STORED_FAULTS)
def test_a_download_that_fails_once_is_made_whole(docs: Qdrant, source: Make, fault: str) -> None:
    docs.faults.set(path="/collections/docs/shards/0/snapshots/docs-shard", times=1, **STORED_FAULTS[fault])
    kept = keep(source(docs, method="stored"))
    assert kept.serious == []
    assert kept.facts.values["collection docs"]["points"] == 60
    assert left_on(docs) == []


@pytest.mark.requirement("SR-11", "CO-15")
def test_a_download_that_is_not_what_the_server_made_is_never_stored(docs: Qdrant, source: Make) -> None:
    docs.faults.set(wrong_checksum=True)
    with pytest.raises(SourceError, match="SHA-256"):
        keep(source(docs, method="stored", collections=["docs"]))
    assert left_on(docs) == []


def test_auto_takes_another_way_where_one_fails(docs: Qdrant, source: Make) -> None:
    docs.faults.set(snapshots_quota=1)
    kept = keep(source(docs, shared=True))
    assert kept.serious == []
    assert {record.method for record in kept.records.values()} == {"stream"}


def test_a_full_disk_on_the_server_is_told_in_its_own_words(docs: Qdrant, source: Make) -> None:
    docs.faults.set(snapshots_quota=1)
    with pytest.raises(SourceError, match="500") as caught:
        keep(source(docs, method="stored"))
    assert "collection docs shard 0" in caught.value.message


def test_a_stalled_stream_is_given_up_and_asked_for_again(docs: Qdrant, source: Make) -> None:
    docs.faults.set(path="/collections/docs/shards/0/snapshot", times=1, stall=3.0)
    kept = keep(source(docs, method="stream", stall_timeout=0.5))
    assert kept.serious == []


@pytest.mark.parametrize("step", ["create", "stream", "download"])
def test_a_server_that_dies_is_said_to_be_dead(docs: Qdrant, source: Make, step: str) -> None:
    docs.faults.set(exit_at=step)
    with pytest.raises(SourceError, match=docs.url):
        keep(source(docs, method="stream" if step == "stream" else "stored", collections=["docs"]))


def test_a_stream_whose_segments_cannot_be_listed_is_said_to_be_unchecked(docs: Qdrant, source: Make) -> None:
    docs.faults.set(refuse_manifest=True)
    kept = keep(source(docs, method="stream"))
    assert kept.serious == []
    assert {finding.what for finding in kept.findings} == {"unchecked"}


def test_a_server_that_lists_no_segments_is_not_streamed_by_itself(docs: Qdrant, source: Make) -> None:
    docs.faults.set(refuse_manifest=True)
    kept = keep(source(docs))
    assert {record.method for record in kept.records.values()} == {"stored"}
    assert kept.findings == ()
