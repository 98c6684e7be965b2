import contextlib
import http.server
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.config import _landscape
from recoup.config.discover import Found, discover, render, stack_name
from recoup.config.loading import Loaded, load
from recoup.sources._base import SourceOptions

NOBODY = 1
"""A port on which nothing of this machine answers."""


def sqlite_at(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("create table messages (text)")
    connection.commit()
    connection.close()


def duckdb_at(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(str(path))
    connection.execute("create table documents (text varchar)")
    connection.close()


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def look(folder: Path, environ: dict[str, str] | None = None) -> Found:
    return discover(folder, environ or {}, NOBODY)


def loaded(folder: Path, found: Found) -> Loaded:
    (folder / "recoup.yaml").write_text(render(found, stack_name(folder)))
    return load([], [], {}, folder)


def place(options: SourceOptions) -> str:
    return str(options.model_dump()["path"])


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    folder = tmp_path / "my stack"
    duckdb_at(folder / "cache" / "docmind.duckdb")
    sqlite_at(folder / "data" / "chat.db")
    write(folder / "data" / "qdrant" / "meta.json", '{"collections": {}, "aliases": {}}')
    sqlite_at(folder / "data" / "qdrant" / "collection" / "documents" / "storage.sqlite")
    write(folder / "data" / "storage" / "CURRENT", "v1")
    write(folder / "data" / "storage" / "v1" / "index")
    write(folder / "data" / "uploads" / "one.pdf")
    write(folder / ".env", "DATABASE_URL=postgresql://me:planted@db.example/app?password=planted\nHF_TOKEN=planted\n")
    return folder


def test_each_store_becomes_a_source_of_its_kind_and_the_file_can_be_loaded(stack: Path) -> None:
    sources = loaded(stack, look(stack)).sources
    assert {name: (options.kind, place(options)) for name, options in sources.items()} == {
        "qdrant": ("qdrant-local", "data/qdrant"),
        "docmind": ("duckdb", "cache/docmind.duckdb"),
        "chat": ("sqlite", "data/chat.db"),
        "storage": ("files", "data/storage"),
        "uploads": ("files", "data/uploads"),
        "env": ("files", ".env"),
    }
    assert sources["storage"].model_dump(mode="json")["pointers"] == ["CURRENT"]
    assert sources["env"].optional


def test_paths_in_the_file_are_relative(stack: Path) -> None:
    assert str(stack) not in render(look(stack), "a")


def test_a_folder_with_files_of_its_own_leaves_out_what_others_take(stack: Path) -> None:
    write(stack / "data" / "note [1].txt")
    source = next(source for source in look(stack).sources if source.path == "data")
    assert "/chat.db" in source.settings["exclude"]
    assert "/chat.db-wal" in source.settings["exclude"]
    assert "/qdrant/" in source.settings["exclude"]
    assert "/chat.db.before-restore-*" in source.settings["exclude"], "what a restore keeps is in no later backup"
    assert look(stack).repository == "backups"


@pytest.mark.requirement("DM-11")
def test_what_cannot_be_backed_up_is_told_without_secrets(stack: Path) -> None:
    write(
        stack / "compose.yaml",
        "services:\n  q: {image: 'qdrant/qdrant:v1.15'}\n  app: {environment: {QDRANT_URL: 'http://:planted@q:6333'}}\n",
    )
    text = render(look(stack, {"POSTGRES_URL": "postgres://u:planted@h/x"}), "a")
    assert "planted" not in text
    assert "# - PostgreSQL: postgresql://db.example/app, DATABASE_URL in .env." in text
    assert "# - PostgreSQL: postgres://h/x, POSTGRES_URL in the environment." in text
    assert "# - Qdrant: service q (qdrant/qdrant:v1.15), compose.yaml." in text
    assert "# - Qdrant: http://q:6333, QDRANT_URL in compose.yaml." in text


def test_a_database_of_this_machine_becomes_a_source_without_its_password(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}/app"
        url = f"postgresql+asyncpg://me:planted@{address}"
        write(tmp_path / ".env", f"DATABASE_URL={url}\nOTHER_DSN={url}\n")
        found = look(tmp_path)
        assert [(source.kind, source.name) for source in found.sources] == [("postgres", "app"), ("files", "env")]
        assert "planted" not in render(found, "a")
        assert loaded(tmp_path, found).sources["app"].model_dump()["url"] == url
    assert [source.kind for source in look(tmp_path).sources] == ["files"], "what does not answer is told of"
    assert "DATABASE_URL in .env. It does not answer here" in " ".join(look(tmp_path).others)


def test_a_database_file_that_a_url_names_becomes_a_source(tmp_path: Path) -> None:
    sqlite_at(tmp_path / "odd-name")
    sqlite_at(tmp_path / "inner" / "other")
    found = look(
        tmp_path,
        {"DATABASE_URL": "sqlite+aiosqlite:///./odd-name?cache=shared", "B_URL": f"sqlite:///{tmp_path}/inner/other"},
    )
    assert {(source.kind, source.path) for source in found.sources} == {
        ("sqlite", "odd-name"),
        ("sqlite", "inner/other"),
    }


def test_files_are_told_by_their_first_bytes_and_not_by_their_names(tmp_path: Path) -> None:
    sqlite_at(tmp_path / "a.duckdb")
    duckdb_at(tmp_path / "b.db")
    write(tmp_path / "c.sqlite3", "nothing of the kind")
    write(tmp_path / "d.db", "")
    found = look(tmp_path)
    assert {(source.path, source.kind) for source in found.sources} == {("a.duckdb", "sqlite"), ("b.db", "duckdb")}
    assert sum("named like a database" in other for other in found.others) == 2


@pytest.mark.parametrize(
    "folder", [".git", "node_modules", "venv", ".venv", "__pycache__", "restored_backup_20260101_000000"]
)
def test_what_programs_install_is_passed_by(tmp_path: Path, folder: str) -> None:
    sqlite_at(tmp_path / folder / "x.db")
    assert look(tmp_path).sources == ()


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "recoup-repository.json"])
def test_environments_and_repositories_are_passed_by(tmp_path: Path, mark: str) -> None:
    sqlite_at(tmp_path / "data" / "x.db")
    write(tmp_path / "data" / mark)
    assert look(tmp_path).sources == ()


