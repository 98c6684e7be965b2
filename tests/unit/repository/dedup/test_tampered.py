"""Whatever is done to the files of a dedup repository: `verify` names it or the set restores, and other sets go on."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import ExitCode, RecoupError, RefusedError, WrongKeyError
from recoup.model.names import SetName
from recoup.repository._base import Subset
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, manifest_of, record_of
from unit.repository.dedup import golden
from unit.repository.dedup.golden import KEY_FILE, LIGHT, kept, restored, store_stream, streams
from unit.repository.dedup.honesty import Objects, objects_of, opened_by_key, outcomes, storage_of

DAYS, HOSTS, PRUNED = (objects_of(golden.FOLDER / name) for name in ("days-1", "hosts-1", "pruned-1"))
FIRST, SECOND = "backup_20261121_020000", "backup_20261122_020000"
CONTENT = {FIRST: kept(0), SECOND: kept(1)}
KEYSLOT = next(key for key in DAYS if b'"key-file"' in DAYS[key])


def needed_by(key: str) -> set[str]:
    """Sets that cannot be without a file."""
    if key.startswith(("packs/", "index/")):
        runs = [json.loads(DAYS[f"{name}/manifest.json"])["run"] for name in (FIRST, SECOND)]
        return {FIRST, SECOND} if runs[0] in key else {SECOND}
    if key.startswith("keys/"):
        return {FIRST, SECOND} if key == KEYSLOT else set()
    return {key.partition("/")[0]} if key.startswith("backup") else {FIRST, SECOND}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "key"
    file.write_bytes(KEY_FILE)
    return file


def found(objects: Objects, key: Path) -> dict[str, tuple[bool, bool]]:
    """By set, whether it verifies and whether it restores; empty where the repository does not open."""
    try:
        return {
            name: (verifies, restores) for name, verifies, restores in outcomes(opened_by_key(objects, key), CONTENT)
        }
    except RecoupError as error:
        assert error.hint
        return {}


@pytest.mark.parametrize("item", DAYS, ids=lambda item: item.replace("/", " "))
@settings(max_examples=5)
@given(st.data())
def test_a_flipped_bit_is_named_or_harmless_and_other_sets_go_on(item: str, key: Path, data: st.DataObject) -> None:
    whole = bytearray(DAYS[item])
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    after = found({**DAYS, item: bytes(whole)}, key)
    for name in {FIRST, SECOND} - needed_by(item):
        assert after[name] == (True, True)
    if item.startswith(("packs", "index")):
        assert not any(after[name][0] for name in needed_by(item)), "a damage that is not named"


CHANGES: Mapping[str, Callable[[bytes], bytes | None]] = {
    "removed": lambda _: None,
    "empty": lambda _: b"",
    "halved": lambda data: data[: len(data) // 2],
    "shorter": lambda data: data[:-2],
    "longer": lambda data: data + b"\0",
    "noise": lambda data: golden.noise(9, len(data)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_gone_cut_or_another_one_is_named_and_other_sets_go_on(change: str, key: Path) -> None:
    for item, data in DAYS.items():
        changed = CHANGES[change](data)
        others = {other: kept for other, kept in DAYS.items() if other != item}
        after = found(others if changed is None else {**others, item: changed}, key)
        for name in (FIRST, SECOND):
            if name in needed_by(item):
                assert not after.get(name, (False, False))[0], (item, name)
            else:
                assert after[name] == (True, True), (item, name)


@pytest.mark.parametrize(
    ("one", "other"), [(a, b) for a in DAYS for b in DAYS if a < b and Path(a).suffix == Path(b).suffix]
)
def test_files_that_were_swapped_yield_no_other_bytes(one: str, other: str, key: Path) -> None:
    after = found({**DAYS, one: DAYS[other], other: DAYS[one]}, key)
    copied = found({**DAYS, one: DAYS[other]}, key)
    if not one.startswith("index"):  # what an index file says is true under any name
        for name in (FIRST, SECOND):
            sound = name not in needed_by(one) | needed_by(other)
            assert after.get(name, (False, False))[0] == sound
    for name in {FIRST, SECOND} - needed_by(one):
        assert copied[name] == (True, True)


def test_verify_names_the_index_file_that_a_set_lacks(key: Path) -> None:
    for item in DAYS:
        if not item.startswith("index/"):
            continue
        repository = opened_by_key({**DAYS, item: DAYS[item][:-1]}, key)
        damages = list(repository.verify(repository.names()[-1], Subset()))
        assert any(item in damage.message for damage in damages)


def test_an_older_state_of_the_repository_shows_its_older_sets_alone(key: Path) -> None:
    older = {item: data for item, data in DAYS.items() if needed_by(item) != {SECOND}}
    assert found(older, key) == {FIRST: (True, True)}
    replayed = {
        **older,
        f"{SECOND}/manifest.json": DAYS[f"{FIRST}/manifest.json"],
        f"{SECOND}/recipes": DAYS[f"{FIRST}/recipes"],
    }
    assert found(replayed, key) == {FIRST: (True, True), SECOND: (False, False)}


@pytest.mark.parametrize("item", [item for item in PRUNED if item.startswith(("history/", "damaged/"))])
def test_a_record_that_is_damaged_or_gone_takes_no_set_along(item: str, key: Path) -> None:
    others = {other: data for other, data in PRUNED.items() if other != item}
    changed = bytearray(PRUNED[item])
    changed[len(changed) // 2] ^= 1
    assert opened_by_key({**others, item: bytes(changed)}, key).index().problems
    for objects in (others, {**others, item: bytes(changed)}, {**others, item: b""}):
        repository = opened_by_key(objects, key)
        for day, name in enumerate(repository.names(), 1):
            assert list(repository.verify(name, Subset())) == []
            assert restored(repository, name) == kept(day, LIGHT)


def test_files_of_another_repository_change_nothing_and_its_sets_are_not_taken_for_ones_own(key: Path) -> None:
    foreign = {item.replace("backup_2026", "backup_2025"): data for item, data in HOSTS.items()}
    repository = opened_by_key({**foreign, **DAYS}, key)
    assert [str(name) for name in repository.names()[2:]] == [FIRST, SECOND]
    for name in repository.names()[:2]:
        assert [damage.item for damage in repository.verify(name, Subset())] == ["manifest.json"]
        with pytest.raises(RefusedError) as caught:
            repository.manifest(name)
        assert caught.value.exit_code == ExitCode.REFUSED
    for name in repository.names()[2:]:
        assert list(repository.verify(name, Subset())) == []
        assert restored(repository, name) == CONTENT[str(name)]


def test_a_wrong_key_opens_nothing_and_says_which_slots_there_are(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(secrets.token_bytes(32))
    repository = opened_by_key(DAYS, wrong)
    assert len(repository.names()) == 2
    with pytest.raises(WrongKeyError) as caught:
        repository.manifest(repository.names()[0])
    assert caught.value.exit_code == ExitCode.WRONG_KEY
    assert Path(KEYSLOT).stem in caught.value.hint
    with pytest.raises(WrongKeyError):
        repository.overview()


def test_keys_of_another_repository_are_refused_where_its_record_was_swapped_in(key: Path) -> None:
    repository = opened_by_key({**DAYS, "recoup-repository.json": HOSTS["recoup-repository.json"]}, key)
    with pytest.raises(RecoupError) as caught:
        repository.manifest(repository.names()[0])
    assert caught.value.exit_code in (ExitCode.REFUSED, ExitCode.WRONG_KEY)


# --- versions ---------------------------------------------------------------------------------------------------------


def with_record(**fields: Any) -> dict[str, bytes]:
    """The repository with other fields in its record."""
    record = json.loads(DAYS["recoup-repository.json"]) | fields
    return {**DAYS, "recoup-repository.json": json.dumps(record).encode()}


@pytest.mark.parametrize("fields", [{"version": 2}, {"critical": ["pack-2"]}, {"critical": None}])
def test_a_repository_of_an_unknown_version_or_feature_is_refused(fields: dict[str, Any], key: Path) -> None:
    repository = opened_by_key(with_record(**fields), key)
    for attempt in (repository.check, lambda: repository.manifest(repository.names()[0])):
        with pytest.raises(RefusedError) as caught:
            attempt()
        assert caught.value.exit_code == ExitCode.REFUSED


@pytest.mark.parametrize("fields", [{"version": 2}, {"critical": ["recipes-2"]}, {"critical": None}])
def test_a_set_of_an_unknown_version_or_feature_is_refused_and_the_others_are_not(
    fields: dict[str, Any], key: Path
) -> None:
    item = f"{SECOND}/manifest.json"
    document = opened_by_key(DAYS, key).keys.signed(json.loads(DAYS[item]) | fields)
    repository = opened_by_key({**DAYS, item: json.dumps(document).encode()}, key)
    first, second = repository.names()
    with pytest.raises(RefusedError) as caught:
        repository.manifest(second)
    assert caught.value.exit_code == ExitCode.REFUSED
    assert [damage.item for damage in repository.verify(second, Subset())] == ["manifest.json"]
    assert restored(repository, first) == CONTENT[FIRST]


@pytest.mark.parametrize("counter", ["1", 1.0, float("inf"), True, None, -1, 2**64])
def test_a_counter_that_is_none_is_refused_however_well_it_is_signed(counter: Any, key: Path) -> None:
    item = f"{SECOND}/manifest.json"
    document = json.loads(DAYS[item]) | {"counter": counter}
    repository = opened_by_key({**DAYS, item: json.dumps(document).encode()}, key)
    with pytest.raises(RefusedError):
        repository.manifest(repository.names()[1])


@pytest.mark.parametrize(("folder", "place"), [("packs/", 7), ("index/", 7)])
def test_an_unknown_magic_number_is_no_damage_but_a_newer_version(folder: str, place: int, key: Path) -> None:
    changed = dict(DAYS)
    for item in [item for item in DAYS if item.startswith(folder)]:
        changed[item] = DAYS[item][:place] + b"2" + DAYS[item][place + 1 :]
    repository = opened_by_key(changed, key)
    problems = [damage.message for damage in repository.verify(repository.names()[0], Subset())]
    assert problems
    if folder == "packs/":
        with pytest.raises(RefusedError, match="version"):
            restored(repository, repository.names()[0])
    else:
        assert any("version" in problem for problem in problems)


# --- clocks and stacks ------------------------------------------------------------------------------------------------


def add(storage: MemoryStorage, key: Path, hours: float, day: int, stack: str = "stack") -> SetName:
    """A small set."""
    repository = DedupRepository("r", storage, DedupOptions(key_file=key), SystemClock(), None)
    moment = NOW + timedelta(hours=hours)
    with repository.begin(moment, stack) as writer:
        stored = [store_stream(writer, "db", name, streams(day)[name]) for name in LIGHT]
        manifest = manifest_of(writer.name, {"db": record_of(*stored)}, moment)
        writer.commit(replace(manifest, stack=stack))
        return SetName.parse(str(writer.name)) or pytest.fail("that is no name")


def test_a_clock_that_went_back_adds_a_set_among_those_of_the_future(key: Path) -> None:
    storage = storage_of(DAYS)
    early, again = add(storage, key, -24, 0), add(storage, key, 24, 1)
    repository = DedupRepository("r", storage, DedupOptions(key_file=key), SystemClock(), None)
    assert [str(name) for name in repository.names()] == [str(early), FIRST, SECOND, f"{SECOND}_2"]
    for name, content in {early: kept(0, LIGHT), again: kept(1, LIGHT)}.items():
        assert list(repository.verify(name, Subset())) == []
        assert restored(repository, name) == content


def test_two_stacks_share_the_chunks_of_one_repository(key: Path) -> None:
    storage = storage_of(DAYS)
    before = {found.key for found in storage.list("packs")}
    mine, theirs = add(storage, key, 48, 0, "mine"), add(storage, key, 49, 1, "theirs")
    assert {found.key for found in storage.list("packs")} == before
    repository = DedupRepository("r", storage, DedupOptions(key_file=key), SystemClock(), None)
    assert repository.manifest(mine).stack == "mine"
    repository.delete([mine])
    assert restored(repository, theirs) == kept(1, LIGHT)
