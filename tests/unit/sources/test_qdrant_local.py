"""Qdrant's local mode: one moment for all collections, points read without running them, the same answers after a restore."""

import base64
import contextlib
import datetime as dt
import json
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recoup.errors import BusyError, EmptySourceError, RestoreError, SourceError, UnsafePathError
from recoup.model.facts import Facts, compare, outside
from recoup.model.part import Part, StreamPart
from recoup.sources._base import NoRestoreOptions, Site
from recoup.sources._pickled_points import canonical_id, read_point
from recoup.sources._qdrant_folder import chosen
from recoup.sources._staged import StagedFile
from recoup.sources.qdrant_local import Options, QdrantLocalSource, connect
from recoup.system.clock import SystemClock

SIZE = 8


def the_source(path: Path, seed: int = 5, **settings: object) -> QdrantLocalSource:
    staging = path.parent / "staging"
    staging.mkdir(exist_ok=True, mode=0o700)
    options = Options.model_validate({"kind": "qdrant-local", "path": path, **settings})
    return connect(options, Site("vectors", path.parent, staging, SystemClock(), seed))


@contextlib.contextmanager
def client(path: Path) -> Iterator[Any]:
    from qdrant_client import QdrantClient

    opened = QdrantClient(path=str(path))
    try:
        yield opened
    finally:
        opened.close()


def vector_of(number: int, size: int = SIZE) -> list[float]:
    generator = random.Random(number)
    return [generator.uniform(-1, 1) for _ in range(size)]


def fill(path: Path) -> None:
    """Every kind of vector, id and payload that the client writes."""
    from qdrant_client import models as m

    with client(path) as store:
        store.create_collection("docs", vectors_config=m.VectorParams(size=SIZE, distance=m.Distance.COSINE))
        points = [m.PointStruct(id=n, vector=vector_of(n), payload={"n": n, "none": None}) for n in range(60)]
        store.upsert("docs", points)
        when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        odd = m.PointStruct(
            id=str(uuid.UUID(int=0xABC)), vector=vector_of(99), payload={"when": when, "id": uuid.UUID(int=1)}
        )
        store.upsert("docs", [odd])
        vectors = {
            "dot": m.VectorParams(size=SIZE, distance=m.Distance.DOT),
            "euclid": m.VectorParams(size=SIZE, distance=m.Distance.EUCLID),
            "manhattan": m.VectorParams(size=SIZE, distance=m.Distance.MANHATTAN),
            "many": m.VectorParams(
                size=2, distance=m.Distance.DOT, multivector_config=m.MultiVectorConfig(comparator="max_sim")
            ),
        }
        store.create_collection("mixed é%#", vectors, sparse_vectors_config={"words": m.SparseVectorParams()})
        for n in range(30):
            sparse = m.SparseVector(indices=[n, n + 1], values=[0.5, 0.25])
            found = {"dot": vector_of(n), "euclid": vector_of(n), "manhattan": vector_of(n)}
            more = {**found, "many": [[1.0, n], [0.5, 1.0]], "words": sparse} if n % 2 else found
            store.upsert("mixed é%#", [m.PointStruct(id=n, vector=more, payload={})])
        store.create_collection("bare", vectors_config=m.VectorParams(size=2, distance=m.Distance.DOT))
        alias = m.CreateAlias(collection_name="docs", alias_name="current")
        store.update_collection_aliases([m.CreateAliasOperation(create_alias=alias)])


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qdrant") / "store"
    fill(path)
    return path


@pytest.fixture
def path(tmp_path: Path, filled: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "store"))


def captured(source: QdrantLocalSource, into: Path) -> tuple[Facts, list[Part]]:
    """Captures, and keeps the copies."""
    kept: list[Part] = []
    with source.capture() as capture:
        for number, part in enumerate(capture.parts()):
            assert isinstance(part, StreamPart)
            assert part.content.local_path
            copy = into / f"part{number}"
            shutil.copyfile(part.content.local_path, copy)
            kept.append(StreamPart(part.name, StagedFile(copy, disposable=False), part.size, part.attributes))
        facts = capture.facts()
        assert outside(facts, capture.brackets()) == ()
    return facts, kept


