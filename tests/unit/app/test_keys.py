"""What a stack says and does about the keys of its dedup repositories."""

import shutil
import threading
from pathlib import Path

import pytest

import recoup
from recoup._keys import NewKey
from recoup.errors import LockedError, RecoupError, UsageError, WrongKeyError
from recoup.repository._base import Replica
from recoup.repository.locking import held
from recoup.storage.local import connect
from recoup.system.clock import SystemClock
from sealing_keys import age_key, private

CONFIG = """\
version: 1
stack: small
repositories:
  main: {{path: backups, layout: dedup, {opening}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    private(tmp_path / "key", bytes(range(32)))
    private(tmp_path / "other", bytes(range(1, 33)))
    return tmp_path


def opened(folder: Path, opening: str = "key_file: key") -> recoup.Stack:
    (folder / "recoup.yaml").write_text(CONFIG.format(opening=opening))
    return recoup.open(folder / "recoup.yaml", environ={}, cwd=folder)


def test_a_secret_that_everybody_can_read_is_told(folder: Path) -> None:
    assert not any("open to everyone" in text for text in opened(folder).warnings)
    (folder / "key").chmod(0o644)
    assert any(f"chmod 600 {folder / 'key'}" in text for text in opened(folder).warnings)


def test_what_opens_the_repository_is_to_be_kept_elsewhere(folder: Path) -> None:
    assert f"Keep a copy of {folder / 'key'} on another machine" in opened(folder).key_advice[0]
    public, _ = age_key(folder)
    advice = opened(folder, f"writer_key_file: writer, recipients: [{public}]").key_advice
    assert "Keep the secret keys of its recipients" in advice[0]


def test_while_others_change_keyslots_none_is_removed(folder: Path) -> None:
    """Two who each see one other slot could remove both."""
    stack = opened(folder)
    stack.create_repositories()
    second = stack.add_key(NewKey(key_file=Path("other")))
    with held(connect(folder / "backups"), SystemClock(), "claim", "key remove", "small", 0.0):
        with pytest.raises(LockedError, match="is locked by `key remove`"):
            stack.remove_key(second)
        with pytest.raises(LockedError):
            stack.rotate_key(second, NewKey(key_file=Path("key")))
    assert len(stack.key_rows()) == 2
    assert stack.remove_key(second) == second


def test_of_two_who_remove_each_others_slot_one_is_refused(folder: Path) -> None:
    stack = opened(folder)
    stack.create_repositories()
    ids = [stack.key_rows()[0].id, stack.add_key(NewKey(key_file=Path("other")))]
    told: list[Exception] = []

    def remove(other: recoup.Stack, name: str) -> None:
        try:
            other.remove_key(name, wait_lock=60)
        except RecoupError as error:
            told.append(error)

    threads = [threading.Thread(target=remove, args=(opened(folder), name)) for name in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stack.key_rows()) == 1
    assert len(told) == 1


def test_a_new_key_is_one_thing_and_shows_no_secret(folder: Path) -> None:
    stack = opened(folder)
    stack.create_repositories()
    assert "hunter2" not in repr(NewKey(typed="hunter2"))
    for new in (NewKey(), NewKey(typed="x", key_file=Path("other"))):
        with pytest.raises(UsageError, match="exactly one thing"):
            stack.add_key(new)
    assert len(stack.key_rows()) == 1


def test_a_writer_key_that_was_shut_out_opens_nothing(folder: Path) -> None:
    stack = opened(folder)
    stack.create_repositories()
    writer = stack.export_writer(Path("writer"), "web server")
    stack.remove_key(writer)
    with pytest.raises(WrongKeyError, match="was shut out"):
        opened(folder, "writer_key_file: writer").prove_keys()
    row = opened(folder).key_rows()[1]
    assert (row.method, row.label, row.removed is not None) == ("writer", "web server", True)
    with pytest.raises(UsageError, match="none begins with"):
        stack.remove_key(writer)


def test_a_repository_is_made_with_the_keys_of_another_one_and_told_when_it_was_not(folder: Path) -> None:
    text = (
        CONFIG.format(opening="key_file: key") + "  copy: {path: copy, layout: dedup, key_file: other, keys_of: main}\n"
    )
    (folder / "recoup.yaml").write_text(text)
    stack = recoup.open(folder / "recoup.yaml", environ={}, cwd=folder)
    assert list(stack.create_repositories()) == ["main", "copy"]
    assert stack.keys_apart == ()
    main, copy = stack.only("main").repository, stack.only("copy").repository
    assert isinstance(copy, Replica)
    assert copy.replication(main) is not None
    shutil.rmtree(folder / "copy")
    (folder / "recoup.yaml").write_text(text.replace(", keys_of: main", ""))
    recoup.open(folder / "recoup.yaml", environ={}, cwd=folder).create_repositories()
    (folder / "recoup.yaml").write_text(text)
    [told] = recoup.open(folder / "recoup.yaml", environ={}, cwd=folder).keys_apart
    assert "copy does not have the keys of main" in told


def test_doctor_and_the_check_of_keys_tell_of_a_keyslot_that_cannot_be_read(folder: Path) -> None:
    stack = opened(folder)
    stack.create_repositories()
    slot = stack.add_key(NewKey(key_file=Path("other")))
    assert stack.damaged_keyslots() == ()
    (folder / f"backups/keys/{slot}.json").write_text("{")
    [told] = stack.damaged_keyslots()
    assert f"keys/{slot}.json is damaged" in told
    found = [one for one in stack.doctor().findings if one.severity == "warning" and slot in one.message]
    assert ["recoup key remove" in one.hint for one in found] == [True]
