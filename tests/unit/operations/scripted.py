"""A source that does what a test tells it: so that every outcome of a verb can be brought about."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding, Frozen, Host
from recoup.model.part import Attributes, Member, Part, StreamPart, TreePart
from recoup.model.reports import BackupReport
from recoup.model.secrets import Masker
from recoup.operations import backup
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.sources._base import Capture, Existing, Placement, Source, SourceOptions
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)


@dataclass
class Reading:
    """What opening a content gives: bytes, then perhaps an error, perhaps the news that it changed."""

    data: bytes
    error: OSError | None = None
    changed: bool = False

    def read(self, size: int, /) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        if not piece and self.error:
            raise self.error
        return piece


@dataclass
class ScriptedContent:
    """Content that differs at each opening."""

    readings: list[Callable[[], Reading]]
    local_path: None = None
    disposable: bool = False
    opened: int = 0

    @contextlib.contextmanager
    def open(self) -> Iterator[Reading]:
        reading = self.readings[min(self.opened, len(self.readings) - 1)]
        self.opened += 1
        yield reading()


def content(*readings: bytes | Callable[[], Reading]) -> ScriptedContent:
    return ScriptedContent([partial(Reading, r) if isinstance(r, bytes) else r for r in readings])


@dataclass
class ScriptedSource:
    """A source from a list of captures; the last one is given again and again."""

    captures: list["ScriptedCapture | Exception"] = field(default_factory=list)
    is_there: bool = True
    options: SourceOptions = field(default_factory=lambda: SourceOptions(kind="scripted"))
    size: int = 10
    log: list[str] = field(default_factory=list)
    exact: bool = False
    found: Facts = field(default_factory=Facts)

    def check(self) -> None:
        self.log.append("check")

    def present(self) -> bool:
        return self.is_there

    def estimate(self) -> int:
        return self.size

    def settings(self) -> Mapping[str, Any]:
        return {"kind": "scripted"}

    @contextlib.contextmanager
    def capture(self) -> Iterator[Capture]:
        self.log.append("freeze")
        taken = self.captures.pop(0) if len(self.captures) > 1 else self.captures[0]
        if isinstance(taken, Exception):
            raise taken
        taken.log = self.log
        try:
            yield taken
        finally:
            self.log.append("leave")

    def recover(self) -> tuple[str, ...]:
        return ()

    def existing(self) -> Existing:
        return Existing("nowhere", present=False, description="", consequence="")

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:
        for part in parts:
            assert isinstance(part, StreamPart)
            with part.content.open() as reader:
                while reader.read(1000):
                    pass
        return Placement("nowhere")

    def facts(self) -> Facts:
        return self.found

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        yield self


@dataclass
class ScriptedCapture:
    """What stands still, and what is wrong with it."""

    given: Callable[[], Iterator[Part]]
    shown: Facts = field(default_factory=Facts)
    noted: tuple[Finding, ...] = ()
    seen: tuple[Bracket, ...] = ()
    frozen: Frozen = field(default_factory=lambda: Frozen(NOW, NOW))
    method: str = "scripted"
    engine: str = ""
    log: list[str] = field(default_factory=list)

    def parts(self) -> Iterator[Part]:
        self.log.append("read")
        yield from self.given()

    def facts(self) -> Facts:
        return self.shown

    def findings(self) -> Iterable[Finding]:
        return self.noted

    def brackets(self) -> tuple[Bracket, ...]:
        return self.seen


def stream(data: bytes = b"data", name: str = "part") -> Callable[[], Iterator[Part]]:
    return lambda: iter([StreamPart(name, content(data))])


def good(data: bytes = b"data") -> ScriptedSource:
    return ScriptedSource([ScriptedCapture(stream(data))])


def tree(*members: Member) -> Callable[[], Iterator[Part]]:
    root = Member(".", "folder", Attributes(0o700, 0))
    return lambda: iter([TreePart(".", iter([root, *members]))])


def file(name: str, *readings: bytes | Callable[[], Reading]) -> Member:
    return Member(name, "file", Attributes(0o600, 0), 4, content=content(*readings))


def made_repository(root: Path) -> PlainRepository:
    repository = open_repository("local", LocalStorage(root), "tree", "none", None, SystemClock())
    repository.create()
    return repository


def a_run(emit: Callable[[Any], None] = lambda _: None) -> backup.Run:
    return backup.Run("stack", Host("host", "system"), "0", "0" * 32, "UTC", SystemClock(), emit, Masker())


def back_up(
    repository: PlainRepository, sources: dict[str, ScriptedSource], emit: Callable[[Any], None] = lambda _: None
) -> BackupReport:
    plan = backup.plan(sources, repository.free_bytes(), 1.1)
    return backup.run(plan, sources, repository, a_run(emit))