def differs(left: Facts, right: Facts) -> set[str]:
    return {f"{line.subject}: {line.name}" for line in compare(left, right) if not line.equal}


def answers(path: Path) -> list[list[tuple[object, float]]]:
    with client(path) as store:
        lists = [
            store.query_points("current", query=vector_of(5), limit=7).points,
            store.query_points("mixed é%#", query=vector_of(5), using="euclid", limit=7).points,
        ]
        return [[(point.id, point.score) for point in found] for found in lists]


@pytest.mark.requirement("CI-7")
def test_after_a_restore_the_client_gives_the_same_answers(path: Path, tmp_path: Path) -> None:
    source, before = the_source(path), answers(path)
    facts, parts = captured(source, tmp_path)
    with client(path) as store:
        store.delete("docs", points_selector=list(range(40)))
        store.delete_collection("bare")
    assert differs(facts, source.facts()) >= {"collection docs: points", "collection docs: ids", "store: collections"}
    assert answers(path) != before
    placement = source.restore(parts, NoRestoreOptions())
    assert differs(facts, source.facts()) == set()
    assert answers(path) == before
    assert the_source(Path(placement.kept)).facts().values["collection docs"]["points"] == 21


def test_facts_tell_points_vectors_and_aliases(path: Path, tmp_path: Path) -> None:
    facts, parts = captured(the_source(path), tmp_path)
    docs, mixed = facts.values["collection docs"], facts.values["collection mixed é%#"]
    assert (docs["points"], docs["vectors"], docs["aliases"]) == (61, "(unnamed): 8 Cosine", "current")
    assert mixed["not probed"] == "many, words"
    assert facts.values["store"] == {"collections": 3, "aliases": 1}
    assert facts.seed == 5
    assert {part.name for part in parts} == {
        "meta.json",
        "collection/docs/storage.sqlite",
        "collection/mixed é%#/storage.sqlite",
        "collection/bare/storage.sqlite",
    }


def test_probes_hold_the_neighbours_that_the_client_finds(path: Path, tmp_path: Path) -> None:
    facts, _ = captured(the_source(path), tmp_path)
    asked = {("docs", ""), ("mixed é%#", "dot"), ("mixed é%#", "euclid"), ("mixed é%#", "manhattan")}
    assert {(probe.collection, probe.vector) for probe in facts.probes} == asked
    assert len(facts.probes) == 20 * len(asked)
    with client(path) as store:
        for probe in facts.probes:
            identifier = int(probe.point) if probe.point.isdigit() else probe.point
            using = {"using": probe.vector} if probe.vector else {}
            found = store.query_points(probe.collection, query=identifier, limit=10, **using).points
            assert set(probe.neighbours) == {str(point.id) for point in found}


def test_another_seed_asks_about_other_points(path: Path) -> None:
    first, again, second = (the_source(path, seed).facts() for seed in (1, 1, 2))
    assert first.probes == again.probes
    assert {probe.point for probe in first.probes} != {probe.point for probe in second.probes}


def rewrite(path: Path, collection: str, change: Callable[[Any], None]) -> None:
    """Changes one point behind the client's back."""
    with contextlib.closing(sqlite3.connect(path / "collection" / collection / "storage.sqlite")) as connection:
        key, blob = connection.execute("SELECT id, point FROM points WHERE rowid = 9").fetchone()
        point = pickle.loads(blob)
        change(point)
        connection.execute("UPDATE points SET point = ? WHERE id = ?", (pickle.dumps(point), key))
        connection.commit()


def zero(point: Any) -> None:
    point.vector = [0.0] * SIZE


def other_payload(point: Any) -> None:
    point.payload = {"other": 1}


def delete_one(path: Path) -> None:
    with client(path) as store:
        store.delete("docs", points_selector=[3])


def lose_alias(path: Path) -> None:
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "aliases": {}}))


def lose_collection(path: Path) -> None:
    with client(path) as store:
        store.delete_collection("bare")


