"""A running server, something in it, and captures of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.running import Qdrant
from recoup.model.events import News
from recoup.sources._base import Site
from recoup.sources.qdrant.server import Options, QdrantSource
from recoup.system.clock import SystemClock


@pytest.fixture(autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir(mode=0o700)
    return folder


class Hasty(SystemClock):
    """Waits a twentieth of what is asked for."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / 20)


@pytest.fixture
def news() -> list[News]:
    return []


@pytest.fixture
def source(staging: Path, news: list[News]) -> Callable[..., QdrantSource]:
    """Makes a source of a server."""

    def make(server: Qdrant, *, shared: bool = False, allow_remote: bool = True, **settings: Any) -> QdrantSource:
        settings = {"url": server.url, "grpc_port": server.grpc_port, "api_key": server.api_key or None} | settings
        site = Site(
            "vectors", staging.parent, staging, Hasty(), 3, news.append, allow_remote=allow_remote, shared=shared
        )
        return QdrantSource(Options(kind="qdrant", **settings), site)

    return make


@pytest.fixture
def clean_staging(staging: Path) -> Iterator[Path]:
    """Demands that nothing is left."""
    yield staging
    assert list(staging.iterdir()) == []
