"""Real snapshots of a server of version 1.18.3, with their truth."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard

FOLDER = Path(__file__).parents[4] / "data" / "qdrant" / "snapshots"


@cache
def _plain(name: str) -> bytes:
    with (FOLDER / f"{name}.snapshot.zst").open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


@pytest.fixture(scope="session")
def folder() -> Path:
    """Where the compressed snapshots are."""
    return FOLDER


@pytest.fixture(scope="session")
def plain() -> Callable[[str], bytes]:
    """A snapshot's bytes, by its name."""
    return _plain


@pytest.fixture(scope="session")
def truth() -> Mapping[str, Any]:
    """What the server itself said of them."""
    found: Mapping[str, Any] = json.loads((FOLDER / "truth.json").read_text())
    return found