@pytest.mark.requirement("CI-6")
@pytest.mark.parametrize(
    ("damage", "noticed"),
    [
        (delete_one, "collection docs: points"),
        (lambda path: rewrite(path, "docs", zero), "collection docs: content"),
        (lambda path: rewrite(path, "docs", other_payload), "collection docs: content"),
        (lose_alias, "collection docs: aliases"),
        (lose_collection, "store: collections"),
    ],
    ids=["point deleted", "vector zeroed", "payload changed", "alias lost", "collection lost"],
)
def test_a_twin_shows_the_facts_of_the_capture_until_it_is_damaged(
    path: Path, tmp_path: Path, damage: Callable[[Path], None], noticed: str
) -> None:
    source = the_source(path)
    facts, parts = captured(source, tmp_path)
    (tmp_path / "drill").mkdir()
    with source.scratch(tmp_path / "drill") as twin:
        twin.restore(parts, NoRestoreOptions())
        assert differs(facts, twin.facts()) == set()
        (place,) = (file.parent for file in (tmp_path / "drill").rglob("meta.json"))
        damage(place)
        assert noticed in differs(facts, twin.facts())
    assert os.listdir(tmp_path / "drill") == []


def test_every_vector_zeroed_changes_the_neighbours(path: Path, tmp_path: Path) -> None:
    facts, _ = captured(the_source(path), tmp_path)
    storage = path / "collection" / "docs" / "storage.sqlite"
    with contextlib.closing(sqlite3.connect(storage)) as connection:
        for key, blob in connection.execute("SELECT id, point FROM points").fetchall():
            point = pickle.loads(blob)
            zero(point)
            connection.execute("UPDATE points SET point = ? WHERE id = ?", (pickle.dumps(point), key))
        connection.commit()
    assert "collection docs: neighbours (20 probes)" in differs(facts, the_source(path).facts())


WRITER = """
    import sys
    from qdrant_client import QdrantClient, models as m
    store = QdrantClient(path=sys.argv[1])
    print("ready", flush=True)
    n = 1000
    while True:
        n += 1
        store.upsert("docs", [m.PointStruct(id=n, vector=[float(n % 7)] * 8, payload={})])
        store.upsert("mixed é%#", [m.PointStruct(id=n, vector={"dot": [float(n % 7)] * 8}, payload={})])
        if n % 5 == 0:
            store.recreate_collection("bare", vectors_config=m.VectorParams(size=2, distance=m.Distance.DOT))
"""


