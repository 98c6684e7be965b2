"""Five hundred random edit scripts on random trees, day after day into one repository: every set restores byte for byte."""

import io
import random
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, TreePart
from recoup.repository._base import Subset
from recoup.repository.dedup import storing
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, manifest_of, record_of
from unit.repository.dedup.golden import KEY_FILE, store_tree

DAYS, TREES = 50, 10
SAMPLES = 40  # trees of some day that are restored and compared
LARGEST = 600_000  # bytes of a file
Files = dict[str, bytearray]
Edit = Callable[[random.Random, Files], None]


def fresh(chance: random.Random) -> bytearray:
    """Content of a new file: noise, rows of numbers, or text."""
    size = chance.choice((0, 100, 5_000, 90_000, 250_000))
    kind = chance.randrange(3)
    if kind == 0:
        return bytearray(chance.randbytes(size))
    if kind == 1:
        return bytearray(np.frombuffer(chance.randbytes(size // 4 * 2), np.uint16).astype(np.float32).tobytes())
    return bytearray(b"".join(b"line %d\n" % chance.randrange(99) for _ in range(size // 8)))


def chosen(chance: random.Random, files: Files) -> str:
    return chance.choice(sorted(files))


def place(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


def insert(chance: random.Random, files: Files) -> None:
    data = files[chosen(chance, files)]
    at = place(chance, data)
    data[at:at] = chance.randbytes(chance.choice((1, 20, 5_000)))


def remove(chance: random.Random, files: Files) -> None:
    data = files[chosen(chance, files)]
    at = place(chance, data)
    del data[at : at + chance.choice((1, 100, 20_000))]


def overwrite(chance: random.Random, files: Files) -> None:
    data = files[chosen(chance, files)]
    for _ in range(chance.choice((1, 30))):
        at = place(chance, data)
        data[at : at + 8] = chance.randbytes(len(data[at : at + 8]))


def truncate(chance: random.Random, files: Files) -> None:
    data = files[chosen(chance, files)]
    del data[place(chance, data) :]


def append(chance: random.Random, files: Files) -> None:
    files[chosen(chance, files)] += chance.randbytes(3_000)


def rename(chance: random.Random, files: Files) -> None:
    data = files.pop(chosen(chance, files))
    files[f"f{chance.randrange(10**9)}"] = data


def add(chance: random.Random, files: Files) -> None:
    files[f"f{chance.randrange(10**9)}"] = fresh(chance)


def delete(chance: random.Random, files: Files) -> None:
    if len(files) > 1:
        del files[chosen(chance, files)]


def punch(chance: random.Random, files: Files) -> None:
    """Zero bytes, which are stored as a hole where they are many."""
    data = files[chosen(chance, files)]
    at = place(chance, data)
    length = len(data[at : at + chance.choice((10, 4_096, 200_000))])
    data[at : at + length] = bytes(length)


def pack(chance: random.Random, files: Files) -> None:
    """Some files become one archive, beside them; archives too, so that they nest."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=chance.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))) as tar:
        for name in chance.sample(sorted(files), min(len(files), 3)):
            entry = tarfile.TarInfo(name * chance.choice((1, 30)))
            entry.size = len(files[name])
            tar.addfile(entry, io.BytesIO(files[name]))
    files[f"t{chance.randrange(10**9)}"] = bytearray(out.getvalue())


EDITS: tuple[Edit, ...] = (insert, remove, overwrite, truncate, append, rename, add, delete, punch, pack)


def edited(chance: random.Random, files: Files) -> None:
    """One script: a few edits; what grew beyond bounds is cut."""
    for edit in chance.choices(EDITS, k=chance.randint(1, 4)):
        edit(chance, files)
    for name in sorted(files)[6:]:
        del files[name]
    for data in files.values():
        del data[LARGEST:]


def back_up(repository: DedupRepository, day: int, trees: list[Files]) -> SetName:
    """All trees as the sources of one set."""
    attributes, moment = Attributes(0o600, day), NOW + timedelta(hours=day)
    with repository.begin(moment) as writer:
        records = {}
        for number, files in enumerate(trees):
            members = [
                (Member(name, "file", attributes, len(files[name])), bytes(files[name])) for name in sorted(files)
            ]
            stored = store_tree(writer, f"tree{number}", (Member(".", "folder", attributes), *members))
            records[f"tree{number}"] = record_of(stored)
        writer.commit(manifest_of(writer.name, records, moment))
        return SetName.parse(str(writer.name)) or pytest.fail("that is no name")


def restored(repository: DedupRepository, name: SetName, tree: int) -> dict[str, bytes]:
    """The files of a tree."""
    source = f"tree{tree}"
    part = repository.fetch(name, source, repository.manifest(name).sources[source].parts[0])
    assert isinstance(part, TreePart)
    found = {}
    for member in part.members:
        if member.content is not None:
            with member.content.open() as reader:
                found[member.name] = b"".join(iter(lambda: reader.read(100_000), b""))
    return found


def test_sets_of_five_hundred_edit_scripts_restore_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_PACK", 1_000_000)  # many packs of a little data
    (tmp_path / "key").write_bytes(KEY_FILE)
    options = DedupOptions(key_file=tmp_path / "key", delta="on")
    repository = DedupRepository("r", MemoryStorage(), options, SystemClock(), tmp_path / "cache")
    repository.create()
    chance = random.Random(20261121)
    trees: list[Files] = [{f"f{i}": fresh(chance) for i in range(4)} for _ in range(TREES)]
    wanted = {divmod(pair, TREES) for pair in chance.sample(range(DAYS * TREES), SAMPLES)} | {(DAYS - 1, 0)}
    kept: dict[tuple[int, int], dict[str, bytes]] = {}
    names = []
    for day in range(DAYS):
        for files in trees:
            edited(chance, files)
        names.append(back_up(repository, day, trees))
        kept |= {(day, tree): {n: bytes(d) for n, d in trees[tree].items()} for at, tree in wanted if at == day}
    assert len(kept) >= SAMPLES
    for (day, tree), content in kept.items():
        assert restored(repository, names[day], tree) == content, f"tree {tree} of day {day}"
    for name in (names[0], names[DAYS // 2], names[-1]):
        assert list(repository.verify(name, Subset())) == []
    index = repository.index()
    encodings = {place.row.encoding for pack in index.packs for place in index.of_pack(pack)}
    assert encodings >= {0, 1, 17}
    logical = sum(repository.manifest(name).bytes for name in names)
    assert logical > 5 * sum(facts.size for facts in index.packs.values()), "nothing was shared"
