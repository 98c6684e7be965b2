"""Runs the code on the documents' pages, in the order of the page, in one folder for each page.

A comment right before a block says what is special about it: `<!-- file: NAME -->` writes it to that file,
`<!-- exit: N -->` expects that exit code, `<!-- not run: WHY -->` leaves it out, `<!-- setup: NAME -->` prepares the folder.
Blocks of `sh` and `python` are run; `text`, `yaml` and others are for reading.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from postgres_server.running import embedded_programs, running
from qdrant_server.running import Qdrant
from s3_server.buckets import Bucket

ROOT = Path(__file__).parents[2]
INSTALLED = str(Path(sys.executable).parent)
PAGES = [
    "docs/tutorial/first-backup.md",
    "docs/howto/restore.md",
    "docs/howto/encryption.md",
    "docs/howto/dedup.md",
    "docs/howto/dedup-cache.md",
    "docs/howto/dedup-space.md",
    "docs/howto/dedup-keys.md",
    "docs/howto/service.md",
    "docs/howto/keyed.md",
    "docs/howto/repositories.md",
    "docs/howto/sets.md",
    "docs/howto/schedule.md",
    "docs/howto/install-schedule.md",
    "docs/howto/watch.md",
    "docs/howto/notices.md",
    "docs/howto/streamlit.md",
    "docs/howto/web-access.md",
    "README.md",
]

STARTED_SLOWLY = ("docs/tutorial/first-backup.md", "README.md")
"""Pages whose commands are the installed ones."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<order>file|exit|not run|setup): (?P<value>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"|^<!-- setup: (?P<setup>\w+) -->$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    line: int
    language: str
    code: str
    order: str
    value: str


def blocks(text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["setup"]:
            yield Block(line, "", "", "setup", found["setup"])
        else:
            yield Block(line, found["language"], found["code"], found["order"] or "", found["value"] or "")


def demo_stack(folder: Path) -> None:
    """The demo's stack, small, with one set in its repository."""
    from recoup.app import open_stack
    from recoup.demo import stack
    from recoup.demo.documents import Document
    from recoup.demo.embedding import Embedder, hashed

    kinds = ("module", "class", "function")
    documents = [Document(n, f"pages.p{n}", f"pages{n // 10}", kinds[n % 3], f"Page {n}.") for n in range(60)]
    stack.prepare_folder(folder)
    stack.build(folder, Embedder("hashing", real=False, embed=hashed), documents)
    opened = open_stack([folder / stack.CONFIG])
    opened.create_repositories()
    assert opened.backup().exit_code == 0


def docmind(folder: Path) -> None:
    """The folder of the document assistant."""
    example("docmind", folder)


def citadel(folder: Path) -> None:
    """The folder of the vector server."""
    example("citadel", folder)


def selfrag(folder: Path) -> None:
    """The folder of the assistant with PostgreSQL."""
    example("selfrag", folder)


def cloudops(folder: Path) -> None:
    """The folder of the service's backups."""
    example("cloudops", folder)


def example(name: str, folder: Path) -> None:
    for part in ("recoup.yaml", "config", "s3.yaml", "compose.yaml", "make_data.py", "scripts", "cloudops_backup"):
        source = ROOT / "examples" / name / part
        if source.exists():
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)


def sources(folder: Path) -> None:
    """An application's folder, without a configuration."""
    (folder / "data/uploads").mkdir(parents=True)
    (folder / "data/uploads/letter.txt").write_text("Dear reader\n")
    with closing(sqlite3.connect(folder / "data/chat.db")) as chat, chat:
        chat.execute("CREATE TABLE messages (text)")
        chat.execute("INSERT INTO messages VALUES ('hello')")


SETUPS: dict[str, Callable[[Path], None]] = {
    "demo": demo_stack,
    "docmind": docmind,
    "citadel": citadel,
    "selfrag": selfrag,
    "cloudops": cloudops,
    "sources": sources,
}


