"""Settings of the data directory of a service that has to stand still."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, field_validator, model_validator

from recoup.sources._base import SourceOptions
from recoup.sources._walking import compiled

Snapshot = Literal["none", "reflink", "btrfs", "zfs", "lvm"]

Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?[smhd])+$")]
"""A length of time: `90s`, `30m`, `1h30m`."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """A length of time in seconds."""
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([smhd])", text))


class Wait(BaseModel):
    """How one sees whether the service is up. Exactly one of the ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        "",
        pattern=r"^(https?://[^/].*)?$",
        description="Up when it answers 2xx, stopped when its host refuses connections to its port.",
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="TCP port of this machine. Up when it is open, stopped when it is closed."
    )
    pid_file: Path | None = Field(
        None, description="File with the service's process number. Stopped when it is gone, or that process is."
    )
    command: tuple[str, ...] = Field(
        (),
        description="Program and arguments, no shell. Exit code 0 says that it is up, another one that it is stopped.",
    )
    timeout: Duration = Field("60s", description="How long it may take to stop, and to be up again.")

    @model_validator(mode="after")
    def _one_way(self) -> "Wait":
        given = [way for way in (self.url, self.port, self.pid_file, self.command) if way]
        if len(given) != 1:
            raise ValueError("give one of `url`, `port`, `pid_file` and `command`")
        return self


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