def test_links_are_not_followed(tmp_path: Path) -> None:
    sqlite_at(tmp_path / "elsewhere" / "x.db")
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "data").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "stack" / "y.db").symlink_to(tmp_path / "elsewhere" / "x.db")
    assert look(tmp_path / "stack").sources == ()


def test_the_storage_of_a_qdrant_server_is_told_and_not_copied(tmp_path: Path) -> None:
    write(tmp_path / "storage" / "raft_state.json")
    write(tmp_path / "storage" / "collections" / "a" / "config.json")
    found = look(tmp_path)
    assert found.sources == ()
    assert "must not be copied while it runs" in found.others[0]


def test_a_look_around_ends_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite_at(tmp_path / "a" / "b" / "c" / "d" / "e" / "f" / "x.db")
    assert any("more here than was looked at" in other for other in look(tmp_path).others)
    monkeypatch.setattr(_landscape, "_MOST_ENTRIES", 3)
    write(tmp_path / "1")
    write(tmp_path / "2")
    write(tmp_path / "3")
    assert any("more here than was looked at" in other for other in look(tmp_path).others)


def test_two_stores_of_one_name_get_two_names(tmp_path: Path) -> None:
    sqlite_at(tmp_path / "a" / "Chat.db")
    sqlite_at(tmp_path / "b" / "chat.db")
    assert sorted(source.name for source in look(tmp_path).sources) == ["Chat", "chat-2"]
    assert len(loaded(tmp_path, look(tmp_path)).sources) == 2


def test_an_env_file_that_is_none_does_not_spoil_the_configuration(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff")
    assert loaded(tmp_path, look(tmp_path)).settings.env_file is None


def test_a_broken_compose_file_is_told(tmp_path: Path) -> None:
    write(tmp_path / "docker-compose.yml", "services: [")
    assert look(tmp_path).others[0].startswith("docker-compose.yml:")


def test_an_empty_folder_gives_a_file_that_loads_and_warns(tmp_path: Path) -> None:
    assert loaded(tmp_path, look(tmp_path)).warnings == ("no sources are configured: there is nothing to back up.",)


names = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200) | st.sampled_from(
    ["~", "~root", "${X}", "$$", "- a", "a: b", "#", "'", '"', "\n", "*", "[!a]", "null", "\x85"]
)


@settings(max_examples=60, deadline=None)
@given(name=names)
def test_any_name_of_a_file_gives_a_configuration_that_finds_it(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("names")
    sqlite_at(folder / "origin.db")
    (folder / "origin.db").rename(folder / f"{name}.db")
    write(folder / "data" / "rest.txt")
    (folder / "data" / f"{name}.db").write_bytes((folder / f"{name}.db").read_bytes())
    sources = loaded(folder, look(folder)).sources
    paths = {Path(place(options)) for options in sources.values()}
    assert {Path(f"{name}.db"), Path("data", f"{name}.db"), Path("data")} == paths


class Qdrant(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"title":"qdrant - vector search engine","version":"1.15.0"}')

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Qdrant)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.requirement("CI-4")
def test_a_qdrant_server_of_this_machine_becomes_a_source(tmp_path: Path, port: int) -> None:
    found = discover(tmp_path, {"QDRANT_URL": f"http://localhost:{port}/", "QDRANT_API_KEY": "planted"}, port)
    text = render(found, "a")
    assert found.others == ()
    assert "planted" not in text
    (options,) = loaded(tmp_path, found).sources.values()
    assert options.kind == "qdrant"
    assert options.model_dump()["url"] == f"http://127.0.0.1:{port}"
    assert 'api_key: "${QDRANT_API_KEY:-}"' in text


def test_a_qdrant_server_at_another_port_is_found_by_its_variable(tmp_path: Path, port: int) -> None:
    write(tmp_path / ".env", f"QDRANT_URL=http://127.0.0.1:{port}\n")
    found = look(tmp_path)
    assert [source.path for source in found.sources if source.kind == "qdrant"] == [f"http://127.0.0.1:{port}"]


def test_a_qdrant_server_elsewhere_is_told_and_not_contacted(tmp_path: Path) -> None:
    (other,) = look(tmp_path, {"QDRANT_URL": "https://qdrant.example:6333"}).others
    assert other.startswith("Qdrant: https://qdrant.example:6333, QDRANT_URL in the environment.")
    assert "allow_remote: true" in other
