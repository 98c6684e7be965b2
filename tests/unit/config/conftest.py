"""A folder with a configuration, and ways to load it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from recoup.config.loading import Loaded, load

Load = Callable[..., Loaded]

HEAD = "version: 1\nstack: docmind\n"


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Writes a text to `recoup.yaml` in `tmp_path` and loads it; the two first lines are put before it."""

    def load_it(
        text: str, environ: Mapping[str, str] | None = None, overrides: Sequence[str] = (), head: str = HEAD
    ) -> Loaded:
        (tmp_path / "recoup.yaml").write_text(head + text)
        return load([], overrides, environ or {}, tmp_path)

    return load_it
