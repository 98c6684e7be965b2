"""Files and folders keep the promise of a source."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from recoup.sources._base import Site, Source
from recoup.sources.files import Options, RestoreOptions, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import SourceContract, take


class FilesContract(SourceContract):
    """What folders and single files have in common."""

    @pytest.fixture
    def lenient(self, site_folder: Path, staging: Path) -> Source:
        return connect(
            Options(kind="files", path=Path("data"), allow_empty=True),
            Site("data", site_folder, staging, SystemClock()),
        )

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        return RestoreOptions()


class TestFolder(FilesContract):
    """A folder."""

    @pytest.fixture
    def source(self, site_folder: Path, staging: Path) -> Source:
        options = Options(kind="files", path=Path("data"), pointers=("CURRENT",))
        return connect(options, Site("data", site_folder, staging, SystemClock()))

    @pytest.fixture
    def fill(self, site_folder: Path) -> Callable[[], None]:
        def make() -> None:
            root = site_folder / "data"
            (root / "snapshots" / "one").mkdir(parents=True)
            (root / "nothing here").mkdir(mode=0o500)
            (root / "CURRENT").write_text("snapshots/one\n")
            (root / "snapshots" / "one" / "large").write_bytes(os.urandom(3_000_000))
            (root / "snapshots" / "one" / "sparse").write_bytes(b"")
            os.truncate(root / "snapshots" / "one" / "sparse", 5_000_000)
            (root / "same").hardlink_to(root / "CURRENT")
            (root / "link").symlink_to("snapshots/one")
            (root / "away").symlink_to("/etc/passwd")
            (root / os.fsdecode(b"caf\xe9")).write_text("not UTF-8")
            (root / "empty").touch(mode=0o444)

        return make

    @pytest.fixture
    def empty(self, site_folder: Path) -> Callable[[], None]:
        return (site_folder / "data").mkdir

    @pytest.fixture
    def damage(self) -> Callable[[Source], None]:
        def remove(source: Source) -> None:
            (Path(source.existing().target) / "snapshots" / "one" / "large").unlink()

        return remove


class TestFile(FilesContract):
    """A single file."""

    @pytest.fixture
    def source(self, site_folder: Path, staging: Path) -> Source:
        return connect(Options(kind="files", path=Path(".env")), Site("env", site_folder, staging, SystemClock()))

    @pytest.fixture
    def fill(self, site_folder: Path) -> Callable[[], None]:
        def make() -> None:
            (site_folder / ".env").write_text("A=1\nB=2\n")
            (site_folder / ".env").chmod(0o640)

        return make

    @pytest.fixture
    def damage(self) -> Callable[[Source], None]:
        return lambda source: os.truncate(source.existing().target, 3)

    @pytest.fixture
    def empty(self, site_folder: Path) -> Callable[[], None]:
        return (site_folder / ".env").touch

    def test_an_empty_store_is_a_failure_unless_that_is_allowed(
        self, source: Source, lenient: Source, empty: Callable[[], None], tmp_path: Path
    ) -> None:
        """A file without bytes is a file like others: it was named, and it is there."""
        empty()
        assert take(source, tmp_path / "taken").facts.values == {"file": {"bytes": 0}}
