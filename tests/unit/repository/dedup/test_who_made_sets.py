"""Whose sets a repository has: the owner's, those of hosts that were let in, and nobody else's."""

import json
from pathlib import Path

import pytest

import recoup
from recoup.errors import RefusedError, WrongKeyError
from recoup.model.names import SetName
from recoup.repository.dedup.keys import Keys, new_keys
from recoup.repository.dedup.keyslots import open_keys
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.record import read_record
from recoup.storage.local import connect
from sealing_keys import private

CONFIG = """\
version: 1
stack: small
sources:
  papers: {{kind: files, path: papers}}
repositories:
  main: {{path: backups, layout: dedup, {opening}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "letter").write_text("Dear reader")
    private(tmp_path / "key", bytes(range(32)))
    opened(tmp_path).create_repositories()
    return tmp_path


def opened(folder: Path, opening: str = "key_file: key") -> recoup.Stack:
    (folder / "recoup.yaml").write_text(CONFIG.format(opening=opening))
    return recoup.open(folder / "recoup.yaml", environ={}, cwd=folder)


def backed_up(folder: Path, opening: str = "key_file: key") -> SetName:
    stack = opened(folder, opening)
    stack.backup()
    return stack.repository.names()[-1]


def held(folder: Path, name: SetName, opening: str = "key_file: key") -> list[str]:
    return list(opened(folder, opening).repository.manifest(name).sources)


def signed_anew(folder: Path, name: SetName, keys: Keys) -> None:
    file = folder / "backups" / str(name) / "manifest.json"
    file.write_text(json.dumps(keys.signed({**json.loads(file.read_text()), "made_by": keys.maker.hex()})))


def test_a_writers_set_is_read_by_the_owner_also_after_it_was_shut_out(folder: Path) -> None:
    writer = opened(folder).export_writer(Path("writer"))
    name = backed_up(folder, "writer_key_file: writer")
    with pytest.raises(WrongKeyError, match="cannot be read on this host"):
        held(folder, name, "writer_key_file: writer")
    assert held(folder, name) == ["papers"]
    opened(folder).remove_key(writer)
    assert held(folder, name) == ["papers"]
    with pytest.raises(WrongKeyError, match="was shut out on"):
        opened(folder, "writer_key_file: writer").backup()
    stack = opened(folder)
    stack.restore(stack.plan_restore(str(name), target=str(folder / "restored")))
    assert (folder / "restored" / "papers" / "letter").read_text() == "Dear reader"


def test_a_set_that_a_stranger_signed_is_refused(folder: Path) -> None:
    name = backed_up(folder)
    signed_anew(folder, name, new_keys("0" * 32))
    with pytest.raises(RefusedError, match="was made by a host that was never let in"):
        held(folder, name)


def test_a_set_that_another_host_signed_again_is_that_hosts(folder: Path) -> None:
    """It may: it could have made it. What it cannot do is sign as somebody else."""
    name = backed_up(folder)
    opened(folder).export_writer(Path("writer"))
    storage = connect(folder / "backups")
    keys = open_keys(storage, read_record(storage), DedupOptions(writer_key_file=folder / "writer"))
    signed_anew(folder, name, keys)
    assert held(folder, name) == ["papers"]
    file = folder / "backups" / str(name) / "manifest.json"
    stolen = {**json.loads(file.read_text()), "made_by": read_record(storage).owner.hex()}
    file.write_text(json.dumps(stolen))
    with pytest.raises(RefusedError, match="not what its maker signed"):
        held(folder, name)
