"""Shards are opened while others still come: what they show is the same, and a damaged one harms no other collection."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from qdrant_server.surgery import place_in
from recoup.errors import DamagedError
from recoup.sources.qdrant._described import describe
from recoup.sources.qdrant._openings import Openings
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant._shards import Shards
from recoup.sources.qdrant._unpacking import unpack

SEED = 5
SHARDS = ("docs-shard0-stored", "docs-shard1-stored")


def record(name: str) -> CollectionRecord:
    return CollectionRecord(name, "stored", "1.18.3", {}, {}, (), ())


def test_shards_opened_one_by_one_show_what_they_show_together(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    for number, name in enumerate(SHARDS):
        unpack(io.BytesIO(plain(name)), tmp_path / "together", name, number)
    together = describe("docs", {number: tmp_path / "together" / str(number) for number in (0, 1)}, SEED)
    with Openings(tmp_path, SEED) as openings, openings.opened(record("docs")) as opening:
        opening.gathered.record = None  # nothing was recorded to compare with
        for number in (1, 0):
            opening.gathered.add_snapshot(SHARDS[number], io.BytesIO(plain(SHARDS[number])), number, logs=False)
            opening.look()
        assert opening.described() == together
    assert [path.name for path in tmp_path.iterdir()] == ["together"], "what was unpacked is gone"


def test_a_shard_that_the_engine_cannot_read_harms_no_other_collection(
    plain: Callable[[str], bytes], tmp_path: Path
) -> None:
    data = bytearray(plain("hybrid-collection"))
    segment = "0/segments/01c2d36f-7aa4-490d-ac41-31c6d5f90eb9.tar"
    place = place_in(bytes(data), segment, "mutable_id_tracker.mappings", 0.0)
    data[place : place + 64] = b"\xff" * 64
    with Openings(tmp_path, SEED) as openings:
        with pytest.raises(DamagedError, match="the engine"), openings.opened(record("hybrid")) as opening:
            opening.gathered.record = None
            opening.gathered.add_snapshot("hybrid", io.BytesIO(bytes(data)))
            opening.described()
        for _ in range(2):
            with openings.opened(record("docs")) as opening:
                opening.gathered.record = None
                opening.gathered.add_snapshot("docs", io.BytesIO(plain(SHARDS[0])))
                assert opening.described().points == {0: 833}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("distance", ["Euclid", "Manhattan", "Dot", "Cosine"])
def test_questions_asked_at_once_have_the_answers_of_those_asked_one_by_one(distance: str, tmp_path: Path) -> None:
    chance, shards = random.Random(1), Shards()
    vectors: dict[int, list[float]] = {one: [chance.uniform(-1, 1) for _ in range(4)] for one in range(300)}
    for number in (0, 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        config = edge.EdgeConfig(vectors={"named": edge.EdgeVectorParams(4, getattr(edge.Distance, distance))})
        shard = edge.EdgeShard.create(str(folder), config)
        mine: list[Any] = [
            edge.Point(one, {"named": vector}, {}) for one, vector in vectors.items() if one % 2 == number
        ]
        shard.update(edge.UpdateOperation.upsert_points(mine))
        shard.close()
        shards.open(number, str(folder))
    asked = [vectors[one] for one in range(20)]
    for exact in (True, False):
        at_once = shards.nearest_of_each(asked, "named", 12, exact=exact)
        one_by_one = [shards.nearest(vector, "named", 12, exact=exact) for vector in asked]
        assert [[(score, point.id, shard) for score, point, shard in hits] for hits in at_once] == [
            [(score, point.id, shard) for score, point, shard in hits] for hits in one_by_one
        ]
    shards.close()
