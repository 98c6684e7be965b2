"""What a person can say about a restore to a Qdrant server, and about a drill on one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Mode = Literal["auto", "alias", "replace", "new", "merge"]
"""How what was restored takes its place, see `RestoreOptions.mode`."""

Via = Literal["auto", "snapshot", "points"]
"""The way back: whole shards, or the points one by one."""


def _names(value: Any) -> Any:
    """`a,b` as a list; collections' names hold no comma that anybody types here."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    """`a=b,c=d` as a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _names(value)]
    for old, separator, new in pairs:
        if not (old and separator and new):
            raise ValueError("it is written OLD=NEW, several with commas between")
    return {old: new for old, _, new in pairs}


class RestoreOptions(BaseModel):
    """Options of a restore to a server; texts, as typed, are understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    collections: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (), description="Only these collections, A,B; all of the set by default."
    )
    rename: Annotated[Mapping[str, str], BeforeValidator(_pairs)] = Field(
        {}, description="Other names on the server, OLD=NEW,OLD=NEW."
    )
    mode: Mode = Field(
        "auto",
        description="alias: beside the present one, then the aliases move. replace: the present one is copied away and deleted, "
        "and an alias takes its name. new: beside it, nothing is switched. merge: points are written into the present one. "
        "auto: alias where an alias leads to the present one, else replace.",
    )
    via: Via = Field(
        "auto",
        description="snapshot: whole shards, into the same version or one newer. points: one by one, into any version and "
        "number of shards. auto: snapshots where the set has them.",
    )
    aliases: Literal["missing", "all", "none"] = Field(
        "missing",
        description="Which of the set's aliases are made: those that are not there, all (they leave the collections "
        "that they lead to now), or none.",
    )
    drop_old: bool = Field(False, description="Delete the collection that the aliases led to, after the switch.")
    keep: Path | None = Field(
        None,
        description="Folder for the copy that mode replace takes before it deletes; by default in the user's state folder.",
    )
    rate: float = Field(
        0.0, ge=0, description="Points a second at most, where points go one by one; 0: as fast as it takes."
    )
    timeout: float = Field(3600.0, gt=0, description="Seconds to wait for a collection to be whole and green.")


class DrillOptions(BaseModel):
    """Options of a drill."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str = Field(
        "",
        description="URL of a Qdrant server to restore into, under scratch names that are removed; by default none is needed.",
    )
