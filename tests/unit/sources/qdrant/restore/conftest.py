"""A server with collections, sets captured from it, and restores of them."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
import pytest

from qdrant_server.running import Qdrant
from recoup.model.events import Event, News
from recoup.model.part import StreamPart
from recoup.sources._base import Placement, Site
from recoup.sources.qdrant._record import CollectionRecord, decode, encode
from recoup.sources.qdrant._restore_keeping import parts_of
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant.server import Options, QdrantSource
from recoup.system.clock import SystemClock
from recoup.system.unpacking import write_part

POINTS = 60
Fill = Callable[["Rig"], None]


def path_of(name: str) -> str:
    return f"/collections/{quote(name, safe='')}"


def points(start: int = 0, count: int = POINTS) -> list[dict[str, Any]]:
    """Points whose vectors all differ; ids are numbers and UUIDs."""
    return [
        {
            "id": n if n % 2 else f"00000000-0000-4000-8000-{n:012d}",
            "vector": [1.0, n % 7, n % 11, float(n)],
            "payload": {"text": f"text {n}", "kind": "ab"[n % 2]},
        }
        for n in range(start, start + count)
    ]


class Set:
    """A set's source on disk, as parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def parts(self) -> list[StreamPart]:
        return parts_of(self.folder)

    def change(self, name: str, change: Callable[[CollectionRecord], CollectionRecord]) -> None:
        """Rewrites the record of a collection."""
        path = self.folder / quote(name, safe="") / "collection.json"
        path.write_bytes(encode(change(decode(path.read_bytes(), name))))

    def record(self, name: str) -> CollectionRecord:
        return decode((self.folder / quote(name, safe="") / "collection.json").read_bytes(), name)


class Rig:
    """A server, and what the tests do to it."""

    def __init__(self, server: Qdrant, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.news: list[News] = []
        (folder / "staging").mkdir(exist_ok=True)

    def source(self, **options: Any) -> QdrantSource:
        site = Site("vectors", self.folder, self.folder / "staging", SystemClock(), seed=7, emit=self.news.append)
        given = {"url": self.server.url, "grpc_port": None, "api_key": self.server.api_key or None, **options}
        return QdrantSource(Options.model_validate({"kind": "qdrant", **given}), site)

    def fill(self, name: str = "docs", *, aliases: Sequence[str] = (), shards: int = 2, **settings: Any) -> None:
        """Makes a collection of 60 points with a payload index."""
        ask = self.server.ask
        body = {"vectors": {"size": 4, "distance": "Euclid"}, "shard_number": shards, **settings}
        ask("PUT", path_of(name), body)
        ask("PUT", f"{path_of(name)}/index", {"field_name": "kind", "field_schema": "keyword"}, wait="true")
        if settings.get("sharding_method") != "custom":
            self.upsert(name, points())
        self.alias(name, *aliases)

    def upsert(self, name: str, some: Sequence[Mapping[str, Any]], key: str | int | None = None) -> None:
        keyed = {} if key is None else {"shard_key": key}
        self.server.ask("PUT", f"{path_of(name)}/points", {"points": some, **keyed}, wait="true")

    def alias(self, name: str, *aliases: str) -> None:
        made = [{"create_alias": {"collection_name": name, "alias_name": alias}} for alias in aliases]
        if made:
            self.server.ask("POST", "/collections/aliases", {"actions": made})

    def aliases(self) -> dict[str, str]:
        listed = self.server.ask("GET", "/aliases")["aliases"]
        return {one["alias_name"]: one["collection_name"] for one in listed}

    def count(self, name: str) -> int:
        return int(self.server.ask("POST", f"{path_of(name)}/points/count", {"exact": True})["count"])

    def take(self, folder: Path, **options: Any) -> Set:
        """Captures collections into a folder."""
        with self.source(**options).capture() as capture:
            for part in capture.parts():
                write_part(part, folder)
            assert [finding for finding in capture.findings() if not finding.harmless] == []
        return Set(folder)

    def restore(self, a_set: Set, **options: Any) -> Placement:
        return self.source().restore(a_set.parts, RestoreOptions.model_validate(options))

    def restored(self) -> list[str]:
        """Names of the collections that restores made beside others."""
        return sorted(name for name in self.server.collections() if "__restore_" in name)

    def events(self, name: str) -> list[Event]:
        return [one for one in self.news if isinstance(one, Event) and one.name == name]

    def leaves_nothing(self, *, staging: bool = True) -> bool:
        """Whether there is nothing half made: no marks, no journals, no files in the staging folder."""
        marks = [alias for alias in self.aliases() if alias.startswith("recoup_")]
        journals = [
            *(self.folder / "state").rglob("qdrant-restore-*"),
            *(self.folder / "state").rglob("qdrant-drill-*"),
        ]
        return not marks and not journals and not (staging and [*(self.folder / "staging").iterdir()])

    def stays_equal_after_upserting_again(self, name: str, key: str | int | None = None, some: Any = None) -> bool:
        """Writes points that are there once more: where shards have other numbers, some become double."""
        before = self.count(name)
        self.upsert(name, points() if some is None else some, key)
        return self.count(name) == before


class Asking:
    """Asks a name 50 times a second, and keeps what was wrong with the answers."""

    def __init__(self, url: str, name: str, least: int) -> None:
        self.wrong: list[str] = []
        self.asked = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url, name, least))

    def _run(self, url: str, name: str, least: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while not self._stop.wait(0.02):
                answer = http.post(f"{path_of(name)}/points/count", json={"exact": True})
                self.asked += 1
                if not answer.is_success or answer.json()["result"]["count"] < least:
                    self.wrong.append(answer.text)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder, of this test alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "recoup"


@pytest.fixture
def rig(qdrant: Qdrant, tmp_path: Path) -> Rig:
    """A clean server."""
    return Rig(qdrant, tmp_path)


_SETS: dict[str, Path] = {}


@pytest.fixture
def a_set(rig: Rig, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    """A set of `docs` with the alias `current`, 60 points in two shards; the server has the collection as well.

    It is captured once for all tests, and copied for each.
    """
    import shutil

    rig.fill(aliases=["current"])
    if "docs" not in _SETS:
        _SETS["docs"] = rig.take(tmp_path_factory.mktemp("set")).folder
    shutil.copytree(_SETS["docs"], tmp_path / "set")
    yield Set(tmp_path / "set")
