import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from recoup.demo import stack
from recoup.demo.damage import WRONG_FILTER, damage, look
from recoup.demo.documents import Document, standard_library
from recoup.demo.embedding import DIMENSIONS, Embedder, best_embedder, hashed
from recoup.demo.search import Answers, ask
from recoup.errors import RefusedError


@pytest.fixture(scope="module")
def documents() -> tuple[Document, ...]:
    return standard_library()


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return best_embedder()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, documents: tuple[Document, ...]) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    stack.prepare_folder(folder)
    stack.build(folder, embedder, documents)
    return folder


@pytest.fixture
def folder(tmp_path: Path, pristine: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "stack")


def test_the_documents_are_thousands_of_titled_docstrings_numbered_in_order(documents: tuple[Document, ...]) -> None:
    assert len(documents) > 5000
    assert [d.id for d in documents] == list(range(len(documents)))
    assert all(d.text and d.title.startswith(d.module) for d in documents)
    assert {d.kind for d in documents} == {"module", "class", "function"}


def test_private_names_and_tests_are_no_documents(documents: tuple[Document, ...]) -> None:
    last = [d.title.removeprefix(d.module).split(".")[-1] for d in documents if d.kind != "module"]
    assert not [name for name in last if name.startswith("_") and not name.startswith("__")]
    assert not [d for d in documents if d.module.split(".")[0] in {"test", "idlelib"}]


def test_a_document_is_what_the_interpreter_shows(documents: tuple[Document, ...]) -> None:
    import inspect
    import json

    found = {d.title: d.text for d in documents}
    assert found["json.dumps"] == inspect.getdoc(json.dumps)


def test_the_wheels_own_weights_bring_like_closer_than_unlike(embedder: Embedder) -> None:
    assert embedder.real
    vectors = embedder.embed(["open a zip archive", "read compressed files", "the weather in spring"])
    assert vectors.shape == (3, DIMENSIONS)
    near, far = (float(vectors[0] @ v / (vectors[0] @ vectors[0] * (v @ v)) ** 0.5) for v in vectors[1:])
    assert near > far


def test_without_wordllama_words_are_hashed_and_the_embedder_says_so() -> None:
    program = (
        "import sys; sys.modules['wordllama'] = None\n"
        "from recoup.demo.embedding import best_embedder\n"
        "e = best_embedder(); print(e.real, e.name, e.embed(['some words']).any())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False feature hashing of words True"


def test_hashed_vectors_depend_on_words_alone() -> None:
    first, second, other = hashed(["Open the archive", "the open ARCHIVE!", "close a door"])
    assert (first == second).all()
    assert not (first == other).all()


def test_without_the_qdrant_client_the_demo_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['qdrant_client'] = None\n"
        "from recoup.demo.stack import require_qdrant\n"
        "from recoup.errors import UsageError\n"
        "try: require_qdrant()\n"
        "except UsageError as error: print(error.message, error.hint, int(error.exit_code))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "recoup[demo]" in done.stdout
    assert done.stdout.strip().endswith(" 2")


def test_a_folder_with_somebodys_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RefusedError, match="was not made by the demo"):
        stack.prepare_folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_or_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        with pytest.raises(RefusedError, match="is not a folder"):
            stack.prepare_folder(tmp_path / name)


def test_the_demos_own_folder_is_emptied_for_the_next_run(tmp_path: Path) -> None:
    stack.prepare_folder(tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "old.duckdb").write_text("old")
    stack.prepare_folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [stack.MARKER]


def test_every_store_is_hit_and_the_search_shows_it(folder: Path, embedder: Embedder) -> None:
    before, answers = look(folder), ask(folder, embedder)
    assert before.documents == before.points
    assert before.current == "snapshot-0002"
    assert not answers.problem
    assert all(hit.text and hit.title.split(".")[0] in WRONG_FILTER for hit in answers.hits)
    assert ask(folder, embedder) == answers

    sentences = damage(folder)

    assert [s.partition(":")[0] for s in sentences] == ["DuckDB", "SQLite", "Qdrant", "uploads"]
    after = look(folder)
    assert after.documents is None
    assert after.messages is None
    assert after.points < before.points
    assert after.uploads != before.uploads
    broken: Answers = ask(folder, embedder)
    assert broken.problem
    assert not {hit.title for hit in broken.hits} & {hit.title for hit in answers.hits}


def test_the_stack_has_the_stores_of_a_real_one(folder: Path, documents: tuple[Document, ...]) -> None:
    with duckdb.connect(str(folder / stack.DOCUMENTS), read_only=True) as connection:
        rows = connection.execute("SELECT id, title, module, kind, text FROM documents ORDER BY id").fetchall()
    assert rows == [(d.id, d.title, d.module, d.kind, d.text) for d in documents]
    with closing(sqlite3.connect(folder / stack.CHAT)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM messages").fetchone()[0] > 1000
    assert (folder / stack.UPLOADS / "snapshot-0002" / "manifest.json").is_file()
