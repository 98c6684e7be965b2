"""The promise that every source keeps; `recoup.testing.source_contract` is the same promise as tests.

A plug file defines the frozen pydantic models `Options` (settings) and, if it has any, `RestoreOptions`, a class that keeps
`Source`, and ends with `connect(options, site)`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from recoup.errors import SourceError
from recoup.model.events import Emit, ignore
from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding, Frozen
from recoup.model.part import Part, StreamPart
from recoup.model.structs import Struct
from recoup.sources._placement import Placement as Placement  # noqa: PLC0414 - it belongs to the promise
from recoup.system.clock import Clock


class MovedError(SourceError):
    """A pointer named in the settings moved while the source was read: the capture has to be taken again."""


class SourceOptions(BaseModel):
    """Settings that every source has. A plug's `Options` derives from this and adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    place: ClassVar[str] = "path"
    """Which of the plug's settings says where the store is: what `--target SOURCE=WHERE` replaces."""

    kind: str = Field(description="Which plug reads this source.")
    optional: bool = Field(False, description="When it is not there: recorded as absent instead of a failure.")
    allow_empty: bool = Field(False, description="When it yields nothing: accepted instead of a failure.")

    @property
    def builds_on_earlier(self) -> str:
        """Name of the setting by which a capture takes what did not change from an earlier set; empty where none does."""
        return ""

    def moved(self, where: str) -> Self:
        """The same settings for another place, in the form of the setting that `place` names."""
        return type(self).model_validate({**self.model_dump(), self.place: where})


class NoRestoreOptions(BaseModel):
    """The restore options of a plug that has none of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Past(Struct):
    """What the newest good set holds of a source, for a capture that builds on it.

    Attributes:
        set: its name.
        parts: its byte streams by name, as they were captured; reading one raises `DamagedError` where stored bytes are wrong.
    """

    set: str
    parts: Mapping[str, StreamPart]


Recall = Callable[[], Past]
"""Looks for it. Raises RecoupError where there is none, or where it cannot be read here."""


class Site(Struct):
    """What a plug is handed besides its own settings.

    Attributes:
        name: the source's name in the configuration.
        base: folder that relative paths are relative to (that of the configuration file), absolute.
        staging: folder for staged copies; exists, mode 0700, on a disk with room; the caller removes it.
        clock: time.
        seed: seed for random choices (probes).
        emit: where news go.
        allow_remote: False when only hosts of this machine may be contacted.
        shared: True when other sources are captured in the same cut, so that it matters how long this one takes to stand still.
        compresses: True when the repository compresses what it stores, so that a source need not.
        recall: looks for what an earlier set holds of the source; None where nobody has one.
    """

    name: str
    base: Path
    staging: Path
    clock: Clock
    seed: int = 0
    emit: Emit = ignore
    allow_remote: bool = True
    shared: bool = False
    compresses: bool = False
    recall: Recall | None = None


class Capture(Protocol):
    """A source that stands still. Valid between entering and leaving `Source.capture()`."""

    @property
    def frozen(self) -> Frozen:
        """The moment, or the interval, that the parts show. Final once all parts were read."""
        ...

    @property
    def method(self) -> str:
        """How it was captured, in a few words for the manifest."""
        ...

    @property
    def engine(self) -> str:
        """Name and version of the engine that wrote the data, where known, else empty."""
        ...

    def parts(self) -> Iterator[Part]:
        """The parts, each to be read before the next is asked for. Called once."""
        ...

    def facts(self) -> Facts:
        """What a correct copy must show. Called after all parts were read."""
        ...

    def findings(self) -> Iterable[Finding]:
        """Items that a person has to know of (skipped, unreadable). Called after all parts were read."""
        ...

    def brackets(self) -> tuple[Bracket, ...]:
        """What the live source showed around the capture; empty where the facts come from a frozen view."""
        ...


class Existing(Struct):
    """What is at a restore's target now, for the plan.

    Attributes:
        target: the place, for people.
        present: whether something is there.
        description: what, e.g. `file of 12 MB` or `folder with 31 entries`.
        consequence: what a restore will do with it, one sentence.
        steps: what a restore will do, in order, a sentence each; empty where `consequence` says it all.
    """

    target: str
    present: bool
    description: str
    consequence: str
    steps: tuple[str, ...] = ()


class Source(Protocol):
    """One store of a stack."""

    options: SourceOptions
    exact: bool
    """True when a restore brings back the same bytes (files), so that a drill also compares every byte."""

    def check(self) -> None:
        """Looks whether it can be read.

        Raises:
            SourceError: what stops us, with a hint how to mend it.
        """
        ...

    def present(self) -> bool:
        """False when the store is not there at all (then `optional` decides)."""
        ...

    def estimate(self) -> int:
        """Bytes that a capture will yield, roughly, without reading the data."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """The settings for the manifest, without secrets; JSON types."""
        ...

    def capture(self) -> AbstractContextManager[Capture]:
        """Freezes the store at one point in time. Leaving removes every trace, also after an error.

        Raises:
            SourceError: it cannot be captured.
            EmptySourceError: there is nothing in it, and `allow_empty` is off.
        """
        ...

    def recover(self) -> tuple[str, ...]:
        """Finishes or takes back what a killed restore left at this store; returns a sentence for each thing done."""
        ...

    def existing(self) -> Existing:
        """What a restore to this store's own place would meet."""
        ...

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:
        """Puts the parts in this store's own place, safely: beside it, checked, then swapped.

        Args:
            parts: as captured; reading one raises `DamagedError` where stored bytes are wrong.
            options: the plug's `RestoreOptions`.

        Raises:
            BusyError: the place is in use.
            DamagedError: the stored bytes are wrong; the place is as it was.
            RestoreError: it failed; the place is as it was.
        """
        ...

    def facts(self) -> Facts:
        """What this store shows now. Asked of a scratch twin or a place that nobody writes to."""
        ...

    def scratch(self, folder: Path) -> AbstractContextManager["Source"]:
        """An empty twin inside `folder`, to restore into; leaving removes it."""
        ...


