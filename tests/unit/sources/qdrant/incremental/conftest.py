"""The real pair, as a capture has it."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pydantic import SecretStr

from qdrant_server.running import Qdrant
from recoup.model.events import News
from recoup.sources._base import Past, Site
from recoup.sources.qdrant.server import Options
from unit.sources.qdrant.capture.conftest import Hasty
from unit.sources.qdrant.capture.taking import left_on

from .days import Days
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


@pytest.fixture(autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def days(qdrant: Qdrant, tmp_path: Path) -> Iterator[Days]:
    """Of the server; in the end nothing of it is left here or there."""
    staging = tmp_path / "staging"
    staging.mkdir(mode=0o700)
    news: list[News] = []

    def site(recall: Callable[[], Past]) -> Site:
        return Site("vectors", tmp_path, staging, Hasty(), 3, news.append, recall=recall)

    options = Options(
        kind="qdrant",
        url=qdrant.url,
        grpc_port=qdrant.grpc_port,
        api_key=SecretStr(qdrant.api_key) if qdrant.api_key else None,
        incremental=True,
        full_every=100,
    )
    yield Days(site, options, news)
    assert list(staging.iterdir()) == []
    assert left_on(qdrant) == []
