import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, UnsafePathError
from recoup.repository.plain import sums

DIGEST = hashlib.sha256(b"").hexdigest()
names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(names))
def test_lines_are_read_as_they_were_written(paths: list[str]) -> None:
    data = b"".join(sums.line(DIGEST, path) for path in paths)
    assert list(sums.read(data)) == [(DIGEST, path) for path in paths]


@pytest.mark.parametrize("text", [b"short  name\n", DIGEST.encode() + b" name\n", DIGEST.encode() + b"  name", b"\n"])
def test_what_is_no_line_is_damage(text: bytes) -> None:
    with pytest.raises(DamagedError):
        list(sums.read(text))


def test_a_path_that_leads_out_is_refused() -> None:
    with pytest.raises(UnsafePathError):
        list(sums.read(sums.line(DIGEST, "../secret")))
