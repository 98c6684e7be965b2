"""Qdrant from Python."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import recoup
from qdrant_server.running import Qdrant
from qdrant_server.starting import Started
from recoup import qdrant as api
from recoup.errors import DamagedError, SourceError, UsageError
from recoup.model.events import Event, Progress

VECTORS = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2}


def fill(server: Qdrant, name: str, count: int) -> None:
    server.ask("PUT", f"/collections/{name}", VECTORS)
    points = [{"id": n, "vector": [float(n), 1.0, 0.5, 0.0], "payload": {"n": n}} for n in range(count)]
    server.ask("PUT", f"/collections/{name}/points", {"points": points}, wait="true")


def count(server: Qdrant, name: str) -> int:
    return int(server.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.requirement("CO-10")
@pytest.mark.requirement("CI-4")
@pytest.mark.parametrize("method", ["collection", "scroll"])
def test_a_server_is_backed_up_and_restored_without_a_configuration(method: str, qdrant: Qdrant, home: Path) -> None:
    for name, size in (("docs", 30), ("notes", 20), ("scratch_1", 5)):
        fill(qdrant, name, size)
    settings: dict[str, Any] = {"method": method, "grpc_port": qdrant.grpc_port}
    report = api.backup(qdrant.url, ["*", "!scratch_*"], to=home / "backups", **settings)
    assert report.exit_code == 0
    assert report.manifest is not None
    qdrant.ask("DELETE", "/collections/docs")
    qdrant.ask("DELETE", "/collections/notes")
    news: list[object] = []
    done = api.restore(home / "backups", qdrant.url, collections=["docs"], rename={"docs": "again"}, emit=news.append)
    assert done.exit_code == 0, done
    assert qdrant.collections() == ["again", "scratch_1"]
    assert count(qdrant, "again") == 30
    assert any(isinstance(one, Event) for one in news)
    assert any(isinstance(one, Progress) for one in news)


def test_a_set_is_opened_collection_by_collection(qdrant: Qdrant, home: Path) -> None:
    fill(qdrant, "docs", 30)
    fill(qdrant, "my%20notes", 7)
    api.backup(qdrant.url, to=home / "backups")
    stack = recoup.open(repository=str(home / "backups"))
    with api.opened_set(stack, "latest", "my notes") as notes:
        assert notes.collections == ("my notes",)
        assert notes.count() == 7
        assert notes.count({"must": [{"key": "n", "range": {"lt": 3}}]}) == 3
        assert [point["id"] for point in notes.scroll()] == list(range(7))
    with api.opened_set(stack) as everything:
        assert {insight["collection"]: insight["points"] for insight in everything.inspect()} == {
            "docs": 30,
            "my notes": 7,
        }
        with pytest.raises(UsageError, match="several"):
            everything.count()
    with pytest.raises(UsageError, match="nope"), api.opened_set(stack, "latest", "nope"):
        pass


def test_an_alias_leads_to_its_collection_in_a_set_as_on_the_server(qdrant: Qdrant, home: Path) -> None:
    fill(qdrant, "docs", 30)
    fill(qdrant, "notes", 7)
    pointing = {"create_alias": {"collection_name": "notes", "alias_name": "live notes"}}
    qdrant.ask("POST", "/collections/aliases", {"actions": [pointing]})
    api.backup(qdrant.url, to=home / "backups")
    stack = recoup.open(repository=str(home / "backups"))
    with api.opened_set(stack, "latest", "live notes") as notes:
        assert notes.collections == ("notes",)
        assert notes.count() == 7
    with pytest.raises(UsageError, match="live"), api.opened_set(stack, "latest", "live"):
        pass


def test_nothing_stays_of_what_was_looked_into(qdrant: Qdrant, home: Path) -> None:
    fill(qdrant, "docs", 5)
    api.backup(qdrant.url, to=home / "backups")
    before = sorted(path for path in (home / "backups").rglob("*") if ".locks" not in path.parts)
    with api.opened_set(recoup.open(repository=str(home / "backups"))) as docs:
        assert docs.count() == 5
    assert [path for path in before if not path.exists()] == []
    after = {path for path in (home / "backups").rglob("*") if ".locks" not in path.parts} - set(before)
    assert {path.name for path in after} <= {".staging"}


def test_a_changed_byte_of_a_set_is_damage(qdrant: Qdrant, home: Path) -> None:
    fill(qdrant, "docs", 5)
    api.backup(qdrant.url, to=home / "backups")
    (shard, *_) = sorted((home / "backups").glob("backup_*/vectors/docs/shard-*.snapshot"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DamagedError), api.opened_set(recoup.open(repository=str(home / "backups"))) as docs:
        docs.count()


def test_a_key_is_used_and_stored_nowhere(qdrant_with_keys: Started, home: Path) -> None:
    fill(qdrant_with_keys, "docs", 5)
    with pytest.raises(SourceError, match="401"):
        api.backup(qdrant_with_keys.url, to=home / "backups")
    report = api.backup(qdrant_with_keys.url, to=home / "backups", api_key=qdrant_with_keys.api_key)
    assert report.exit_code == 0
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if qdrant_with_keys.api_key.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "settings", [{"method": "magic"}, {"workers": 0}, {"nonsense": 1}], ids=["method", "workers", "unknown"]
)
def test_a_wrong_setting_is_told_with_those_that_are_known(settings: dict[str, Any], home: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))) as told:
        api.backup("http://127.0.0.1:1", to=home / "backups", **settings)
    assert "method" in told.value.hint
    assert list(home.iterdir()) == []


def test_a_pattern_that_matches_nothing_is_a_failure(qdrant: Qdrant, home: Path) -> None:
    fill(qdrant, "docs", 1)
    with pytest.raises(SourceError, match="nope"):
        api.backup(qdrant.url, ["nope"], to=home / "backups")


def test_it_is_loaded_when_it_is_first_used_and_not_before() -> None:
    program = (
        "import sys, recoup\n"
        "assert 'recoup.qdrant' not in sys.modules\n"
        "assert recoup.qdrant.SnapshotFile.__name__ == 'SnapshotFile'\n"
        "assert not {'grpc', 'qdrant_client', 'qdrant_edge', 'httpx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
