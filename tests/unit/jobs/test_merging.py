"""What workers found becomes one result: nothing is lost, nothing counted twice, and what nobody could do is no success."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import ExitCode, WorkersError
from recoup.model.events import Event, News, ignore
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, StreamPart, TreePart
from recoup.model.reports import Damage
from recoup.model.secrets import Masker
from recoup.model.wire import decoded, encoded
from recoup.operations import _copy_divided, _drill_divided, _verify_divided, copy, drill, selection
from recoup.operations._verify_divided import merged
from recoup.operations._working import Crew, Hearing, holder, is_awaited, retold
from recoup.operations.verify import Looked
from recoup.repository._base import Repository, Subset
from recoup.repository.opening import open_repository
from recoup.repository.sealing.age import AgeSealing
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.system.executing import Batch, Order
from recoup.system.host import this_owner
from recoup.testing.repository_contract import NOW, Given, manifest_of, name_of, record_of, store
from sealing_keys import age_key

NAMES = ("one", "two", "\udcff\udcfe not utf-8", "deep/three", "new\nline", "empty")


def looked(repository: Repository, name: SetName, subset: Subset) -> Looked:
    """As a worker tells it."""
    verification = repository.verify(name, subset)
    damage = tuple(verification)
    told = Looked(verification.files, verification.bytes, verification.total_bytes, damage)
    found: Looked = decoded(Looked, json.loads(json.dumps(encoded(Looked, told))))
    return found


def members() -> Iterator[Member]:
    yield Member(".", "folder", Attributes(0o750, 5))
    yield Member("deep", "folder", Attributes(0o750, 5))
    for name in sorted(NAMES):
        yield Member(name, "file", Attributes(0o640, 5), len(name), content=Given(name.encode(errors="replace")))


def made(pack: str) -> tuple[Repository, SetName, MemoryStorage]:
    storage = MemoryStorage(moves=False)
    repository = open_repository("r", storage, pack, "none", None, SystemClock())  # type: ignore[arg-type]
    repository.create()
    return repository, stored_in(repository), storage


def stored_in(repository: Repository) -> SetName:
    """A small set."""
    with repository.begin(NOW) as writer:
        streams = [store(writer, "db", StreamPart(name, Given(name.encode()), 5)) for name in ("a.bin", "b.bin")]
        tree = store(writer, "tree", TreePart(".", members()))
        manifest = manifest_of(writer.name, {"db": record_of(*streams), "tree": record_of(tree)})
        writer.commit(manifest)
    return name_of(manifest)


def key_of(damage: Damage) -> tuple[str, str, str]:
    return damage.item, damage.kind, damage.message


@pytest.mark.parametrize("pack", ["tree", "tar"])
@settings(max_examples=60)
@given(data=st.data())
def test_lanes_find_and_count_together_what_one_verification_does(pack: str, data: st.DataObject) -> None:
    repository, name, storage = made(pack)
    keys = sorted(found.key for found in storage.list(str(name)))
    for key in data.draw(st.sets(st.sampled_from(keys), max_size=4)):
        stored = storage.get(key)
        what = data.draw(st.sampled_from(["missing", "changed", "size"]))
        storage.delete(key)
        if what != "missing" and stored:
            storage.put(key, bytes([stored[0] ^ 1]) + stored[1:] if what == "changed" else stored[:-1])
    if data.draw(st.booleans()):
        storage.put(f"{name}/extra", b"nobody's")
    subset = data.draw(
        st.sampled_from(
            [
                Subset(),
                Subset(2, 3),
                Subset(share=0.5, begin=0.7),
                Subset(share=0.01, begin=0.8),
                Subset(structure=True),
            ]
        )
    )
    whole = looked(repository, name, subset)
    lanes = merged(looked(repository, name, lane) for lane in subset.divided(data.draw(st.integers(1, 9))))
    assert (lanes.files, lanes.bytes, lanes.total_bytes) == (whole.files, whole.bytes, whole.total_bytes)
    assert list(map(key_of, lanes.damage)) == sorted(map(key_of, whole.damage))


@pytest.mark.parametrize("can_open", [True, False])
def test_lanes_of_an_encrypted_set_add_up_with_its_key_and_without(tmp_path: Path, can_open: bool) -> None:
    storage = MemoryStorage(moves=False)

    def opened(how: AgeSealing) -> Repository:
        clock = SystemClock()
        return open_repository("r", storage, "tree", "none", None, clock, how, seal_manifest=True, spool=tmp_path)

    public, identity = age_key(tmp_path)
    repository = opened(AgeSealing((public,), identity))
    repository.create()
    name = stored_in(repository)
    reader = opened(AgeSealing((public,), identity if can_open else None))
    for damaged in (False, True):
        if damaged:
            key = max(storage.list(str(name)), key=lambda found: found.size).key
            storage.put(key, storage.get(key)[:-1] + b"?")
        whole = looked(reader, name, Subset())
        lanes = merged(looked(reader, name, lane) for lane in Subset().divided(5))
        assert (lanes.files, lanes.bytes, lanes.total_bytes) == (whole.files, whole.bytes, whole.total_bytes)
        assert list(map(key_of, lanes.damage)) == sorted(map(key_of, whole.damage))
        assert bool(lanes.damage) == damaged


DAMAGES = st.builds(
    Damage, st.sampled_from(["a", "b"]), st.sampled_from(["missing", "changed", "unreadable"]), st.sampled_from("xy")
)


@given(st.lists(st.lists(DAMAGES, max_size=4), max_size=4))
def test_no_damage_of_any_lane_is_lost(lanes: list[list[Damage]]) -> None:
    found = merged(Looked(1, 2, 3, tuple(lane)) for lane in lanes).damage
    told = {(one.item, one.kind) for lane in lanes for one in lane}
    assert {(one.item, one.kind) for one in found} == told
    assert (not found) == (not told)


def test_what_several_lanes_could_not_read_for_different_words_is_damaged_once() -> None:
    lanes = [Looked(0, 0, 1, (Damage("list", "unreadable", f"request {number} failed"),)) for number in range(3)]
    assert [one.item for one in merged(lanes).damage] == ["list"]


def test_a_part_that_no_worker_read_is_no_pass() -> None:
    lanes = [Looked(1, 5, 10, ()), Looked(0, 0, 0, (Damage("", "unread", "part 2 of 2 was not read"),))]
    assert [one.kind for one in merged(lanes).damage] == ["unread"]


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """Workers that end in every job with an error that nobody foresaw."""
    (tmp_path / "recoup.yaml").write_text("version: 1\nstack: stack\nrepositories: {r: {path: sets}}\n")
    monkeypatch.setenv("RECOUP_CONFIG", str(tmp_path / "recoup.yaml"))
    with ThreadPoolExecutor(2) as pool:

        def give(job: str, repository: str, orders: Sequence[Order], /) -> Batch:
            return Batch(pool, "recoup.jobs:run", [{"job": job, "repository": repository} for _ in orders])

        yield Crew(give, 2)


def test_a_set_that_no_worker_could_verify_is_as_bad_as_damaged(failing: Crew) -> None:
    repository, name, _ = made("tree")
    news: list[Event] = []

    def hear(said: News) -> None:
        news.extend([said] if isinstance(said, Event) else [])

    report = _verify_divided.run(name, repository, Subset(), failing, lambda _: None, SystemClock(), hear, "host")
    assert report.exit_code == ExitCode.DAMAGED
    assert [one.kind for one in report.damage] == ["unread"] * 4
    assert report.share == 0.0
    assert "KeyError" in report.damage[0].message
    assert [event.name for event in news] == ["damage_found"] * 4
    assert [mark.fields["passed"] for mark in repository.marks(name)] == [False]


def test_a_source_that_no_worker_could_drill_has_failed(failing: Crew) -> None:
    repository, name, _ = made("tree")
    plan = drill.plan(repository.manifest(name), None)
    clock = SystemClock()
    settings = {source: dict[str, str]() for source in plan.sources}
    report = _drill_divided.run(plan, settings, repository, failing, clock, ignore, "host", recorded=False)
    assert not report.passed
    assert report.exit_code == ExitCode.DAMAGED
    assert [(one.source, one.passed) for one in report.sources] == [("db", False), ("tree", False)]
    assert all("no worker drilled it" in one.error and "KeyError" in one.error for one in report.sources)
    assert [mark.fields["passed"] for mark in repository.marks(name)] == [False]


def test_sets_that_no_worker_could_copy_are_named_and_not_there(failing: Crew) -> None:
    origin, name, _ = made("tree")
    target = open_repository("t", MemoryStorage(moves=False), "tree", "none", None, SystemClock())
    target.create()
    clock = SystemClock()
    plan = copy.plan(selection.listing(origin, clock.now()), origin, target, 1.0, clock)
    report = _copy_divided.run(plan, copy.Way(origin, target, clock, ignore), failing)
    assert [(one.set, one.copy) for one in report.sets] == [(str(name), "")]
    assert "KeyError" in report.sets[0].error
    assert report.exit_code == ExitCode.FAILED
    assert target.names() == []
    assert target.locks() == []


def test_a_worker_goes_on_as_long_as_whoever_asked_holds_a_lock() -> None:
    repository, _, _ = made("tree")
    clock, here = SystemClock(), this_owner(NOW)
    hearing = Hearing(lambda: is_awaited(repository, who, clock.now()), clock, Masker(["a secret"]))
    who = holder(here.host, here.pid, "verify")
    with repository.lock("shared", "verify", "stack"):
        hearing.require_awaited()
        assert not is_awaited(repository, who, clock.now() + timedelta(minutes=12)), "it has been silent for too long"
        assert not is_awaited(repository, holder(here.host, here.pid + 1, "verify"), clock.now())
    with pytest.raises(WorkersError, match="does not wait"):
        hearing.require_awaited()
    hearing(Event("something", NOW, "it has a secret", fields={"where": ["a secret"]}))
    assert "a secret" not in json.dumps(hearing.told())
    told: list[News] = []
    retold(hearing.told(), told.append)
    assert [event.name for event in told if isinstance(event, Event)] == ["something"]