@runtime_checkable
class Doubting(Protocol):
    """A source that can say, before a backup, what looks wrong and stops none."""

    def doubts(self) -> tuple[str, str] | None:
        """What looks wrong and what to do about it; None when nothing does. Changes nothing."""
        ...


class Symptom(Struct):
    """One thing that a look at what a source is taken from shows.

    Attributes:
        severity: `ok`, `warning` (a backup works all the same) or `error` (it would fail, or lack something).
        message: what was found.
        hint: what to do; empty when nothing is.
    """

    severity: Literal["ok", "warning", "error"]
    message: str
    hint: str = ""


@runtime_checkable
class Diagnosing(Protocol):
    """A source that can say more of what it is taken from than that it can be read: a server's health, rights, contents."""

    def diagnose(self) -> Iterator[Symptom]:
        """What is seen. Changes nothing.

        Raises:
            SourceError: nothing can be seen.
        """
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A source whose restore depends on what the set holds and on the options, so that it wants to see both for the plan."""

    def foresee(self, parts: Iterable[Part], options: BaseModel) -> Existing:
        """What a restore of these parts would meet and do; changes nothing.

        Args:
            parts: as captured; only those that are needed are read.
            options: the plug's `RestoreOptions`.

        Raises:
            RecoupError: such a restore is not possible.
        """
        ...


class PieceCapture(Protocol):
    """A piece of a source that stands still. Valid between entering and leaving `Divisible.piece()`."""

    def parts(self) -> Iterator[Part]:
        """The piece's parts, each to be read before the next is asked for. Called once."""
        ...

    def note(self) -> Mapping[str, Any]:
        """All that has to be known of the piece besides its parts; JSON values, no secrets. Called after all parts were read."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A source, reached over a network, whose capture falls into pieces that several machines can take at the same time."""

    def pieces(self) -> Sequence[Mapping[str, Any]]:
        """What there is to take; JSON values, no secrets. Each piece has a `name` for people that no other has. None where it
        has to be captured at once.

        Raises:
            SourceError: as `Source.capture` does.
        """
        ...

    def piece(self, piece: Mapping[str, Any]) -> AbstractContextManager[PieceCapture]:
        """Freezes one piece, on any machine that reaches the source. Leaving removes every trace.

        Raises:
            SourceError: it cannot be captured.
        """
        ...

    def joined(
        self, pieces: Sequence[Mapping[str, Any]], notes: Sequence[Mapping[str, Any] | str]
    ) -> AbstractContextManager[Capture]:
        """The whole source, from what was noted of its pieces: its parts are those that no piece has.

        Args:
            pieces: as `pieces` gave them.
            notes: for each piece its note, or why it could not be taken.

        Raises:
            SourceError: nothing could be taken.
        """
        ...


@dataclass
class Noted:
    """Findings collected while a capture is read."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, what: str, item: str, message: str, *, harmless: bool = False) -> None:
        """Notes one."""
        self.findings.append(Finding(what, item, message, harmless))
