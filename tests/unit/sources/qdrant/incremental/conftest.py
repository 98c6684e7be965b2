"""The real pair, as a capture has it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard

from .pairs import BIG, MANIFEST, SMALL, Pair, text, without_manifests

DATA = Path(__file__).parents[4] / "data" / "qdrant" / "snapshots"


@cache
def plain(name: str) -> bytes:
    with (DATA / f"{name}.snapshot.zst").open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Of one shard: all of it, and 16 new, 3 deleted and 3 changed points later what changed."""
    everything = plain("docs-shard0-partial-full")
    known = {segment: json.loads(text(everything, f"segments/{segment}/{MANIFEST}")) for segment in (BIG, SMALL)}
    return Pair(without_manifests(everything), plain("docs-shard0-partial-delta"), known, tmp_path)


@pytest.fixture
def truth() -> dict[str, Any]:
    """What the server said after the changes."""
    said = json.loads((DATA / "truth.json").read_text())
    return dict(said["docs-shard0-partial-delta (merged onto partial-full)"])
