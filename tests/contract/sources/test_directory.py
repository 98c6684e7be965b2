"""Directories of services keep the promise of a source."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from recoup.sources._base import Site, Source
from recoup.sources.directory import Options, RestoreOptions, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import SourceContract
from services.standing import ToyService


class TestDirectory(SourceContract):
    """The directory of a service that runs."""

    @pytest.fixture
    def toy(self, tmp_path: Path, site_folder: Path, state: Path) -> Iterator[ToyService]:
        toy = ToyService(tmp_path / "service", site_folder / "data")
        yield toy
        toy.close()
        assert not list(state.glob("service-*")), "a journal was left"

    @pytest.fixture
    def source(self, toy: ToyService, site_folder: Path, staging: Path) -> Source:
        return connect(Options.model_validate(toy.settings()), Site("qdrant", site_folder, staging, SystemClock()))

    @pytest.fixture
    def lenient(self, toy: ToyService, site_folder: Path, staging: Path) -> Source:
        options = Options.model_validate({**toy.settings(), "allow_empty": True})
        return connect(options, Site("qdrant", site_folder, staging, SystemClock()))

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        return RestoreOptions()

    @pytest.fixture
    def fill(self, toy: ToyService) -> Callable[[], None]:
        def make() -> None:
            (toy.data / "collections" / "one").mkdir(parents=True)
            (toy.data / "collections" / "one" / "points").write_bytes(os.urandom(300_000))
            (toy.data / "same").hardlink_to(toy.data / "collections" / "one" / "points")
            (toy.data / "link").symlink_to("collections/one")
            (toy.data / "empty").touch(mode=0o444)
            toy.start()

        return make

    @pytest.fixture
    def empty(self, toy: ToyService) -> Callable[[], None]:
        return toy.data.mkdir

    @pytest.fixture
    def damage(self) -> Callable[[Source], None]:
        return lambda source: (Path(source.existing().target) / "collections" / "one" / "points").unlink()
