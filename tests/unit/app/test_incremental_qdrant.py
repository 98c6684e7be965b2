"""A stack that takes from Qdrant only what changed: every set in its repository is whole, and restores by itself."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recoup
from qdrant_server.running import Qdrant
from recoup.errors import ExitCode
from recoup.model.events import Event, News
from recoup.model.manifest import Manifest
from recoup.sources.qdrant._opened import opened
from recoup.sources.qdrant._unpacking import unpack
from unit.sources.qdrant.capture.taking import fill, points

DEDUP = "{path: kept, layout: dedup, key_file: secret}"
CONFIG = """
version: 1
stack: small
sources:
  vectors: {{kind: qdrant, url: "{url}", grpc_port: {grpc}, api_key: "{key}", incremental: true, full_every: 3}}
repositories:
{repositories}
"""

Points = dict[int, object]


class Stacked:
    """The stack, its news, and the server's points at each set."""

    def __init__(self, folder: Path, server: Qdrant, repositories: str) -> None:
        self.folder, self.server = folder, server
        self.news: list[News] = []
        self.held: dict[str, Points] = {}
        config = CONFIG.format(
            url=server.url, grpc=server.grpc_port, key=server.api_key, repositories=f"  {repositories}"
        )
        (folder / "recoup.yaml").write_text(config)

    def stack(self, repository: str | None = None) -> recoup.Stack:
        environ = {"HOME": str(self.folder)}
        return recoup.open(
            self.folder / "recoup.yaml", repository=repository, environ=environ, cwd=self.folder, emit=self.news.append
        )

    def backup(self, **arguments: Any) -> Manifest:
        self.news.clear()
        report = self.stack().backup(**arguments)
        assert report.exit_code == ExitCode.OK, report
        assert report.manifest is not None
        self.held[report.manifest.name] = held(self.server)
        return report.manifest

    def told(self, name: str) -> list[Event]:
        return [one for one in self.news if isinstance(one, Event) and one.name == name]

    def restored(self, name: str, repository: str | None = None) -> Points:
        """The points of a set, restored as files."""
        target = self.folder / f"restored-{name}-{repository}"
        self.stack(repository).restore(text=name, target=str(target))
        folders = {}
        for path in target.rglob("shard-*.snapshot"):
            number = int(path.stem.removeprefix("shard-"))
            with path.open("rb") as file:
                unpack(file, target / "opened" / str(number), shard=number)
            folders[number] = target / "opened" / str(number) / str(number)
        with opened(folders) as shards:
            return {point["id"]: (point["payload"], point["vector"]) for point in shards.scroll()}


def held(server: Qdrant) -> Points:
    body = {"limit": 100_000, "with_payload": True, "with_vector": True}
    found = server.ask("POST", "/collections/docs/points/scroll", body)["points"]
    return {point["id"]: (point["payload"], point["vector"]) for point in found}


@pytest.fixture(autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path_factory.mktemp(name)))


@pytest.fixture
def stacked(tmp_path: Path, qdrant: Qdrant) -> Callable[[str], Stacked]:
    (tmp_path / "secret").write_bytes(os.urandom(32))
    (tmp_path / "secret").chmod(0o600)

    def make(repositories: str = f"main: {DEDUP}") -> Stacked:
        made = Stacked(tmp_path, qdrant, repositories)
        made.stack().create_repositories()
        return made

    return make


def change(server: Qdrant, day: int) -> None:
    """New, changed and deleted points."""
    found = [*points(10, 1000 * day), *({**one, "payload": {"day": day}} for one in points(3, day))]
    server.ask("PUT", "/collections/docs/points", {"points": found}, wait="true")
    server.ask("POST", "/collections/docs/points/delete", {"points": [50 + day]}, wait="true")


@pytest.mark.requirement("SR-3")
def test_every_set_of_a_series_restores_what_the_server_held(qdrant: Qdrant, stacked: Callable[..., Stacked]) -> None:
    fill(qdrant, "docs", 100, shards=2)
    made = stacked()
    steps = []
    for day in range(5):
        if day:
            change(qdrant, day)
        made.backup()
        steps.append(len(made.told("shard_merged")))
    assert steps == [0, 2, 2, 0, 2], "the first, and every third after it, is full"
    assert len(made.held) == 5
    for name, points_then in made.held.items():
        assert made.restored(name) == points_then
    assert made.stack().drill().exit_code == ExitCode.OK
    assert {report.exit_code for report in made.stack().verify()} == {ExitCode.OK}


def test_a_set_without_changes_costs_next_to_nothing(qdrant: Qdrant, stacked: Callable[..., Stacked]) -> None:
    fill(qdrant, "docs", 100)
    made = stacked()
    made.backup()
    manifest = made.backup()
    assert [one.fields["came"] for one in made.told("shard_merged")] == [0]
    snapshots = [part for part in manifest.sources["vectors"].parts if part.name.endswith(".snapshot")]
    assert [part.stored_bytes for part in snapshots] == [0]
    assert "1 of 1 shards merged" in manifest.sources["vectors"].method


def test_a_plain_repository_beside_it_gets_all_of_every_set_and_alone_a_full_one(
    qdrant: Qdrant, stacked: Callable[..., Stacked]
) -> None:
    fill(qdrant, "docs", 100)
    made = stacked(f"plain: {{path: plain}}\n  main: {DEDUP}")
    made.backup()
    change(qdrant, 1)
    name = made.backup().name
    assert len(made.told("shard_merged")) == 1
    assert made.restored(name, "plain") == made.restored(name, "main") == made.held[name]
    made.backup(to=["plain"])
    (told,) = made.told("shard_taken_in_full")
    assert told.fields["reason"] == "no repository of `layout: dedup` gets the set"


def test_damage_in_the_repository_makes_the_next_set_full_and_whole(
    qdrant: Qdrant, stacked: Callable[..., Stacked]
) -> None:
    fill(qdrant, "docs", 100)
    made = stacked()
    first = made.backup().name
    for pack in (made.folder / "kept/packs").rglob("*.pack"):
        data = bytearray(pack.read_bytes())
        for place in range(500, len(data) - 500, 100):
            data[place] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(data)
    change(qdrant, 1)
    report = made.stack().backup()
    assert made.told("shard_merged") == []
    assert made.told("shard_taken_in_full")
    assert report.manifest is not None
    assert report.manifest.name != first


def test_other_sources_and_stacks_are_nothing_to_build_on(qdrant: Qdrant, stacked: Callable[..., Stacked]) -> None:
    fill(qdrant, "docs", 50)
    made = stacked()
    made.backup()
    config = made.folder / "recoup.yaml"
    config.write_text(config.read_text().replace("stack: small", "stack: other"))
    made.backup()
    (told,) = made.told("shard_taken_in_full")
    assert told.fields["reason"] == "main has no good earlier set with vectors"


def test_a_host_that_can_only_add_sets_takes_all_and_others_build_on_it(
    qdrant: Qdrant, stacked: Callable[..., Stacked]
) -> None:
    fill(qdrant, "docs", 50)
    made = stacked()
    made.backup()
    made.stack().export_writer(made.folder / "writer")
    config = made.folder / "recoup.yaml"
    owner = config.read_text()
    config.write_text(owner.replace("key_file: secret", "writer_key_file: writer"))
    change(qdrant, 1)
    name = made.backup().name
    (told,) = made.told("shard_taken_in_full")
    assert "cannot be read" in str(told.fields["reason"])
    config.write_text(owner)
    made.backup()
    (merged,) = made.told("shard_merged")
    assert (merged.fields["earlier"], merged.fields["came"]) == (name, 0)
