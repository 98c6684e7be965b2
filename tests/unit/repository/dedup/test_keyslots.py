"""Keyslots: who can open a repository. What is stored is opened here by the page, too, not by our code alone."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import NoRepositoryError, RecoupError, RefusedError, UsageError, WrongKeyError
from recoup.repository.dedup import openers
from recoup.repository.dedup.keys import Keys, new_keys
from recoup.repository.dedup.keyslots import (
    add,
    create,
    make_key_file,
    open_keys,
    opened,
    remove,
    rotate,
    shelf,
)
from recoup.repository.dedup.openers import AgeKeys, KeyFile, Passphrase
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.record import Record, decode_record, read_record
from recoup.repository.dedup.slots import decode_slot, encode_slot
from recoup.storage.local import connect
from recoup.storage.memory import MemoryStorage
from sealing_keys import age_key, private

REPOSITORY = "00112233445566778899aabbccddeeff"
MOMENT = datetime(2026, 11, 21, 2, tzinfo=UTC)
SECRET = "correct horse battery staple"
USUAL = dict(openers.SCRYPT)


@pytest.fixture(autouse=True)
def _quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters are stored in each slot, so small ones open as well."""
    monkeypatch.setattr(openers, "SCRYPT", {"n": 16, "r": 8, "p": 1})


@pytest.fixture
def password(tmp_path: Path) -> Path:
    return private(tmp_path / "password", f"{SECRET}\n")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return private(tmp_path / "key", bytes(range(40)))


