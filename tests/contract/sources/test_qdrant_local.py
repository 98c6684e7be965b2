"""Qdrant's local mode keeps the promise of a source."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from recoup.sources._base import NoRestoreOptions, Site, Source
from recoup.sources.qdrant_local import Options, QdrantLocalSource, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import SourceContract


@contextlib.contextmanager
def client(path: Path) -> Iterator[Any]:
    from qdrant_client import QdrantClient

    opened = QdrantClient(path=str(path))
    try:
        yield opened
    finally:
        opened.close()


class TestQdrantLocal(SourceContract):
    @pytest.fixture
    def site(self, site_folder: Path, staging: Path) -> Site:
        return Site("vectors", site_folder, staging, SystemClock(), seed=3)

    @pytest.fixture
    def source(self, site: Site) -> Source:
        return connect(Options(kind="qdrant-local", path=Path("qdrant")), site)

    @pytest.fixture
    def lenient(self, site: Site) -> Source:
        return connect(Options(kind="qdrant-local", path=Path("qdrant"), allow_empty=True), site)

    @pytest.fixture
    def fill(self, site_folder: Path) -> Callable[[], None]:
        from qdrant_client import models as m

        def make() -> None:
            with client(site_folder / "qdrant") as store:
                store.create_collection("docs", vectors_config=m.VectorParams(size=3, distance=m.Distance.COSINE))
                points = [m.PointStruct(id=n, vector=[1.0, n, n * n], payload={"n": n}) for n in range(30)]
                store.upsert("docs", points)

        return make

    @pytest.fixture
    def empty(self, site_folder: Path) -> Callable[[], None]:
        def make() -> None:
            with client(site_folder / "qdrant"):
                pass

        return make

    @pytest.fixture
    def damage(self) -> Callable[[Source], None]:
        def delete(source: Source) -> None:
            assert isinstance(source, QdrantLocalSource)
            with client(source._path) as store:
                store.delete("docs", points_selector=[7])

        return delete

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        return NoRestoreOptions()
