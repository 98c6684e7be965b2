"""Settings of the backups, checked when they are made."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

FOLDER = Path(__file__).resolve().parents[1]
"""Where recoup.yaml and s3.yaml are."""

ENDPOINT = "RECOUP__REPOSITORIES__S3__STORAGE__ENDPOINT"
"""Variable that sets a key of the configuration without standing in it: most buckets have no endpoint of their own."""

Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class S3Settings(_Model):
    """Where copies go. Keys are looked for where all programs of AWS do: environment, profile, role.

    Attributes:
        bucket: its name.
        region: of the bucket.
        auto_sync: whether the service backs up by itself.
        interval_hours: between two automatic backups of a collection.
        retention_days: copies older than this are removed, never the newest.
        endpoint: URL of another store that speaks S3; empty for AWS.
    """

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")] = "us-west-2"
    auto_sync: bool = True
    interval_hours: Hours = 24.0
    retention_days: Days = 30
    endpoint: Annotated[str, StringConstraints(pattern=r"^(https?://[^/@]+)?$")] = ""


class Settings(_Model):
    """All settings.

    Attributes:
        user_id: whose collections these are; their copies are kept below this name.
        data_path: local folder; snapshots are kept in `snapshots` below it, and `temp` holds what comes and goes.
        qdrant_url: of the server.
        qdrant_api_key: shown nowhere.
        intervals: collection to hours, where one has a schedule of its own.
        stale_hours: health warns when a collection's newest backup is older.
        green_timeout: seconds that a restored collection may take to become green.
        s3: where copies go; None keeps everything here.
    """

    user_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    data_path: Path = Path("~/.cloudops")
    qdrant_url: str = "http://127.0.0.1:6333"
    qdrant_api_key: SecretStr | None = None
    intervals: Mapping[str, Hours] = Field(default_factory=dict)
    stale_hours: Hours = 48.0
    green_timeout: Annotated[float, Field(gt=0)] = 30.0
    s3: S3Settings | None = None

    @property
    def folder(self) -> Path:
        """`data_path`, absolute."""
        return self.data_path.expanduser().absolute()

    @property
    def auto_backup(self) -> bool:
        """Whether the service backs up by itself."""
        return self.s3 is not None and self.s3.auto_sync

    def interval(self, collection: str) -> float:
        """Hours between two automatic backups of a collection."""
        return self.intervals.get(collection, self.s3.interval_hours if self.s3 else 24.0)

    @property
    def files(self) -> tuple[Path, ...]:
        """The configuration files of Recoup that these settings need."""
        names = ("recoup.yaml", "s3.yaml") if self.s3 else ("recoup.yaml",)
        return tuple(FOLDER / name for name in names)

    def environ(self) -> dict[str, str]:
        """The environment in which those files mean what is set here."""
        found = {
            **os.environ,
            "CLOUDOPS_DATA": str(self.folder),
            "CLOUDOPS_USER": self.user_id,
            "QDRANT_URL": self.qdrant_url,
        }
        if self.qdrant_api_key is not None:
            found["QDRANT_API_KEY"] = self.qdrant_api_key.get_secret_value()
        if self.s3 is not None:
            found["CLOUDOPS_BUCKET"] = self.s3.bucket
            found["CLOUDOPS_REGION"] = self.s3.region
            found["CLOUDOPS_RETENTION"] = f"{self.s3.retention_days}d"
            if self.s3.endpoint:
                found[ENDPOINT] = self.s3.endpoint
        return found


def from_environ(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings by the variables that recoup.yaml and s3.yaml use, for the command line.

    Raises:
        ValueError: one is wrong.
    """
    s3 = None
    if environ.get("CLOUDOPS_BUCKET"):
        days = environ.get("CLOUDOPS_RETENTION", "30d").removesuffix("d")
        s3 = S3Settings(
            bucket=environ["CLOUDOPS_BUCKET"],
            region=environ.get("CLOUDOPS_REGION", "us-west-2"),
            retention_days=int(days),
            endpoint=environ.get(ENDPOINT, ""),
        )
    key = environ.get("QDRANT_API_KEY")
    return Settings(
        user_id=environ.get("CLOUDOPS_USER", "user-123"),
        data_path=Path(environ.get("CLOUDOPS_DATA", "~/.cloudops")),
        qdrant_url=environ.get("QDRANT_URL", "http://127.0.0.1:6333"),
        qdrant_api_key=SecretStr(key) if key else None,
        s3=s3,
    )
