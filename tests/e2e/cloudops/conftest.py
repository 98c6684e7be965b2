"""The example as a service has it: its collections on a Qdrant server, its snapshots in a folder of the test."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cloudops_backup import AsyncBackups, S3Settings, Settings
from cloudops_backup.service import utc_now
from qdrant_client import QdrantClient

from loading_scripts import loaded
from qdrant_server.running import Qdrant
from s3_server.buckets import Bucket

EXAMPLE = Path(__file__).parents[3] / "examples" / "cloudops"
COUNTS = {"chat_history": 400, "aws_estate": 240}


@pytest.fixture(scope="session")
def make_data() -> ModuleType:
    """The script that makes the collections."""
    return loaded(EXAMPLE / "make_data.py")


@dataclass
class CloudOps:
    """One tenant's service.

    Attributes:
        root: folder of the test.
        qdrant: where the collections are.
        ahead: what its clock is put forward by.
    """

    root: Path
    qdrant: Qdrant
    s3: S3Settings | None = None
    ahead: timedelta = field(default_factory=timedelta)

    @property
    def data(self) -> Path:
        return self.root / "data"

    def settings(self, **more: Any) -> Settings:
        known = {"user_id": "user-123", "data_path": self.data, "qdrant_url": self.qdrant.url, "s3": self.s3}
        return Settings(**{**known, **more})

    def now(self) -> datetime:
        return utc_now() + self.ahead

    def do(self, act: Callable[[AsyncBackups], Awaitable[Any]], emit: Any = None, **settings: Any) -> Any:
        """Runs something with the service to its end."""

        async def main() -> Any:
            async with AsyncBackups(self.settings(**settings), emit, self.now) as backups:
                return await act(backups)

        return asyncio.run(main())

    def count(self, collection: str) -> int:
        path = f"/collections/{collection}/points/count"
        return int(self.qdrant.ask("POST", path, {"exact": True})["count"])

    def points(self, collection: str) -> dict[int, tuple[list[float], dict[str, Any]]]:
        """All of it: vectors and payloads by id."""
        body = {"limit": 1000, "with_vector": True, "with_payload": True}
        found = self.qdrant.ask("POST", f"/collections/{collection}/points/scroll", body)["points"]
        return {point["id"]: (point["vector"], point["payload"]) for point in found}

    def harm(self, collection: str) -> None:
        """What a person would want to take back: points deleted, and one overwritten."""
        points = f"/collections/{collection}/points"
        size = len(self.points(collection)[5][0])
        self.qdrant.ask("POST", f"{points}/delete", {"points": list(range(100))}, wait="true")
        spoiled = {"points": [{"id": 200, "vector": [1.0] * size, "payload": {"spoiled": True}}]}
        self.qdrant.ask("PUT", points, spoiled, wait="true")


@pytest.fixture
def cloudops(
    qdrant: Qdrant, make_data: ModuleType, quick_async_children: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CloudOps]:
    """The service without S3, with both collections on the server."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with closing(QdrantClient(url=qdrant.url, timeout=60, check_compatibility=False)) as client:
        for name, texts in make_data.TEXTS.items():
            make_data.make(client, name, texts)
    yield CloudOps(tmp_path, qdrant)


@pytest.fixture
def with_s3(cloudops: CloudOps, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> CloudOps:
    """The service with a bucket; its keys come from the environment, as on a machine of AWS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.account.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.account.secret_key)
    cloudops.s3 = S3Settings(bucket=bucket.name, region="us-west-2", endpoint=bucket.endpoint)
    return cloudops


def backdate(folder: Path, ages: dict[str, int]) -> None:
    """Gives sets of the past its names and times."""
    for name, days in ages.items():
        began = datetime.strptime(name.removeprefix("backup_")[:15], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
        then = began - timedelta(days=days)
        manifest = (folder / name / "manifest.json").read_text().replace(name, f"backup_{then:%Y%m%d_%H%M%S}")
        manifest = re.sub(rf"{began:%Y-%m-%d}(?=T\d\d:)", f"{then:%Y-%m-%d}", manifest)
        (folder / name / "manifest.json").write_text(manifest)
        for place in (folder, folder / ".artefacts"):
            (place / name).rename(place / f"backup_{then:%Y%m%d_%H%M%S}")
