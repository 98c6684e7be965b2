"""A bucket that has a shape: collections of a Qdrant server under their keys, on a folder and on a real S3 server."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import recoup
from qdrant_server.running import Qdrant
from recoup.errors import ConfigError, DamagedError, RefusedError
from s3_server.buckets import Bucket

COUNTS = {"aws_estate": 30, "chat_history": 50}
KEY = "{user_id}/snapshots/{collection}/{date}.snapshot"
HOME = "user-123/snapshots/_recoup"


@pytest.fixture
def server(qdrant: Qdrant) -> Qdrant:
    """The two collections of the service."""
    for name, count in COUNTS.items():
        qdrant.ask("PUT", f"/collections/{name}", {"vectors": {"size": 4, "distance": "Dot"}})
        points = [{"id": n, "vector": [float(n), 1.0, 0.0, -1.0], "payload": {"n": n}} for n in range(count)]
        qdrant.ask("PUT", f"/collections/{name}/points", {"points": points}, wait="true")
    return qdrant


def count(server: Qdrant, name: str) -> int:
    return int(server.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


def opened(root: Path, server: Qdrant, repository: dict[str, Any], **more: Any) -> recoup.Stack:
    """A stack whose collections are taken as one snapshot each."""
    config = {
        "version": 1,
        "stack": "cloudops",
        "sources": {"vectors": {"kind": "qdrant", "url": server.url, "method": "collection"}},
        "repositories": {"keyed": {"layout": "keyed", "free_space_factor": 2, **repository, **more}},
    }
    path = root / "recoup.yaml"
    path.write_text(json.dumps(config))
    stack = recoup.open(path, environ={}, cwd=root)
    stack.create_repositories()
    return stack


@pytest.mark.requirement("CO-6", "CI-4", "CI-11")
@pytest.mark.parametrize(
    ("name", "glob"),
    [
        ("{collection}_{date}.snapshot", "*_????-??-??T??-??-??.snapshot.zst"),
        ("{collection}-{date:%Y-%m-%d-%H-%M-%S}.snapshot", "*-????-??-??-??-??-??.snapshot.zst"),
    ],
)
def test_each_collection_is_a_file_with_the_name_that_the_team_wants(
    server: Qdrant, tmp_path: Path, name: str, glob: str
) -> None:
    stack = opened(tmp_path, server, {"path": "snapshots", "name": name, "compression": "zstd"})
    report = stack.backup()
    assert report.exit_code == 0
    files = sorted((tmp_path / "snapshots").glob(glob))
    assert [file.name[: len(collection)] for file, collection in zip(files, sorted(COUNTS), strict=True)] == sorted(
        COUNTS
    )
    assert not stack.verify()[0].damage
    assert subprocess.run(["zstd", "-t", "-q", *files], check=False).returncode == 0


@pytest.mark.requirement("CO-7", "CO-10", "CO-11")
def test_a_bucket_keeps_its_shape_and_gives_every_collection_back(
    server: Qdrant, bucket: Bucket, tmp_path: Path
) -> None:
    place = {"url": bucket.url, "storage": bucket.options, "key": KEY, "fields": {"user_id": "user-123"}}
    stack = opened(tmp_path, server, place)
    report = stack.backup()
    assert report.manifest is not None
    date = f"{report.manifest.started:%Y-%m-%dT%H-%M-%S}"
    keys = [key for key in bucket.sizes() if not key.startswith(f"{HOME}/")]
    assert keys == [f"user-123/snapshots/{name}/{date}.snapshot" for name in sorted(COUNTS)]
    assert stack.foreign() == ()
    for name in COUNTS:
        server.ask("DELETE", f"/collections/{name}")
    restored = stack.restore(in_place=True)
    assert restored.exit_code == 0
    assert {name: count(server, name) for name in COUNTS} == COUNTS
    stack.delete(stack.plan_delete([report.manifest.name]), force=True)
    assert [key for key in bucket.sizes() if "snapshots/" in key and key.endswith(".snapshot")] == []


@pytest.fixture
def bare(server: Qdrant, tmp_path: Path) -> Path:
    """A collection's own snapshot, as any tool downloads it."""
    stack = opened(tmp_path, server, {"path": "first", "name": "{collection}_{date}.snapshot"})
    stack.backup()
    [path] = (tmp_path / "first").glob("chat_history_*.snapshot")
    return Path(shutil.move(path, tmp_path / "bare.snapshot"))


OLD = "chat_history/2026-01-0{}T02-00-00.snapshot"


