"""Settings of the data directory of a service that has to stand still."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from recoup.sources._base import SourceOptions
from recoup.sources._service import Duration, Wait
from recoup.sources._walking import compiled

Snapshot = Literal["none", "reflink", "btrfs", "zfs", "lvm"]


class Options(SourceOptions):
    """Settings of a directory."""

    path: Path = Field(description="The directory.")
    stop: tuple[str, ...] = Field(
        min_length=1,
        description="Program and arguments that stop the service; no shell. It has to end with exit code 0.",
    )
    start: tuple[str, ...] = Field(
        min_length=1,
        description="Program and arguments that start it again; also run when the stop failed, and when Recoup dies meanwhile.",
    )
    wait: Wait = Field(description="How one sees whether the service is stopped, and whether it is up again.")
    command_timeout: Duration = Field("5m", description="How long each command may take.")
    freeze_timeout: Duration = Field(
        "30m",
        description="How long the service may stand still. After that it is started in any case, and the source fails.",
    )
    exclude: tuple[str, ...] = Field((), description="Patterns in gitignore syntax: leave out what matches.")
    snapshot: Snapshot = Field(
        "none",
        description="Copy that the file system makes in a moment, so that the service is up again before all is read. "
        "`reflink` needs btrfs, XFS or another file system that has them, else the directory is read while the service stands "
        "still; the others are made by `freeze` and removed by `thaw`.",
    )
    freeze: tuple[str, ...] = Field((), description="Program and arguments that make the copy (btrfs, zfs, lvm).")
    thaw: tuple[str, ...] = Field((), description="Program and arguments that remove it; also run after failures.")
    snapshot_path: Path | None = Field(None, description="Where the directory is found in that copy.")

    _elsewhere: bool = PrivateAttr(default=False)

    @field_validator("exclude")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        compiled(patterns)
        return patterns

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_command = self.snapshot in ("btrfs", "zfs", "lvm")
        given = [bool(self.freeze), bool(self.thaw), self.snapshot_path is not None]
        if by_command and not all(given):
            raise ValueError(f"`snapshot: {self.snapshot}` needs `freeze`, `thaw` and `snapshot_path`")
        if not by_command and any(given):
            raise ValueError("`freeze`, `thaw` and `snapshot_path` are for `snapshot: btrfs`, `zfs` and `lvm`")
        return self

    def moved(self, where: str) -> Self:
        """The same for another directory, which is not the service's: nothing is stopped or started for it."""
        moved = super().moved(where)
        moved._elsewhere = True  # noqa: SLF001 - of its own kind
        return moved

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is another directory than the service's."""
        return self._elsewhere


class RestoreOptions(BaseModel):
    """Options of a restore to the directory's own place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stopped: bool = Field(
        False, description="The service is stopped already, or not installed yet: it is neither stopped nor started."
    )
