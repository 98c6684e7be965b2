"""What a person can say about a restore to a PostgreSQL server, and about a drill."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Mode = Literal["swap", "drop-create"]
"""How a restored database takes its place, see `RestoreOptions.mode`."""


def _names(value: Any) -> Any:
    """`a,b` as a list."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class RestoreOptions(BaseModel):
    """Options of a restore to a server; texts, as typed, are understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (),
        description="Only these tables, A,B or SCHEMA.A: they take the place of those that are there, in one transaction.",
    )
    mode: Mode = Field(
        "swap",
        description="swap: into a new database, checked, then the names change in one step; the present one is kept. "
        "drop-create: the present one is dropped first, so that both need not fit on the disk.",
    )
    terminate: bool = Field(False, description="End the sessions that are in the way.")
    drop_old: bool = Field(False, description="Drop what was replaced, once the restored one is in its place.")
    wait: float = Field(30.0, gt=0, description="Seconds to wait for sessions and locks that are in the way.")
    maintenance: str = Field(
        "", description="Database to connect to while others are made and renamed; by default postgres, else template1."
    )


class DrillOptions(BaseModel):
    """Options of a drill."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scratch_url: str = Field(
        "",
        pattern=r"^(postgres(ql)?://.*)?$",
        description="URL of a server for a temporary database; by default as the setting `scratch_url`.",
    )
    drill_here: bool | None = Field(
        None, description="Whether a temporary database may be made on the source's own server."
    )
