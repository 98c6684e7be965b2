"""A staged file becomes a stored one by a rename: hashed by its writer, or where it then lies."""

import hashlib
from pathlib import Path

import pytest

from recoup.repository.hashing import Known
from recoup.repository.plain.folder import HashedFile
from recoup.sources._staged import StagedFile
from recoup.storage.local import LocalStorage

DATA = b"forty-two bytes that somebody wrote before"


@pytest.mark.parametrize("known", ["", hashlib.sha256(DATA).hexdigest()])
def test_what_is_taken_over_has_its_length_and_digest_whoever_hashed_it(tmp_path: Path, known: str) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(DATA)
    file = HashedFile(LocalStorage(tmp_path / "repository"), "set/part", None)
    assert file.adopt(StagedFile(staged, sha256=known))
    assert (file.finish(), file.hasher.bytes) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert (tmp_path / "repository/set/part").read_bytes() == DATA
    assert not staged.exists()


def test_the_writers_digest_is_recorded_so_that_a_file_that_is_another_is_found(tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(DATA)
    file = HashedFile(LocalStorage(tmp_path / "repository"), "set/part", None)
    assert file.adopt(StagedFile(staged, sha256="0" * 64))
    assert file.finish() != hashlib.sha256((tmp_path / "repository/set/part").read_bytes()).hexdigest()


def test_a_final_digest_takes_nothing_more() -> None:
    with pytest.raises(ValueError, match="1 more bytes"):
        Known("0" * 64, 5).update(b"x")
