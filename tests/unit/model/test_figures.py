"""Sizes that people type, and lengths of time that they read."""

import pytest

from recoup.errors import UsageError
from recoup.model.figures import bytes_of, span


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20G", 20 * 1024**3),
        ("20GiB", 20 * 1024**3),
        ("20GB", 20 * 1000**3),
        ("1.5k", 1536),
        ("500 ", 500),
        ("2tb", 2 * 1000**4),
    ],
)
def test_a_size_is_read_as_gnus_tools_read_it(text: str, size: int) -> None:
    assert bytes_of(text, "--free") == size


@pytest.mark.parametrize("text", ["", "G", "0", "-1G", "20X", "1e9", "20 G B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--free"):
        bytes_of(text, "--free")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (250, "4 min 10 s"), (3599.9, "60 min 0 s"), (3600, "1 h 0 min"), (94_200, "26 h 10 min")],
)
def test_a_length_of_time_goes_up_to_hours(seconds: float, text: str) -> None:
    assert span(seconds) == text
