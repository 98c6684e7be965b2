"""Models that seldom change: kept once, verified like everything else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode
from recoup.storage.local import LocalStorage

CONFIG = """
version: 1
stack: small
sources:
  models: {{kind: files, path: models, store_once: true}}
  notes: {{kind: files, path: notes}}
repositories:
  local: {{path: backups, keep: {{last: 5}}{style}}}
"""

WEIGHTS = os.urandom(3_000_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models/minilm").mkdir(parents=True)
    (tmp_path / "models/minilm/weights.bin").write_bytes(WEIGHTS)
    (tmp_path / "models/minilm/config.json").write_text('{"dimensions": 384}')
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/today").write_text("unchanged, too")
    return tmp_path


Opened = Callable[..., recoup.Stack]


@pytest.fixture
def opened(root: Path) -> Opened:
    def make(style: str = "", stack: str = "small") -> recoup.Stack:
        text = CONFIG.format(style=style).replace("stack: small", f"stack: {stack}")
        (root / "recoup.yaml").write_text(text)
        found = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
        found.create_repositories()
        return found

    return make


def back_up(stack: recoup.Stack) -> str:
    report = stack.backup()
    assert report.exit_code == ExitCode.OK, report
    assert report.manifest is not None
    return report.manifest.name


def stored(root: Path, name: str, path: str) -> Path:
    return root / "backups" / name / path


def inodes(root: Path, path: str) -> list[int]:
    return [found.stat().st_ino for found in sorted((root / "backups").glob(f"backup_*/{path}"))]


def damage(stack: recoup.Stack) -> dict[str, list[str]]:
    return {report.set: [d.item for d in report.damage] for report in stack.verify()}


@pytest.mark.requirement("SR-5")
def test_a_file_that_did_not_change_is_stored_once_and_verified_and_proven_in_each_set(
    opened: Opened, root: Path
) -> None:
    stack = opened()
    first, second = back_up(stack), back_up(stack)
    weights = inodes(root, "models/minilm/weights.bin")
    assert len(weights) == 2
    assert len(set(weights)) == 1
    assert len(set(inodes(root, "notes/today"))) == 2, "only what was asked for is shared"
    assert damage(stack) == {first: [], second: []}
    assert stack.drill(set=second).passed
    records = [info.manifest.sources["models"].parts[0] for info in stack.sets() if info.manifest]
    assert records[0].members == records[1].members


@pytest.mark.requirement("SR-5")
def test_deleting_a_set_does_not_touch_what_another_shares(opened: Opened, root: Path) -> None:
    stack = opened()
    first, second = back_up(stack), back_up(stack)
    stack.delete(stack.plan_delete([first]))
    assert damage(stack) == {second: []}
    assert stored(root, second, "models/minilm/weights.bin").read_bytes() == WEIGHTS
    assert stored(root, second, "models/minilm/weights.bin").stat().st_nlink == 1


@pytest.mark.requirement("SR-5")
def test_a_change_is_seen_by_content_even_where_time_and_size_are_the_same(opened: Opened, root: Path) -> None:
    stack = opened()
    first = back_up(stack)
    model = root / "models/minilm/weights.bin"
    before = model.stat()
    changed = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    with model.open("r+b") as file:
        file.write(changed)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = back_up(stack)
    assert stored(root, second, "models/minilm/weights.bin").read_bytes() == changed
    assert stored(root, first, "models/minilm/weights.bin").read_bytes() == WEIGHTS
    assert len(set(inodes(root, "models/minilm/config.json"))) == 1
    assert damage(stack) == {first: [], second: []}


@pytest.mark.requirement("SR-5")
@pytest.mark.parametrize("harm", ["a flipped bit", "a cut", "a loss"])
def test_a_damaged_copy_is_not_handed_on(opened: Opened, root: Path, harm: str) -> None:
    stack = opened()
    first = back_up(stack)
    copy = stored(root, first, "models/minilm/weights.bin")
    if harm == "a loss":
        copy.unlink()
    else:
        data = bytearray(WEIGHTS)
        data[1_500_000] ^= 4
        copy.write_bytes(bytes(data if harm == "a flipped bit" else data[:-1]))
    second = back_up(stack)
    assert stored(root, second, "models/minilm/weights.bin").read_bytes() == WEIGHTS
    found = damage(stack)
    assert found[first]
    assert found[second] == []


def test_damage_of_a_shared_copy_is_found_in_every_set_that_shares_it(opened: Opened, root: Path) -> None:
    stack = opened()
    first, second = back_up(stack), back_up(stack)
    copy = stored(root, first, "models/minilm/weights.bin")
    with copy.open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"\0\1\2\3")
    found = damage(stack)
    assert found[first]
    assert found[second]


def test_a_file_by_itself_is_shared_too_also_where_others_are_compressed(opened: Opened, root: Path) -> None:
    opened(", pack: tar.zst, compression: zstd")
    config = (root / "recoup.yaml").read_text().replace("path: models,", "path: models/minilm/weights.bin,")
    (root / "recoup.yaml").write_text(config)
    stack = recoup.open(root / "recoup.yaml", environ={}, cwd=root)
    first, second = back_up(stack), back_up(stack)
    assert len(set(inodes(root, "models/weights.bin"))) == 1
    assert damage(stack) == {first: [], second: []}
    assert stack.drill(set=second).passed


def test_a_folder_is_shared_also_where_others_are_archived(opened: Opened, root: Path) -> None:
    stack = opened(", pack: tar.zst")
    first, second = back_up(stack), back_up(stack)
    assert len(set(inodes(root, "models/minilm/weights.bin"))) == 1
    assert stored(root, first, "notes/tree.tar.zst").exists()
    assert damage(stack) == {first: [], second: []}


def test_stacks_that_share_a_repository_do_not_share_copies(opened: Opened, root: Path) -> None:
    back_up(opened())
    back_up(opened(stack="other"))
    back_up(opened())
    first, other, third = inodes(root, "models/minilm/weights.bin")
    assert first == third != other


def test_a_set_that_cannot_be_read_is_passed_over(opened: Opened, root: Path) -> None:
    stack = opened()
    first, second = back_up(stack), back_up(stack)
    stored(root, second, "manifest.json").write_text("{")
    third = back_up(opened())
    places = [stored(root, name, "models/minilm/weights.bin").stat().st_ino for name in (first, third)]
    assert len(set(places)) == 1


def test_where_nothing_can_be_shared_the_file_is_copied(
    opened: Opened, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file system without hard links (FAT), or with too many of them on a file (EMLINK), answers."""

    def refused(*_paths: object, **_options: object) -> None:
        raise OSError(31, "Too many links")

    stack = opened()
    first = back_up(stack)
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refused)
        assert not LocalStorage(root / "other").share("new", "missing")
        second = back_up(stack)
    assert len(set(inodes(root, "models/minilm/weights.bin"))) == 2
    assert damage(stack) == {first: [], second: []}


@pytest.mark.requirement("SR-13")
def test_an_encrypted_repository_refuses_to_store_once_and_says_what_to_do(opened: Opened, root: Path) -> None:
    from pyrage import x25519

    identity = x25519.Identity.generate()
    (root / "identity").write_text(str(identity))
    (root / "identity").chmod(0o600)
    where = f"encrypt: {{age: {{recipients: [{identity.to_public()}], identity_file: identity}}}}"
    report = opened(f", pack: tar.zst, {where}").backup()
    assert report.exit_code == ExitCode.INCOMPLETE
    assert "store_once" in report.errors["models"]
    assert report.manifest is not None
    assert report.manifest.sources["notes"].outcome == "complete"
    assert not list((root / "backups").glob("backup_*/models*"))


@pytest.fixture(autouse=True)
def _nothing_is_left_over(root: Path) -> Iterator[None]:
    yield
    assert not list((root / "backups").glob(".partial/*"))
