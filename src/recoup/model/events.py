"""News of a run: values that verbs emit and sinks turn into lines, records and bars."""

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from enum import IntEnum
from typing import Any

from recoup.model.structs import Struct


class Level(IntEnum):
    """How loud an event is; the numbers are those of Python's logging."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Event(Struct):
    """Something that happened.

    Attributes:
        name: `backup_created`, `source_failed`, ...: listed in `docs/reference/events.md`.
        time: when (UTC).
        message: one sentence for people, without secrets.
        level: how loud.
        set: the backup set that it is about, if any.
        fields: values for machines, JSON types only.
    """

    name: str
    time: datetime
    message: str
    level: Level = Level.INFO
    set: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


class Progress(Struct):
    """How far long work has come. Sent often; sinks that keep records leave it out.

    Attributes:
        work: what is being done, e.g. `backup cache`.
        done: bytes done, or what `unit` says.
        total: bytes to do, None when unknown.
        finished: True for the last one of this work.
        unit: what is counted, e.g. `points`; empty for bytes.
    """

    work: str
    done: int
    total: int | None = None
    finished: bool = False
    unit: str = ""


News = Event | Progress
Emit = Callable[[News], None]


def ignore(_news: News) -> None:
    """An `Emit` that drops everything."""