def run(block: Block, folder: Path, programs: Path, **settings: str) -> None:
    """Does what a block says.

    Args:
        programs: where `python` and `recoup` are.
    """
    if block.order == "setup":
        SETUPS[block.value](folder)
    elif block.order == "file":
        (folder / block.value).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.value).write_text(block.code)
    elif block.order != "not run" and block.language in ("sh", "python"):
        command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [str(programs / "python"), "-c"]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("RECOUP")}
        environ |= {"XDG_STATE_HOME": str(folder.with_name("state")), **settings}
        environ["PATH"] = os.pathsep.join((str(programs), INSTALLED, environ["PATH"]))
        done = subprocess.run(
            [*command, block.code], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        expected = int(block.value) if block.order == "exit" else 0
        assert done.returncode == expected, f"line {block.line}:\n{block.code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_the_page_runs_as_it_stands(page: str, preloaded: Path, tmp_path: Path) -> None:
    found = list(blocks((ROOT / page).read_text(encoding="utf-8")))
    assert any(block.language in ("sh", "python") for block in found)
    folder = tmp_path / "page"  # beside it lies what the machine remembers of its stacks
    folder.mkdir()
    programs = Path(INSTALLED) if page in STARTED_SLOWLY else preloaded
    for block in found:
        run(block, folder, programs)


@pytest.fixture
def documents(qdrant: Qdrant) -> Qdrant:
    """The collection of the page on Qdrant."""
    vectors = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2}
    points = [
        {"id": n, "vector": [n / 10, 1.0, n % 7, -0.5], "payload": {"n": n, "kind": ("page", "note")[n % 2]}}
        for n in range(200)
    ]
    qdrant.ask("PUT", "/collections/documents", vectors)
    qdrant.ask("PUT", "/collections/documents/points", {"points": points}, wait="true")
    index = {"field_name": "kind", "field_schema": "keyword"}
    qdrant.ask("PUT", "/collections/documents/index", index, wait="true")
    alias = {"create_alias": {"collection_name": "documents", "alias_name": "search"}}
    qdrant.ask("POST", "/collections/aliases", {"actions": [alias]})
    return qdrant


@pytest.mark.slow
@pytest.mark.requirement("DM-14")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_page_of_the_document_assistant_runs_as_it_stands(qdrant: Qdrant, preloaded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    for block in blocks((ROOT / "examples/docmind/README.md").read_text(encoding="utf-8")):
        run(block, folder, preloaded, DOCMIND_QDRANT__URL=qdrant.url)


@pytest.mark.slow
@pytest.mark.requirement("CI-4", "CI-7", "CI-14")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_page_of_the_vector_server_runs_as_it_stands(qdrant: Qdrant, preloaded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    settings = {
        "QDRANT_URL": qdrant.url,
        "RECOUP_CONFIG": str(folder / "config/backup.yaml"),
        "QDRANT_BACKUP_PATH": str(folder / "backups"),
        "QDRANT_BACKUP_LOG": str(folder / "logs/backup.log"),
    }
    for block in blocks((ROOT / "examples/citadel/README.md").read_text(encoding="utf-8")):
        run(block, folder, preloaded, **settings)


@pytest.mark.slow
@pytest.mark.requirement("CO-4", "CO-11", "CO-19")
def test_the_page_of_the_service_runs_as_it_stands(
    qdrant: Qdrant, bucket: Bucket, preloaded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    settings = {
        "QDRANT_URL": qdrant.url,
        "CLOUDOPS_DATA": str(tmp_path / "data"),
        "CLOUDOPS_BUCKET": bucket.name,
        "RECOUP__REPOSITORIES__S3__STORAGE__ENDPOINT": bucket.endpoint,
        "AWS_ACCESS_KEY_ID": bucket.account.access_key,
        "AWS_SECRET_ACCESS_KEY": bucket.account.secret_key,
    }
    for block in blocks((ROOT / "examples/cloudops/README.md").read_text(encoding="utf-8")):
        run(block, folder, preloaded, **settings)


@pytest.mark.slow
@pytest.mark.requirement("SR-8", "SR-13", "SR-15", "SR-17", "SR-19")
@pytest.mark.skipif(shutil.which("gpg") is None, reason="the page uses gpg")
def test_the_page_of_the_example_with_postgresql_runs_as_it_stands(
    qdrant: Qdrant, preloaded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    with running(embedded_programs()) as server:
        server.create("selfrag_db")
        path = os.pathsep.join((str(server.programs), os.environ["PATH"]))
        settings = {"DATABASE_URL": server.url("selfrag_db"), "QDRANT_URL": qdrant.url, "PATH": path}
        for block in blocks((ROOT / "examples/selfrag/README.md").read_text(encoding="utf-8")):
            run(block, folder, preloaded, **settings)
        assert {"selfrag_db", "selfrag_before", "selfrag_emergency"} <= server.databases()


@pytest.mark.slow
@pytest.mark.requirement("DM-14")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_page_on_qdrant_runs_as_it_stands(documents: Qdrant, preloaded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    for block in blocks((ROOT / "docs/howto/qdrant.md").read_text(encoding="utf-8")):
        run(block, folder, preloaded, QDRANT_URL=documents.url)


ALL_PAGES = sorted(path for place in (".", "docs/**", "examples/*") for path in ROOT.glob(f"{place}/*.md"))


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in ALL_PAGES])
def test_every_link_to_another_page_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    lost = [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()]
    assert lost == []