@pytest.fixture
def shared(server: Qdrant, bare: Path, tmp_path: Path) -> Path:
    """A folder of another tool: two good snapshots, a compressed one, and one that was cut."""
    folder = tmp_path / "shared"
    (folder / "chat_history").mkdir(parents=True)
    for day in (1, 2):
        shutil.copy(bare, folder / OLD.format(day))
    subprocess.run(["gzip", "-k", folder / OLD.format(2)], check=True)
    (folder / OLD.format(2)).unlink()
    (folder / OLD.format(3)).write_bytes(bare.read_bytes()[: bare.stat().st_size // 2])
    return folder


def sharing(tmp_path: Path, server: Qdrant, **more: Any) -> recoup.Stack:
    return opened(tmp_path, server, {"path": "shared", "key": "{collection}/{date}.snapshot"}, **more)


@pytest.mark.requirement("CO-9", "CO-15")
def test_what_another_tool_left_is_listed_looked_into_and_put_back(
    server: Qdrant, shared: Path, tmp_path: Path
) -> None:
    stack = sharing(tmp_path, server)
    found = stack.foreign()
    assert [one.key.partition("/")[2][:10] for one in found] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert stack.foreign_named("chat_history") is None
    for key in (OLD.format(1), OLD.format(2) + ".gz"):
        artefact = stack.foreign_named(key)
        assert artefact is not None
        with stack.foreign_file(artefact) as (path, holds):
            assert holds == "50 points in 1 shard"
            server.ask("DELETE", "/collections/chat_history")
            with recoup.qdrant.restore_files(path, server.url) as planned:
                planned.run()
        assert not path.exists()
        assert count(server, "chat_history") == COUNTS["chat_history"]
    damaged = stack.foreign_named(str(shared / OLD.format(3)))
    assert damaged is not None
    with pytest.raises(DamagedError), stack.foreign_file(damaged):
        pass


def test_what_nobody_can_look_into_is_refused(server: Qdrant, tmp_path: Path) -> None:
    stack = opened(tmp_path, server, {"path": "other", "name": "{collection}_{date}.parquet"})
    (tmp_path / "other/docs_2026-01-01T02-00-00.parquet").write_bytes(b"PAR1")
    [artefact] = stack.foreign()
    with pytest.raises(RefusedError, match="nothing here can look into") as caught, stack.foreign_file(artefact):
        pass
    assert artefact.location in caught.value.hint


def test_other_tools_artefacts_are_pruned_only_where_they_are_adopted(
    server: Qdrant, shared: Path, tmp_path: Path
) -> None:
    stack = sharing(tmp_path, server, keep={"last": 2})
    stack.backup()
    assert stack.prune().removed == ()
    assert len(stack.foreign()) == 3
    adopting = sharing(tmp_path, server, keep={"last": 2}, adopt=True)
    plan = adopting.plan_prune()
    assert [(row.outcome, row.keep) for row in plan.rows][-3:] == [("foreign", False)] * 2 + [("foreign", True)]
    assert any("cannot be taken back" in note for note in plan.notes)
    report = adopting.prune(plan)
    assert len(report.removed) == 2
    assert [one.key for one in adopting.foreign()] == [OLD.format(3)]
    assert adopting.prune().removed == ()


def test_what_the_storage_keeps_by_force_stays_and_is_told(locked_bucket: Bucket, tmp_path: Path) -> None:
    """A foreign artefact under object lock."""
    until = datetime.now(UTC) + timedelta(days=1)
    for day, more in ((1, {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}), (2, {}), (3, {})):
        key = f"docs_2026-01-0{day}T02-00-00.snapshot"
        locked_bucket.client.put_object(Bucket=locked_bucket.name, Key=key, Body=b"1", **more)  # type: ignore[arg-type]
    shared = {"url": locked_bucket.url, "storage": locked_bucket.options, "layout": "keyed", "adopt": True}
    config = {
        "version": 1,
        "stack": "s",
        "repositories": {"shared": {**shared, "name": "{collection}_{date}.snapshot", "keep": {"last": 1}}},
    }
    (tmp_path / "recoup.yaml").write_text(json.dumps(config))
    stack = recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path)
    stack.create_repositories()
    plan = stack.plan_prune()
    assert [row.keep for row in plan.rows] == [True, False, True]
    assert "by the storage" in plan.rows[0].reasons[0]
    assert stack.prune(plan).removed == ("docs_2026-01-02T02-00-00.snapshot",)
    assert [one.key[:15] for one in stack.foreign()] == ["docs_2026-01-01", "docs_2026-01-03"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "{tenant}/{collection}/{date}.snapshot"}, "unknown field {tenant}"),
        ({"key": "{collection}/{date:%Y-%m-%d}.snapshot"}, "one key"),
        ({"name": "a/{collection}-{date}.snapshot"}, "slash"),
        ({}, "exactly one of `key` and `name`"),
        ({"key": KEY, "name": KEY}, "exactly one of `key` and `name`"),
        ({"layout": "sets", "adopt": True}, "without `layout: keyed`"),
    ],
)
def test_a_wrong_template_is_told_when_the_file_is_read(
    server: Qdrant, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, server, {"path": "x"}, **settings)
    assert message in str(caught.value)


def test_shards_that_get_no_key_are_told(tmp_path: Path) -> None:
    keyed = {"path": "x", "layout": "keyed", "name": "{collection}_{date}.snapshot"}
    config = {
        "version": 1,
        "stack": "s",
        "sources": {"vectors": {"kind": "qdrant"}, "whole": {"kind": "qdrant", "method": "collection"}},
        "repositories": {"shared": keyed, "plain": {"path": "y"}},
    }
    (tmp_path / "recoup.yaml").write_text(json.dumps(config))
    [warning] = recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path).warnings
    assert warning.startswith("source vectors has `method: auto`")
    assert "in shared; set `method: collection`" in warning