@contextlib.contextmanager
def process(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout
        assert other.stdout.readline().strip() == "ready"
        yield other
    finally:
        other.kill()
        other.communicate()


def test_collections_written_in_turn_are_captured_at_one_moment_while_the_owner_writes(
    path: Path, tmp_path: Path
) -> None:
    """The writer adds to one collection, then to the other: at any moment the first has at most one more."""
    with process(WRITER, path) as writer:
        for _ in range(5):
            facts, _ = captured(the_source(path), tmp_path)
            docs, mixed = facts.values["collection docs"]["points"], facts.values["collection mixed é%#"]["points"]
            assert isinstance(docs, int)
            assert isinstance(mixed, int)
            assert (docs - 61) - (mixed - 30) in (0, 1)
        assert writer.poll() is None


HOLDER = """
    import sys, time
    from qdrant_client import QdrantClient
    store = QdrantClient(path=sys.argv[1])
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_folder_that_a_client_has_open_is_not_replaced(path: Path, tmp_path: Path) -> None:
    source = the_source(path)
    _, parts = captured(source, tmp_path)
    with process(HOLDER, path) as holder, pytest.raises(BusyError, match=str(holder.pid)):
        source.restore(parts, NoRestoreOptions())
    with client(path), pytest.raises(BusyError, match="open in a Qdrant client"):  # one in this process too
        source.restore(parts, NoRestoreOptions())
    assert sorted(os.listdir(path)) == [".lock", "collection", "meta.json"]
    source.restore(parts, NoRestoreOptions())


def test_a_capture_changes_nothing_and_leaves_nothing_behind(path: Path, tmp_path: Path) -> None:
    def state() -> dict[str, tuple[bytes, int]]:
        files = [file for file in path.rglob("*") if file.is_file()]
        return {str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}

    before = state()
    captured(the_source(path), tmp_path)
    with contextlib.suppress(ZeroDivisionError), the_source(path).capture():
        raise ZeroDivisionError
    the_source(path).check()
    the_source(path).facts()
    assert state() == before
    assert os.listdir(tmp_path / "staging") == []


def test_patterns_leave_collections_out_and_their_aliases_too(path: Path, tmp_path: Path) -> None:
    source = the_source(path, collections=["*", "!doc*"])
    facts, parts = captured(source, tmp_path)
    assert {subject for subject in facts.values if subject != "store"} == {"collection mixed é%#", "collection bare"}
    target = the_source(tmp_path / "elsewhere")
    target.restore(parts, NoRestoreOptions())
    assert differs(facts, target.facts()) == set()
    with client(tmp_path / "elsewhere") as store:
        assert {one.name for one in store.get_collections().collections} == {"mixed é%#", "bare"}
        assert store.get_aliases().aliases == []


@pytest.mark.parametrize("patterns", [["nothing*"], ["docs", "absent"], ["*", "!*"]])
def test_a_pattern_that_matches_nothing_is_a_failure(path: Path, patterns: list[str]) -> None:
    with pytest.raises(EmptySourceError), the_source(path, collections=patterns).capture():
        pass


def test_a_store_without_collections_is_a_failure_unless_allowed(tmp_path: Path) -> None:
    with client(tmp_path / "store"):
        pass
    with pytest.raises(EmptySourceError, match="there is no collection"), the_source(tmp_path / "store").capture():
        pass
    facts, parts = captured(the_source(tmp_path / "store", allow_empty=True), tmp_path)
    assert [part.name for part in parts] == ["meta.json"]
    assert facts.values == {"store": {"collections": 0, "aliases": 0}}


def test_patterns_choose_by_name() -> None:
    names = ["a1", "a2", "b"]
    assert chosen(names, ["a*"]) == ["a1", "a2"]
    assert chosen(names, ["*", "!a2"]) == ["a1", "b"]
    assert chosen(names, ["!b"]) == ["a1", "a2"]
    assert chosen(names, ["b", "a1"]) == ["a1", "b"]


@pytest.mark.parametrize("name", ["../../outside", "..", ".", "a/b", "", "a\\b", "nul\0"])
def test_a_collection_whose_name_leads_outside_is_refused(path: Path, name: str) -> None:
    meta = json.loads((path / "meta.json").read_text())
    meta["collections"][name] = meta["collections"]["docs"]
    (path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(SourceError, match="no safe name"):
        the_source(path).check()


def test_a_collection_that_is_a_link_out_of_the_folder_is_refused(path: Path, tmp_path: Path) -> None:
    (path / "collection" / "bare").rename(tmp_path / "bare")
    (path / "collection" / "bare").symlink_to(tmp_path / "bare")
    with pytest.raises(SourceError, match="leads out of the folder"):
        the_source(path).check()


@pytest.mark.parametrize("meta", [b"", b"{", b"[]", b'{"collections": []}', b'{"collections": {"docs": 3}}'])
def test_a_damaged_meta_file_is_said(path: Path, meta: bytes) -> None:
    (path / "meta.json").write_bytes(meta)
    with pytest.raises(SourceError, match="damaged"), the_source(path, busy_timeout=0).capture() as capture:
        list(capture.parts())


def test_a_collection_without_its_file_is_named(path: Path) -> None:
    (path / "collection" / "bare" / "storage.sqlite").unlink()
    with pytest.raises(SourceError, match="bare"), the_source(path, busy_timeout=0).capture():
        pass


def test_what_is_no_qdrant_folder_is_said(tmp_path: Path) -> None:
    source = the_source(tmp_path / "store")
    assert not source.present()
    with pytest.raises(SourceError, match="is not there"):
        source.check()
    (tmp_path / "store").mkdir()
    with pytest.raises(SourceError, match=r"has no meta\.json"):
        source.check()


def test_a_writer_that_never_ends_is_named_as_the_reason(path: Path) -> None:
    storage = path / "collection" / "docs" / "storage.sqlite"
    with contextlib.closing(sqlite3.connect(storage, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match="held by a writer"), the_source(path, busy_timeout=0).capture():
            pass


@pytest.mark.parametrize(
    "name", ["../evil", "meta.json.tmp", "collection/a/b/storage.sqlite", "collection/../storage.sqlite"]
)
def test_parts_with_other_names_than_a_capture_gives_are_refused(path: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "evil").write_bytes(b"x")
    with pytest.raises(UnsafePathError):
        the_source(path).restore(
            [StreamPart(name, StagedFile(tmp_path / "evil", disposable=False))], NoRestoreOptions()
        )
    assert sorted(os.listdir(path)) == [".lock", "collection", "meta.json"]


def test_a_set_that_lacks_a_collection_is_not_put_in_place(path: Path, tmp_path: Path) -> None:
    source = the_source(path)
    _, parts = captured(source, tmp_path)
    before = source.facts()
    with pytest.raises(RestoreError, match="do not agree about: bare"):
        source.restore([part for part in parts if "bare" not in part.name], NoRestoreOptions())
    assert differs(before, source.facts()) == set()


def test_older_rows_of_a_point_are_not_counted(path: Path, tmp_path: Path) -> None:
    """Older clients kept a row for each spelling of a UUID; the last one written counts."""
    storage = path / "collection" / "docs" / "storage.sqlite"
    with contextlib.closing(sqlite3.connect(storage)) as connection:
        (blob,) = connection.execute("SELECT point FROM points ORDER BY rowid DESC LIMIT 1").fetchone()
        point = pickle.loads(blob)
        point.id = str(uuid.UUID(int=0xABC)).upper()
        key = base64.b64encode(pickle.dumps(point.id, protocol=4)).decode()
        connection.execute("INSERT INTO points VALUES (?, ?)", (key, pickle.dumps(point)))
        connection.commit()
    facts, _ = captured(the_source(path), tmp_path)
    docs = facts.values["collection docs"]
    assert (docs["points"], docs["outdated rows"]) == (61, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with client(path) as store:
            assert store.count("docs").count == 61


def plant(path: Path, blob: bytes) -> None:
    with contextlib.closing(sqlite3.connect(path / "collection" / "docs" / "storage.sqlite")) as connection:
        connection.execute("INSERT INTO points VALUES ('zzz', ?)", (blob,))
        connection.commit()


class Calls:
    """Pickles into a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


_MODELS = b"cqdrant_client.http.models.models\nPointStruct\n"
HOSTILE = {
    "a program": pickle.dumps(Calls(os.system, "touch PWNED")),
    "eval": pickle.dumps(Calls(eval, "open('PWNED', 'w')")),
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nVx\ntR.",
    "dotted name": b"\x80\x04\x8c\x20qdrant_client.http.models.models\x8c\x14PointStruct.__init__\x93.",
    "dunder of an admitted module": b"cuuid\nos\n.",
    "a class changed": _MODELS + b"(NVid\nVx\n\x86}Vid\nI1\nst\x86b.",
    "a subclass": _MODELS + b"(I1\ntR.",
    "persistent id": b"Pwhatever\n.",
    "extension registry": b"\x80\x02\x82\x01.",
    "no pickle": b"nonsense",
    "cut short": pickle.dumps(list(range(1000)))[:-10],
    "something else": pickle.dumps({"id": 1}),
    "huge bytes": b"\x80\x05\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",
    "huge byte array": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.",
    "huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "deep nesting": b"(" * 100_000 + b"t" * 100_000 + b".",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle_gets_nowhere(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    plant(path, HOSTILE[kind])
    with pytest.raises(SourceError, match="collection docs"), the_source(path).capture() as capture:
        list(capture.parts())
    assert os.listdir(tmp_path / "here") == []
    assert os.listdir(tmp_path / "staging") == []


def test_a_pickle_that_names_other_classes_is_refused_before_anything_is_imported() -> None:
    sys.modules.pop("antigravity", None)
    with pytest.raises(pickle.UnpicklingError, match="which no point needs"):
        read_point(b"cantigravity\nx\n.")
    assert "antigravity" not in sys.modules


def test_a_pickle_that_computes_for_ever_ends_its_process() -> None:
    """Pairs of pairs, sixty levels deep, as a key: hashing them takes 2**60 steps, all inside the unpickler."""
    code = """
        import signal
        from recoup.sources import _pickled_points
        _pickled_points.confine()
        signal.setitimer(signal.ITIMER_PROF, 0.3)
        _pickled_points.read_point(b"\\x80\\x04}()" + b"2\\x86" * 60 + b"Nu.")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGPROF


def test_payloads_of_old_clients_are_read_without_their_classes() -> None:
    from qdrant_client import models as m

    payload = {"when": dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "day": dt.date(2020, 1, 1)}
    old = m.PointStruct.model_construct(id=uuid.UUID(int=3), vector=[1.0], payload=payload)
    assert canonical_id(read_point(pickle.dumps(old)).id) == str(uuid.UUID(int=3))


@pytest.mark.parametrize("vector", [[1.0], ["x"] * SIZE, [[1.0] * SIZE], [10**400] * SIZE])
def test_a_vector_that_does_not_fit_the_collection_is_said(path: Path, vector: list[object]) -> None:
    def change(point: Any) -> None:
        point.vector = vector

    rewrite(path, "docs", change)
    with pytest.raises(SourceError, match="collection docs"):
        the_source(path).facts()


def test_settings_can_be_read_back(path: Path) -> None:
    source = the_source(path, collections=["a*"])
    assert Options.model_validate({"kind": "qdrant-local", **source.settings()}) == source.options


def test_what_reads_points_does_not_need_qdrant_client() -> None:
    code = """
        import sys
        sys.modules["qdrant_client"] = None
        from recoup.sources import _pickled_points, _qdrant_folder, qdrant_local
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


LOCK_TEST = """
    import sqlite3, sys
    c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
    try:
        c.execute("BEGIN IMMEDIATE")
        print("got in")
    except sqlite3.OperationalError as error:
        print(error)
"""


@pytest.mark.parametrize("use", ["capture", "check", "facts", "estimate", "existing"])
def test_an_application_keeps_its_locks_while_recoup_works_in_its_own_process(path: Path, use: str) -> None:
    storage = path / "collection" / "docs" / "storage.sqlite"
    source = the_source(path)
    with contextlib.closing(sqlite3.connect(storage, isolation_level=None)) as application:
        application.execute("BEGIN IMMEDIATE")
        application.execute("DELETE FROM points WHERE rowid = 1")
        if use == "capture":
            with source.capture() as capture:
                list(capture.parts())
                assert capture.facts().values["collection docs"]["points"] == 61
        else:
            getattr(source, use)()
        command = [sys.executable, "-c", textwrap.dedent(LOCK_TEST), str(storage)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert answer == "database is locked"
        application.execute("COMMIT")


KILLED = """
    import os, signal, sqlite3, sys
    c = sqlite3.connect(sys.argv[1], isolation_level=None)
    c.execute("PRAGMA cache_size = 1")
    c.execute("BEGIN IMMEDIATE")
    c.execute("UPDATE points SET point = zeroblob(20000)")
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_write_that_a_killed_client_left_half_done_is_not_captured(path: Path, tmp_path: Path) -> None:
    expected = the_source(path).facts()
    storage = path / "collection" / "docs" / "storage.sqlite"
    with process(KILLED, storage) as writer:
        writer.wait()
    assert storage.with_name("storage.sqlite-journal").stat().st_size > 0
    facts, parts = captured(the_source(path), tmp_path)
    assert differs(expected, facts) == set()
    the_source(path).restore(parts, NoRestoreOptions())
    assert differs(expected, the_source(path).facts()) == set()