def stored(storage: MemoryStorage, slot: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(storage.get(f"keys/{slot}.json"))
    return found


def changed(storage: MemoryStorage, slot: str, **fields: Any) -> None:
    storage.put(f"keys/{slot}.json", json.dumps({**stored(storage, slot), **fields}).encode())


def seals_by_the_page(key: bytes, slot: dict[str, Any]) -> dict[str, str]:
    sealed = base64.b64decode(slot["sealed"])
    bound = f"recoup-key{slot['repository']}{slot['id']}".encode("ascii")
    found: dict[str, str] = json.loads(AESGCM(key).decrypt(sealed[:12], sealed[12:], bound))
    return found


def test_a_passphrase_slot_opens_as_the_page_says(storage: MemoryStorage, keys: Keys, password: Path) -> None:
    slot = stored(storage, add(storage, keys, Passphrase(password), "laptop", MOMENT).id)
    salt = base64.b64decode(slot["salt"])
    key = hashlib.scrypt(SECRET.encode(), salt=salt, n=slot["n"], r=slot["r"], p=slot["p"], dklen=32)
    assert keys.private is not None
    assert seals_by_the_page(key, slot) == {"private": keys.private.hex(), "dedup": keys.dedup.hex()}
    assert (slot["format"], slot["version"], slot["repository"]) == ("recoup-key", 1, REPOSITORY)
    assert (slot["method"], slot["label"], slot["created"]) == ("passphrase", "laptop", "2026-11-21T02:00:00+00:00")
    assert len(salt) == 32


def test_new_slots_cost_64_mib() -> None:
    assert USUAL == {"n": 65536, "r": 8, "p": 1}


def test_a_key_file_slot_opens_as_the_page_says(storage: MemoryStorage, keys: Keys, key_file: Path) -> None:
    slot = stored(storage, add(storage, keys, KeyFile(key_file), "", MOMENT).id)
    key = blake3(key_file.read_bytes(), derive_key_context="recoup dedup v1 key file").digest()
    assert seals_by_the_page(key, slot)["dedup"] == keys.dedup.hex()


def test_an_age_slot_opens_with_age_for_each_recipient(storage: MemoryStorage, keys: Keys, tmp_path: Path) -> None:
    (mine, identity), (other, second) = age_key(tmp_path, "mine"), age_key(tmp_path, "other")
    slot = stored(storage, add(storage, keys, AgeKeys((mine, other), identity), "", MOMENT).id)
    assert slot["recipients"] == [mine, other]
    for file in (identity, second):
        key = pyrage.x25519.Identity.from_str(file.read_text().splitlines()[-1])
        body = json.loads(pyrage.decrypt(base64.b64decode(slot["sealed"]), [key]))
        assert body["dedup"] == keys.dedup.hex()


def ways(folder: Path) -> dict[str, DedupOptions]:
    public, identity = age_key(folder)
    return {
        "passphrase": DedupOptions(password_file=private(folder / "a", SECRET)),
        "key file": DedupOptions(key_file=private(folder / "b", bytes(32))),
        "identity": DedupOptions(identity_file=identity),
        "identity and recipients": DedupOptions(identity_file=identity, recipients=(public, age_key(folder, "x")[0])),
        "passphrase and recipients": DedupOptions(password_file=folder / "a", recipients=(public,)),
    }


@pytest.mark.parametrize(
    "way", ["passphrase", "key file", "identity", "identity and recipients", "passphrase and recipients"]
)
def test_what_creates_a_repository_opens_it(storage: MemoryStorage, keys: Keys, tmp_path: Path, way: str) -> None:
    options = ways(tmp_path)[way]
    made = create(storage, keys, options, "first", MOMENT)
    assert len(made) == (2 if way == "passphrase and recipients" else 1)
    found = open_keys(storage, Record.of(keys), options)
    assert found == keys
    assert found.can_read


def test_without_a_secret_no_repository_is_made(storage: MemoryStorage, keys: Keys) -> None:
    with pytest.raises(WrongKeyError, match="nothing could open a new repository at memory:"):
        create(storage, keys, DedupOptions(), "", MOMENT)
    assert list(storage.list()) == []


def test_an_identity_that_is_none_of_the_recipients_makes_nothing(
    storage: MemoryStorage, keys: Keys, tmp_path: Path
) -> None:
    options = DedupOptions(identity_file=age_key(tmp_path)[1], recipients=(age_key(tmp_path, "other")[0],))
    with pytest.raises(WrongKeyError, match="does not open the keyslot that was made for it"):
        create(storage, keys, options, "", MOMENT)
    assert list(storage.list()) == []


def test_a_slot_that_cannot_be_made_takes_those_before_it_along(
    storage: MemoryStorage, keys: Keys, password: Path
) -> None:
    with pytest.raises(WrongKeyError, match="not a public key of age"):
        create(storage, keys, DedupOptions(password_file=password, recipients=("age1nonsense",)), "", MOMENT)
    assert list(storage.list()) == []


def test_line_ends_behind_a_passphrase_do_not_count(storage: MemoryStorage, keys: Keys, tmp_path: Path) -> None:
    add(storage, keys, Passphrase(private(tmp_path / "a", f"{SECRET}\r\n")), "", MOMENT)
    assert opened(storage, Record.of(keys), [Passphrase(typed=SECRET)]).keys == keys


def test_a_wrong_passphrase_names_the_slots_there_are(
    storage: MemoryStorage, keys: Keys, password: Path, key_file: Path, tmp_path: Path
) -> None:
    first = add(storage, keys, Passphrase(password), "laptop", MOMENT)
    second = add(storage, keys, KeyFile(key_file), "safe", MOMENT + timedelta(days=1))
    wrong = DedupOptions(password_file=private(tmp_path / "wrong", "hunter2"))
    with pytest.raises(WrongKeyError, match=r"the passphrase in .*wrong opens no keyslot of memory:") as caught:
        open_keys(storage, Record.of(keys), wrong)
    assert (
        f'{first.id} "laptop" (passphrase, 2026-11-21), {second.id} "safe" (key-file, 2026-11-22)' in caught.value.hint
    )
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_without_any_secret_the_slots_are_named(storage: MemoryStorage, keys: Keys, password: Path) -> None:
    slot = add(storage, keys, Passphrase(password), "laptop", MOMENT)
    with pytest.raises(WrongKeyError, match="nothing is configured to open memory: with") as caught:
        open_keys(storage, Record.of(keys), DedupOptions())
    assert slot.id in caught.value.hint


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "is not UTF-8 text")],
)
def test_a_passphrase_file_that_holds_none_is_told(
    storage: MemoryStorage, keys: Keys, password: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    add(storage, keys, Passphrase(password), "", MOMENT)
    file = tmp_path / "other" if content is None else private(tmp_path / "other", content)
    with pytest.raises(WrongKeyError, match=says):
        open_keys(storage, Record.of(keys), DedupOptions(password_file=file))


def test_a_key_file_that_is_too_short_is_told(storage: MemoryStorage, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(WrongKeyError, match="has 31 bytes, and a key file has at least 32"):
        add(storage, keys, KeyFile(private(tmp_path / "short", bytes(31))), "", MOMENT)


def test_a_damaged_slot_is_skipped_when_another_one_opens_and_told_when_none_does(
    storage: MemoryStorage, keys: Keys, password: Path, key_file: Path
) -> None:
    broken = add(storage, keys, Passphrase(password), "", MOMENT)
    add(storage, keys, KeyFile(key_file), "", MOMENT)
    storage.put(broken.key, storage.get(broken.key)[:50])
    assert open_keys(storage, Record.of(keys), DedupOptions(key_file=key_file)) == keys
    with pytest.raises(WrongKeyError) as caught:
        open_keys(storage, Record.of(keys), DedupOptions(password_file=password))
    assert f"Slot {broken.id} cannot be used" in caught.value.hint


@pytest.mark.parametrize(
    "asked", [{"n": 2_097_152}, {"r": 33}, {"p": 17}, {"n": 1_048_576, "r": 16}, {"n": 10**30}, {"n": 1000}, {"n": 0}]
)
def test_a_slot_that_asks_for_too_much_is_refused_before_anything_is_computed(
    storage: MemoryStorage, keys: Keys, password: Path, asked: dict[str, int]
) -> None:
    slot = add(storage, keys, Passphrase(password), "", MOMENT)
    changed(storage, slot.id, **asked)
    [(_, error)] = shelf(storage, Record.of(keys)).damaged
    assert isinstance(error, RefusedError)
    with pytest.raises(WrongKeyError):
        open_keys(storage, Record.of(keys), DedupOptions(password_file=password))


def test_the_largest_allowed_parameters_are_read(storage: MemoryStorage, keys: Keys, password: Path) -> None:
    slot = add(storage, keys, Passphrase(password), "", MOMENT)
    changed(storage, slot.id, n=1_048_576, r=8, p=16)
    assert shelf(storage, Record.of(keys)).slots[0].details["p"] == 16


@pytest.mark.parametrize("field", ["repository", "id", "sealed", "salt"])
def test_a_slot_is_bound_to_its_repository_and_its_name(
    storage: MemoryStorage, keys: Keys, password: Path, field: str
) -> None:
    slot = add(storage, keys, Passphrase(password), "", MOMENT)
    other = {
        "repository": "ff" * 16,
        "id": "0" * 16,
        "sealed": base64.b64encode(bytes(100)).decode(),
        "salt": base64.b64encode(bytes(32)).decode(),
    }
    changed(storage, slot.id, **{field: other[field]})
    with pytest.raises(WrongKeyError):
        open_keys(storage, Record.of(keys), DedupOptions(password_file=password))


def test_a_slot_under_another_name_is_no_slot(storage: MemoryStorage, keys: Keys, password: Path) -> None:
    slot = add(storage, keys, Passphrase(password), "", MOMENT)
    storage.put(f"keys/{'0' * 16}.json", storage.get(slot.key))
    there = shelf(storage, Record.of(keys))
    assert [found.id for found in there.slots] == [slot.id]
    assert [name for name, _ in there.damaged] == ["0" * 16]


def test_keys_of_another_repository_are_refused(storage: MemoryStorage, keys: Keys, tmp_path: Path) -> None:
    """Whoever can write to the storage can seal keys of their own to a public key of age."""
    public, identity = age_key(tmp_path)
    foreign = new_keys(REPOSITORY)
    add(storage, foreign, AgeKeys((public,)), "", MOMENT)
    with pytest.raises(RefusedError, match="holds the keys of another repository"):
        open_keys(storage, Record.of(keys), DedupOptions(identity_file=identity))


def test_a_slot_of_a_newer_method_is_left_alone(storage: MemoryStorage, keys: Keys, key_file: Path) -> None:
    slot = add(storage, keys, KeyFile(key_file), "", MOMENT)
    changed(storage, slot.id, method="tpm2")
    assert shelf(storage, Record.of(keys)).slots[0].method == "tpm2"
    with pytest.raises(WrongKeyError, match="opens no keyslot"):
        open_keys(storage, Record.of(keys), DedupOptions(key_file=key_file))


def test_a_newer_version_of_a_slot_is_refused(storage: MemoryStorage, keys: Keys, key_file: Path) -> None:
    slot = add(storage, keys, KeyFile(key_file), "", MOMENT)
    changed(storage, slot.id, version=2)
    [(_, error)] = shelf(storage, Record.of(keys)).damaged
    assert "format version 2" in error.message


def test_a_slot_of_a_huge_size_is_not_read_into_memory(storage: MemoryStorage, keys: Keys) -> None:
    storage.put(f"keys/{'a' * 16}.json", bytes(2 * 1024 * 1024))
    [(_, error)] = shelf(storage, Record.of(keys)).damaged
    assert "more than 1048576 bytes" in error.message


def test_what_is_no_slot_lies_in_nobodys_way(storage: MemoryStorage, keys: Keys, key_file: Path) -> None:
    for name in ("README", "keys.json", "x/0000000000000000.json", f"{'A' * 16}.json"):
        storage.put(f"keys/{name}", b"x")
    add(storage, keys, KeyFile(key_file), "", MOMENT)
    assert len(shelf(storage, Record.of(keys)).slots) == 1
    assert shelf(storage, Record.of(keys)).damaged == ()


def test_a_second_slot_opens_and_the_first_can_go(
    storage: MemoryStorage, keys: Keys, record: Record, password: Path, key_file: Path
) -> None:
    first = add(storage, keys, Passphrase(password), "", MOMENT)
    second = add(storage, keys, KeyFile(key_file), "", MOMENT)
    assert remove(storage, keys, first.id[:8], MOMENT) == first.id
    assert opened(storage, record, [KeyFile(key_file)]).slot == second.id
    with pytest.raises(WrongKeyError):
        opened(storage, record, [Passphrase(password)])


def test_the_last_slot_that_can_be_read_stays(
    storage: MemoryStorage, keys: Keys, record: Record, password: Path, key_file: Path
) -> None:
    first = add(storage, keys, Passphrase(password), "", MOMENT)
    second = add(storage, keys, KeyFile(key_file), "", MOMENT)
    storage.put(second.key, b"{}")
    with pytest.raises(RefusedError, match="is the last one that can be read"):
        remove(storage, keys, first.id, MOMENT)
    assert opened(storage, record, [Passphrase(password)]).keys == keys
    assert remove(storage, keys, second.id, MOMENT) == second.id


@pytest.mark.parametrize("text", ["", "zz", "../0000", "0123456789abcdef0"])
def test_what_names_no_slot_removes_none(storage: MemoryStorage, keys: Keys, key_file: Path, text: str) -> None:
    for _ in range(2):
        add(storage, keys, KeyFile(key_file), "", MOMENT)
    with pytest.raises(UsageError, match="none begins with"):
        remove(storage, keys, text, MOMENT)


def test_a_begin_that_several_have_removes_none(storage: MemoryStorage, keys: Keys, key_file: Path) -> None:
    ids = [add(storage, keys, KeyFile(key_file), "", MOMENT).id for _ in range(17)]
    shared = next(letter for letter in "0123456789abcdef" if sum(name.startswith(letter) for name in ids) > 1)
    with pytest.raises(UsageError, match="several begin with"):
        remove(storage, keys, shared, MOMENT)


def test_rotating_puts_the_new_slot_in_before_the_old_one_goes(
    storage: MemoryStorage, keys: Keys, record: Record, password: Path, tmp_path: Path
) -> None:
    first = add(storage, keys, Passphrase(password), "laptop", MOMENT)
    new = Passphrase(private(tmp_path / "new", "another one"))
    old, slot = rotate(storage, keys, first.id, new, "", MOMENT)
    assert old == first.id
    assert slot.label == "laptop"
    assert opened(storage, record, [new]).keys == keys
    with pytest.raises(WrongKeyError):
        opened(storage, record, [Passphrase(password)])


def test_a_rotation_that_fails_leaves_the_old_slot(
    storage: MemoryStorage, keys: Keys, record: Record, password: Path, tmp_path: Path
) -> None:
    first = add(storage, keys, Passphrase(password), "", MOMENT)
    with pytest.raises(WrongKeyError, match="cannot be read"):
        rotate(storage, keys, first.id, Passphrase(tmp_path / "missing"), "", MOMENT)
    assert [slot.id for slot in shelf(storage, record).slots] == [first.id]


def test_a_slot_that_comes_back_as_something_else_is_told_and_taken_back(keys: Keys, key_file: Path) -> None:
    class Forgetful(MemoryStorage):
        def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
            super().put(key, data.replace(b"laptop", b"desktop"), if_absent=if_absent)

    storage = Forgetful()
    with pytest.raises(RecoupError, match="was stored as something else"):
        add(storage, keys, KeyFile(key_file), "laptop", MOMENT)
    assert list(storage.list()) == []


def test_a_recovery_file_is_random_private_and_never_written_over(
    storage: MemoryStorage, keys: Keys, record: Record, tmp_path: Path
) -> None:
    file = tmp_path / "recovery"
    add(storage, keys, make_key_file(file), "", MOMENT)
    assert file.stat().st_mode & 0o777 == 0o600
    assert open_keys(storage, record, DedupOptions(key_file=file)) == keys
    before = file.read_bytes()
    with pytest.raises(RefusedError, match="is there already"):
        make_key_file(file)
    assert file.read_bytes() == before
    assert make_key_file(tmp_path / "other").file.read_bytes() != before


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(RefusedError):
        make_key_file(tmp_path / "link")
    assert not (tmp_path / "target").exists()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecoupError, match="cannot be written: No such file"):
        make_key_file(tmp_path / "missing" / "file")


def test_slots_in_a_folder_are_private_files(keys: Keys, key_file: Path, tmp_path: Path) -> None:
    slot = add(connect(tmp_path / "r"), keys, KeyFile(key_file), "", MOMENT)
    assert (tmp_path / "r" / slot.key).stat().st_mode & 0o777 == 0o600


def test_nothing_shows_a_secret(password: Path, key_file: Path) -> None:
    means = [Passphrase(password), Passphrase(typed=SECRET), KeyFile(key_file)]
    assert SECRET not in repr(means) + "".join(map(str, means))


# --- what is read may be anything ---------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "format",
    "version",
    "repository",
    "id",
    "created",
    "label",
    "method",
    "salt",
    "n",
    "r",
    "p",
    "recipients",
    "sealed",
)
SOUND = {
    "format": "recoup-key",
    "version": 1,
    "repository": REPOSITORY,
    "id": "a" * 16,
    "created": "2026-11-21T02:00:00+00:00",
    "label": "x",
    "method": "passphrase",
    "salt": base64.b64encode(bytes(32)).decode(),
    "n": 16,
    "r": 8,
    "p": 1,
    "recipients": [],
    "sealed": "",
}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_slot_or_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        decode_slot(data, "a" * 16)


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=3),
    st.sampled_from(["passphrase", "age", "key-file"]),
)
def test_any_fields_are_a_slot_or_refused(fields: dict[str, Any], method: str) -> None:
    data = json.dumps({**SOUND, "method": method, **fields}).encode()
    try:
        slot = decode_slot(data, "a" * 16)
    except RefusedError:
        return
    assert decode_slot(encode_slot(slot), "a" * 16) == slot
    slot.label.encode()
    assert slot.label.isprintable() or slot.label == ""


