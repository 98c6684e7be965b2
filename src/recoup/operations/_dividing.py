"""A capture in pieces: workers take them and store what they yield, this machine accepts it and joins the notes."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

from recoup.errors import RecoupError, RefusedError, StorageError
from recoup.model.events import Event, Level, News, Progress
from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding, Frozen, StoredPart
from recoup.model.part import Part
from recoup.model.wire import decoded, encoded
from recoup.operations._backup_plan import Batch, Row, Run, Send
from recoup.operations._pump import Pump
from recoup.repository._base import JoinedWriter, SetWriter, SharedWriter, Ticket
from recoup.sources._base import Capture, Divisible, Source
from recoup.system.clock import Clock
from recoup.system.executing import Outcome

_ASK = 10.0  # seconds between two looks of a worker at whether the set is still wanted


@dataclass
class DividedCapture:
    """A source that is taken piece by piece elsewhere.

    Args:
        row: of the source, in the plan.
        source: to be divided.
        pieces: of it.
        settings: of the source as the manifest has them, by which workers know that they are configured alike.
        writer: of the set.
        send: gives orders to the workers.
        run: clock and news.
    """

    row: Row
    source: Divisible
    pieces: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    writer: SharedWriter
    send: Send
    run: Run

    def __post_init__(self) -> None:
        self._batch: Batch | None = None
        self._joined: AbstractContextManager[Capture] | None = None
        self._capture: Capture | None = None
        self._findings: list[Finding] = []
        self._workers_stored: dict[str, int] = {}

    def __enter__(self) -> Self:
        ticket = encoded(Ticket, self.writer.ticket())
        about = {"source": self.row.source, "settings": dict(self.settings), "ticket": ticket}
        self._batch = self.send("capture", [{**about, "piece": dict(piece)} for piece in self.pieces])
        return self

    def __exit__(self, *_: object) -> None:
        if self._batch is not None:
            self._batch.cancel()
        if self._joined is not None:
            joined, self._joined = self._joined, None
            joined.__exit__(*sys.exc_info())

    # --- storing ------------------------------------------------------------------------------------------------------

    def store(self, pump: Pump) -> list[StoredPart]:
        """Accepts what the workers store, stores what no piece has, and returns all, what belongs together side by side.

        Raises:
            SourceError: no piece could be taken.
            RefusedError: a worker is configured in another way.
            StorageError: the repository cannot be written.
        """
        notes, stored = self._accepted()
        self._joined = self.source.joined(self.pieces, notes)
        self._capture = self._joined.__enter__()
        first = [pump.store(part) for part in self._capture.parts()]
        parts = _side_by_side([*first, *(part for number in sorted(stored) for part in stored[number])])
        self.writer.settle(self.row.source, parts)
        return parts

    def _accepted(self) -> tuple[list[Mapping[str, Any] | str], dict[int, list[StoredPart]]]:
        notes: list[Mapping[str, Any] | str] = ["it was not taken"] * len(self.pieces)
        stored: dict[int, list[StoredPart]] = {}
        done = 0
        for outcome in self._batch or ():
            try:
                answer = _answer_of(outcome)
                parts = decoded(list[StoredPart], answer["parts"])
                for part in parts:
                    self.writer.take_over(self.row.source, part)
            except (RefusedError, StorageError):
                raise
            except RecoupError as error:
                notes[outcome.job] = self._failed(outcome.job, error)
                continue
            notes[outcome.job], stored[outcome.job] = answer["note"], parts
            self._findings += decoded(list[Finding], answer["findings"])
            self._note_worker(answer["worker"])
            done += sum(part.bytes for part in parts)
            self.run.emit(Progress(f"read {self.row.source}", done, self.row.bytes or None))
        self.run.emit(Progress(f"read {self.row.source}", done, self.row.bytes or None, finished=True))
        return notes, stored

    def _failed(self, number: int, error: RecoupError) -> str:
        name, message = self.pieces[number]["name"], self.run.mask(error.message)
        fields = {"source": self.row.source, "piece": name, "error": message}
        text = f"{self.row.source}: no worker could take {name}: {message}"
        self.run.emit(Event("piece_failed", self.run.clock.now(), text, Level.ERROR, fields=fields))
        return error.message

    def _note_worker(self, name: str) -> None:
        self._workers_stored[name] = self._workers_stored.get(name, 0) + 1

    # --- what a capture tells -----------------------------------------------------------------------------------------

    @property
    def _whole(self) -> Capture:
        if self._capture is None:
            raise RefusedError(f"{self.row.source} was not taken yet")
        return self._capture

    @property
    def frozen(self) -> Frozen:
        """From the first piece's freeze to the last one's."""
        return self._whole.frozen

    @property
    def method(self) -> str:
        """How, and by how many workers."""
        count = len(self._workers_stored)
        return f"{self._whole.method}; in {len(self.pieces)} pieces by {count} worker{'' if count == 1 else 's'}"

    @property
    def engine(self) -> str:
        """The engine."""
        return self._whole.engine

    def parts(self) -> Iterator[Part]:
        """Those that no piece has."""
        return self._whole.parts()

    def facts(self) -> Facts:
        """Of all pieces."""
        return self._whole.facts()

    def findings(self) -> Iterable[Finding]:
        """Of all pieces."""
        return (*self._findings, *self._whole.findings())

    def brackets(self) -> tuple[Bracket, ...]:
        """Of all pieces."""
        return self._whole.brackets()


def _answer_of(outcome: Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.answer


def _side_by_side(parts: Sequence[StoredPart]) -> list[StoredPart]:
    """Parts by folder, in the order in which folders and their parts first come: a restore reads them one after the other."""
    folders = list(dict.fromkeys(part.name.rpartition("/")[0] for part in parts))
    return sorted(parts, key=lambda part: folders.index(part.name.rpartition("/")[0]))


def divided(row: Row, source: Source, writer: SetWriter, run: Run) -> DividedCapture | None:
    """A capture in pieces, where there are workers and the source can be divided.

    Raises:
        RefusedError: several machines cannot write to this repository.
        SourceError: as `Source.capture` does.
    """
    if run.send is None or not isinstance(source, Divisible):
        return None
    if not isinstance(writer, SharedWriter):
        raise RefusedError(
            "workers write to one repository at a time", "Name it with -r, and `recoup copy` the set to the others."
        )
    pieces = source.pieces()
    settings = run.mask.value(source.settings())
    return DividedCapture(row, source, pieces, settings, writer, run.send, run) if pieces else None


def take(piece: Mapping[str, Any], name: str, source: Divisible, writer: JoinedWriter, clock: Clock) -> dict[str, Any]:
    """A worker's side: captures a piece, and stores its parts in a set that another machine will commit.

    Args:
        piece: what to take.
        name: of the source.
        source: it.
        writer: of the set.
        clock: time.

    Returns:
        JSON values: `parts`, `findings`, `note`.

    Raises:
        StorageError: the set is not wanted any more, or cannot be written.
        SourceError: the piece cannot be captured.
    """
    asked = clock.monotonic()

    def look(_: News) -> None:
        nonlocal asked
        if clock.monotonic() - asked >= _ASK:
            writer.require_wanted()
            asked = clock.monotonic()

    pump = Pump(writer, name, None, look, work="take")
    try:
        with source.piece(piece) as capture:
            parts = [pump.store(part) for part in capture.parts()]
            note = capture.note()
        writer.require_wanted()
    except BaseException:
        with contextlib.suppress(StorageError):
            writer.discard_own()
        raise
    return {"parts": encoded(list[StoredPart], parts), "findings": encoded(list[Finding], pump.findings), "note": note}
