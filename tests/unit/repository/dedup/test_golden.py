"""Repositories that an earlier Recoup wrote open for ever, and whoever has docs/format.md can write a reader."""

import ast
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.repository._base import Subset
from recoup.repository.dedup.reading import Stream
from unit.repository.dedup import golden, independent_reader
from unit.repository.dedup.golden import (
    FOLDER,
    KEY_FILE,
    LIGHT,
    MAKERS,
    PASSPHRASE,
    kept,
    opened,
    plain,
    restored,
    streams,
)
from unit.repository.dedup.independent_reader import Reader

GOLDEN = sorted(path.name for path in FOLDER.iterdir())


def content_of(root: Path, name: str) -> dict[str, object]:
    """What a set of the golden repository in a folder holds."""
    return kept(int(name[13:15]) - 21, () if root.name.startswith("days") else LIGHT)


def sets_in(root: Path) -> list[str]:
    """The sets of a repository in a folder, by what lies there."""
    names = sorted(path.name for path in root.glob("backup_*"))
    assert len(names) == 2
    return names


@pytest.mark.parametrize("name", GOLDEN)
def test_what_an_earlier_version_wrote_is_verified_and_restored_to_the_last_byte(name: str, tmp_path: Path) -> None:
    repository = opened(FOLDER / name, tmp_path)
    assert [str(found) for found in repository.names()] == sets_in(FOLDER / name)
    for found in repository.names():
        assert list(repository.verify(found, Subset())) == []
        assert restored(repository, found) == content_of(FOLDER / name, str(found))
    assert repository.index().problems == ()


def test_the_golden_repositories_hold_every_encoding_and_a_chunk_of_each_kind() -> None:
    reader = Reader(FOLDER / "days-1", KEY_FILE)
    assert {chunk[6] for chunks in reader.chunks.values() for chunk in chunks} == {0, 1, 2, 4, 17}
    _, streams = reader.open_set("backup_20261122_020000")
    assert any(run is None for _, _, spans in streams.values() for run, _, _ in spans), "a gap"
    assert len({run for _, _, spans in streams.values() for run, _, _ in spans if run}) == 2


@pytest.mark.parametrize("secret", [KEY_FILE, PASSPHRASE])
@pytest.mark.parametrize("name", ["days-1", "hosts-1", "pruned-1"])
def test_a_reader_that_was_written_from_the_page_alone_extracts_every_set(
    name: str, secret: bytes, tmp_path: Path
) -> None:
    reader = Reader(FOLDER / name, secret)
    for found in sets_in(FOLDER / name):
        reader.extract(found, tmp_path / found)
        require_extracted(tmp_path / found, content_of(FOLDER / name, found))


@settings(max_examples=50)
@given(st.data())
def test_any_range_of_a_stream_is_read_without_the_rest(
    ranges: dict[str, tuple[Stream, bytes]], data: st.DataObject
) -> None:
    stream, whole = ranges[data.draw(st.sampled_from(sorted(ranges)))]
    begin = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.none() | st.integers(0, len(whole) + 10))
    size = data.draw(st.sampled_from((70, 4_096, 100_000, 2_000_000)))
    with stream.open_at(begin, length) as reader:
        found = b"".join(iter(lambda: reader.read(size), b""))
    assert found == whole[begin : None if length is None else begin + length]


@pytest.fixture(scope="module")
def ranges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Stream, bytes]]:
    """The streams of the second day, gaps and differences in them, each with its content."""
    repository = opened(FOLDER / "days-1", tmp_path_factory.mktemp("keys"))
    name = repository.names()[1]
    place = repository.place(name)
    parts = repository.manifest(name).sources["db"].parts
    return {
        part.name: (place.stream(part.path, part.sha256), plain(streams(1)[part.name])) for part in parts if part.bytes
    }


def require_extracted(root: Path, content: dict[str, object]) -> None:
    """Compares files with what a set holds."""
    for path, wanted in content.items():
        if isinstance(wanted, bytes):
            assert (root / path).read_bytes() == wanted, path
            continue
        assert isinstance(wanted, list)
        for name, kind, _, link, data in wanted:
            found = root / path / name
            assert found.is_symlink() == (kind == "symlink"), name
            assert found.is_dir() == (kind == "folder" or name == "link"), name
            if kind == "symlink":
                assert os.readlink(found) == link
            elif kind == "hardlink":
                assert found.samefile(root / path / link)
            elif kind == "file":
                assert found.read_bytes() == data, name


@pytest.mark.parametrize("name", ["days-1", "pruned-1"])
def test_what_is_written_today_is_read_by_the_independent_reader_too(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    MAKERS[name](root, tmp_path)
    reader = Reader(root, KEY_FILE)
    for found in sets_in(root):
        reader.extract(found, tmp_path / found)
        require_extracted(tmp_path / found, content_of(root, found))


def test_the_independent_reader_is_short_and_imports_nothing_of_recoup() -> None:
    source = Path(independent_reader.__file__).read_text()
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names} | {
        node.module or "" for node in imports if isinstance(node, ast.ImportFrom)
    }
    assert not [name for name in names if name.startswith(("recoup", "unit"))]
    assert len([line for line in source.splitlines() if line]) - len(imports) <= 150


def test_the_golden_repositories_are_small() -> None:
    assert sum(path.stat().st_size for path in golden.FOLDER.rglob("*") if path.is_file()) < 400_000
