"""A Qdrant server keeps the promise of a source."""

import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from qdrant_server.running import Qdrant
from recoup.model.facts import Facts
from recoup.sources._base import Site, Source
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant._twin import QdrantTwin
from recoup.sources.qdrant.server import Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import SECRET, SourceContract


class TestQdrant(SourceContract):
    @pytest.fixture(autouse=True)
    def _state(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))

    @pytest.fixture
    def site(self, site_folder: Path, staging: Path) -> Site:
        return Site("vectors", site_folder, staging, SystemClock(), seed=3)

    @pytest.fixture
    def options(self, qdrant: Qdrant) -> Options:
        return Options(kind="qdrant", url=qdrant.url, api_key=SecretStr(SECRET), grpc_port=qdrant.grpc_port)

    @pytest.fixture
    def source(self, options: Options, site: Site) -> Source:
        return connect(options, site)

    @pytest.fixture
    def lenient(self, options: Options, site: Site) -> Source:
        return connect(options.model_copy(update={"allow_empty": True}), site)

    @pytest.fixture
    def fill(self, qdrant: Qdrant) -> Callable[[], None]:
        def make() -> None:
            qdrant.ask("PUT", "/collections/docs", {"vectors": {"size": 3, "distance": "Dot"}, "shard_number": 2})
            points = [{"id": n, "vector": [1.0, n, n * n], "payload": {"n": n}} for n in range(30)]
            qdrant.ask("PUT", "/collections/docs/points", {"points": points}, wait="true")

        return make

    @pytest.fixture
    def empty(self, qdrant: Qdrant) -> Callable[[], None]:
        def make() -> None:
            assert qdrant.collections() == []

        return make

    @pytest.fixture
    def damage(self, qdrant: Qdrant) -> Callable[[Source], None]:
        def delete(source: Source) -> None:
            if isinstance(source, QdrantTwin):
                segments = [found.parent for found in source.folder.rglob("segments/*/segment.json")]
                shutil.rmtree(max(segments, key=_allocated))  # an empty one is always there, and nobody would miss it
            else:
                qdrant.ask("POST", "/collections/docs/points/delete", {"points": [7]}, wait="true")

        return delete

    @pytest.fixture
    def absent(self, options: Options, site: Site) -> Source:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        return connect(options.model_copy(update={"url": url}), site)

    @pytest.fixture
    def vanish(self, qdrant: Qdrant) -> Callable[[], None]:
        return qdrant.clean

    @pytest.fixture
    def picture(self, qdrant: Qdrant) -> Callable[[], object]:
        def look() -> object:
            counts = {
                name: qdrant.ask("POST", f"/collections/{name}/points/count", {"exact": True})
                for name in qdrant.collections()
            }
            return counts, qdrant.ask("GET", "/aliases")

        return look

    @pytest.fixture
    def facts_of_restored(self, qdrant: Qdrant) -> Callable[[Source], Facts]:
        """Behind the collection's name stands an alias now."""

        def facts(source: Source) -> Facts:
            (alias,) = qdrant.ask("GET", "/aliases")["aliases"]
            name, own = alias["alias_name"], alias["collection_name"]
            found = source.facts()
            values = {subject.replace(own, name): dict(values) for subject, values in found.values.items()}
            assert values[f"collection {name}"]["aliases"] == name
            values[f"collection {name}"]["aliases"] = ""
            return Facts(values, tuple(replace(probe, collection=name) for probe in found.probes), found.seed)

        return facts

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        return RestoreOptions()


def _allocated(folder: Path) -> int:
    return sum(file.stat().st_blocks for file in folder.rglob("*") if file.is_file())