@given(JSON)
def test_an_opened_slot_that_holds_no_keys_is_refused(body: Any) -> None:
    storage, keys = MemoryStorage(), new_keys(REPOSITORY)

    class Odd(KeyFile):
        def unlock(self, slot: object) -> bytes:
            return json.dumps(body).encode()

    slot = {**SOUND, "method": "key-file"}
    storage.put(f"keys/{'a' * 16}.json", json.dumps(slot).encode())
    with pytest.raises(RefusedError, match="it opens, and holds no keys"):
        opened(storage, Record.of(keys), [Odd(Path())])


# --- what the repository says of itself ---------------------------------------------------------------------------------


def record_file(keys: Keys, **other: Any) -> bytes:
    shape = {"format": "recoup-repository", "version": 1, "id": REPOSITORY, "layout": "dedup", **Record.of(keys).shape}
    return json.dumps({**shape, **other}).encode()


def test_the_record_says_the_public_keys(storage: MemoryStorage, keys: Keys) -> None:
    storage.put("recoup-repository.json", record_file(keys))
    assert read_record(storage) == Record(REPOSITORY, keys.public, keys.owner)


def test_where_there_is_no_repository_that_is_said(storage: MemoryStorage) -> None:
    with pytest.raises(NoRepositoryError, match="no repository at memory:"):
        read_record(storage)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"layout": "sets"}, "has no keyslots: its layout is 'sets'"),
        ({"version": 2}, "format version 2"),
        ({"critical": ["rings"]}, "needs features of a newer Recoup"),
        ({"critical": None}, "needs features"),
        ({"public": "ab"}, "is damaged"),
        ({"owner": 5}, "is damaged"),
        ({"id": "../x"}, "is damaged"),
        ({"format": "x"}, "is damaged"),
    ],
)
def test_an_odd_record_is_refused(keys: Keys, other: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        decode_record(record_file(keys, **other), "memory:")


@given(st.binary(max_size=100))
def test_any_bytes_are_a_record_or_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        decode_record(data, "memory:")
