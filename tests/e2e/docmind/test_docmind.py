import ast
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import jsonschema
import pytest

from qdrant_server.running import Qdrant

from .conftest import EXAMPLE, DocMind

EVERYTHING = ("--include-uploads", "--include-analytics", "--include-logs")


# --- DM-2, DM-3: the script and its flags ---------------------------------------------------------------------------


@pytest.mark.requirement("DM-2")
def test_the_help_lists_both_commands(docmind: DocMind) -> None:
    done = docmind.run("--help")
    assert done.returncode == 0
    assert "create-backup" in done.stdout
    assert "prune-backups" in done.stdout


@pytest.mark.requirement("DM-2")
def test_the_script_is_thin_it_imports_the_library_and_no_engine() -> None:
    tree = ast.parse((EXAMPLE / "scripts/backup.py").read_text())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imports | origins <= {"argparse", "json", "pathlib", "recoup", "sys"}


@pytest.mark.requirement("DM-3")
@pytest.mark.requirement("DM-4")
@pytest.mark.requirement("DM-5")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"cache", "storage", "env", "vectors"}),
        (["--include-uploads"], {"cache", "storage", "env", "vectors", "uploads"}),
        (["--include-analytics"], {"cache", "storage", "env", "vectors", "analytics"}),
        (["--include-logs"], {"cache", "storage", "env", "vectors", "logs"}),
        (["--no-qdrant-snapshot"], {"cache", "storage", "env"}),
        (["--qdrant-snapshot", "--no-include-env"], {"cache", "storage", "vectors"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_flag_changes_what_the_manifest_lists(with_qdrant: DocMind, flags: list[str], expected: set[str]) -> None:
    made = with_qdrant.create(*flags)
    assert with_qdrant.included(made) == expected


@pytest.mark.requirement("DM-3")
def test_where_no_qdrant_answers_the_vectors_are_left_out_unless_asked_for(docmind: DocMind) -> None:
    assert "vectors" not in docmind.included(docmind.create())
    done = docmind.run("create-backup", "--qdrant-snapshot")
    assert done.returncode == 3
    assert "vectors" in done.stderr


@pytest.mark.requirement("DM-3")
def test_another_destination_is_used_as_given(docmind: DocMind, tmp_path: Path) -> None:
    elsewhere = tmp_path / "usb stick: backups #1"
    made = docmind.create("--dest", str(elsewhere), dest=elsewhere)
    assert made.parent == elsewhere
    inside = docmind.create("--dest", "kept here", dest=docmind.root / "kept here")
    assert inside.parent == docmind.root / "kept here"
    assert not docmind.backups.exists()


@pytest.mark.requirement("DM-3")
@pytest.mark.parametrize("number", ["0", "-1", "seven"])
def test_a_senseless_number_to_keep_is_a_usage_error(docmind: DocMind, number: str) -> None:
    assert docmind.run("create-backup", f"--keep-last={number}").returncode == 2
    assert not docmind.backups.exists()


# --- DM-4, DM-5, DM-14: what comes back ------------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, tuple[str, int, bytes]]:
    """Name to kind, mode and bytes."""
    return {
        path.relative_to(folder).as_posix(): (
            "folder" if path.is_dir() else "file",
            stat.S_IMODE(path.stat().st_mode),
            b"" if path.is_dir() else path.read_bytes(),
        )
        for path in sorted(folder.rglob("*"))
    }


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table of a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in sorted(tables)}


@pytest.mark.requirement("DM-4")
@pytest.mark.requirement("DM-5")
@pytest.mark.requirement("DM-14")
def test_the_restored_tree_equals_the_source_and_current_points_right(docmind: DocMind, tmp_path: Path) -> None:
    docmind.create(*EVERYTHING)
    logs = tree(docmind.root / "logs")
    done = docmind.recoup("restore", "latest", "--target", str(tmp_path / "back"))
    assert done.returncode == 0, done.stderr
    back = tmp_path / "back"
    assert tree(back / "storage") == tree(docmind.root / "data/storage")
    assert tree(back / "uploads") == tree(docmind.root / "data/uploads")
    assert (back / "storage" / (back / "storage/CURRENT").read_text().strip() / "manifest.json").is_file()
    assert (back / "env/.env").read_bytes() == (docmind.root / ".env").read_bytes()
    assert rows(back / "cache/docmind.duckdb") == rows(docmind.root / "cache/docmind.duckdb")
    assert rows(back / "analytics/analytics.duckdb") == rows(docmind.root / "data/analytics/analytics.duckdb")
    assert (back / "logs/docmind.log").read_bytes() == logs["docmind.log"][2]


@pytest.mark.requirement("DM-14")
def test_a_restore_in_place_brings_back_what_was_harmed(docmind: DocMind) -> None:
    storage, cache = tree(docmind.root / "data/storage"), rows(docmind.root / "cache/docmind.duckdb")
    docmind.create()
    (docmind.root / "data/storage/CURRENT").write_text("nowhere")
    (docmind.root / "cache/docmind.duckdb").write_bytes(b"harmed")
    (docmind.root / ".env").unlink()
    done = docmind.recoup("restore", "latest", "--in-place", "--yes")
    assert done.returncode == 0, done.stderr
    assert tree(docmind.root / "data/storage") == storage
    assert rows(docmind.root / "cache/docmind.duckdb") == cache
    assert (docmind.root / ".env").is_file()


# --- DM-7: the manifest ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("DM-6")
@pytest.mark.requirement("DM-7")
def test_the_manifests_say_when_what_and_from_where_was_captured(with_qdrant: DocMind, qdrant: Qdrant) -> None:
    from recoup.model.manifest import decode

    made = with_qdrant.create()
    manifest = decode((made / "manifest.json").read_bytes(), "manifest.json")
    vectors = manifest.sources["vectors"]
    assert vectors.kind == "qdrant"
    assert vectors.facts is not None
    assert vectors.facts.values["collection docmind_docs"]["points"] == 320
    assert manifest.started <= manifest.finished
    assert manifest.outcome == "complete"
    assert made.name == manifest.name
    done = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout

    beside = json.loads((made / "vectors/docmind_docs/collection.json").read_text())
    schema = json.loads(with_qdrant.recoup("config", "schema", "--collection").stdout)
    jsonschema.validate(beside, schema)
    (snapshot,) = (made / "vectors/docmind_docs").glob("*.snapshot")
    assert (beside["name"], beside["method"]) == ("docmind_docs", "collection")
    assert {shard["part"] for shard in beside["shards"]} == {f"docmind_docs/{snapshot.name}"}
    assert {shard["node"] for shard in beside["shards"]} == {qdrant.url}
    assert manifest.started.isoformat() <= beside["shards"][0]["first"]
    assert qdrant.ask("GET", "/collections/docmind_docs/snapshots") == []


@pytest.mark.requirement("DM-14")
@pytest.mark.requirement("CO-18")
def test_a_restore_in_place_brings_back_deleted_vectors(with_qdrant: DocMind, qdrant: Qdrant) -> None:
    with_qdrant.create("--no-include-env")
    condition = {"filter": {"must": [{"key": "document", "match": {"value": "taxes/3.pdf"}}]}}
    qdrant.ask("POST", "/collections/docmind_docs/points/delete", condition, wait="true")
    assert points(qdrant) == 312
    done = with_qdrant.recoup("restore", "latest", "--source", "vectors", "--in-place", "--yes")
    assert done.returncode == 0, done.stderr
    assert points(qdrant) == 320
    assert "vectors" in with_qdrant.included(with_qdrant.create("--no-include-env"))  # its name is an alias by now


def points(qdrant: Qdrant) -> int:
    return int(qdrant.ask("POST", "/collections/docmind_docs/points/count", {"exact": True})["count"])


# --- DM-8, DM-12: rotation and failure -------------------------------------------------------------------------------


@pytest.mark.requirement("DM-8")
def test_of_n_plus_2_backups_the_newest_n_stay(docmind: DocMind) -> None:
    made = [docmind.create("--no-qdrant-snapshot", "--keep-last", "2") for _ in range(4)]
    assert docmind.sets() == made[-2:]


@pytest.mark.requirement("DM-8")
@pytest.mark.requirement("DM-3")
def test_the_setting_says_how_many_stay_when_no_flag_does(docmind: DocMind) -> None:
    with (docmind.root / ".env").open("a") as env:
        env.write("BACKUP_KEEP_LAST=1\n")
    docmind.create("--no-qdrant-snapshot")
    newest = docmind.create("--no-qdrant-snapshot")
    assert docmind.sets() == [newest]


@pytest.mark.requirement("DM-8")
def test_pruning_by_hand_keeps_the_newest(docmind: DocMind) -> None:
    made = [docmind.create("--no-qdrant-snapshot") for _ in range(3)]
    done = docmind.run("prune-backups", "--keep-last", "1")
    assert done.returncode == 0
    assert docmind.sets() == made[-1:]
    assert "2 removed, 1 kept" in done.stdout


@pytest.mark.requirement("DM-8")
@pytest.mark.requirement("DM-12")
@pytest.mark.parametrize("harm", ["missing", "garbage", "folder missing"])
def test_a_failing_step_leaves_all_old_backups_and_exits_non_zero(docmind: DocMind, harm: str) -> None:
    old = [docmind.create("--no-qdrant-snapshot", "--keep-last", "5") for _ in range(2)]
    cache = docmind.root / "cache/docmind.duckdb"
    if harm == "missing":
        cache.unlink()
    elif harm == "garbage":
        cache.write_bytes(b"this is no database" * 500)
    else:
        shutil.rmtree(docmind.root / "data/storage")
    done = docmind.run("create-backup", "--no-qdrant-snapshot", "--keep-last", "1")
    assert done.returncode == 3
    assert ("storage" if harm == "folder missing" else "cache") in done.stderr
    assert set(old) < set(docmind.sets())
    assert docmind.manifest(docmind.sets()[-1])["outcome"] == "incomplete"
    assert [set(event) for event in docmind.events()].count({"deleted_count", "keep_last"}) == 2


# --- DM-9: events ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DM-9")
def test_each_backup_and_prune_leaves_one_line_with_the_exact_keys(docmind: DocMind) -> None:
    made = [docmind.create("--keep-last", "1") for _ in range(2)]
    first, first_prune, second, second_prune = docmind.events()
    assert list(first) == list(second) == ["path", "included", "bytes_written", "duration_ms"]
    assert list(first_prune) == list(second_prune) == ["deleted_count", "keep_last"]
    assert second["path"] == str(made[1])
    assert sorted(second["included"]) == ["cache", "env", "storage"]
    assert second["bytes_written"] > 100_000
    assert second_prune == {"deleted_count": 1, "keep_last": 1}


# --- DM-10: destinations ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("DM-10")
@pytest.mark.parametrize(
    "hostile",
    ["../outside", "data/../../outside", "data/link", "data/link/backups", "{root}/data/link/x", "{root}/../outside"],
)
def test_a_hostile_destination_is_refused_and_nothing_is_written(
    docmind: DocMind, tmp_path: Path, hostile: str
) -> None:
    (tmp_path / "outside").mkdir()
    (docmind.root / "data/link").symlink_to(tmp_path / "outside")
    before = tree(docmind.root)
    done = docmind.run("create-backup", "--dest", hostile.format(root=docmind.root))
    assert done.returncode == 13
    assert done.stderr.startswith("Error: the destination")
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "outside").iterdir()) == []
    assert tree(docmind.root) == before


@pytest.mark.requirement("DM-1")
@pytest.mark.requirement("DM-10")
@pytest.mark.parametrize("hostile", ["s3://bucket/backups", "https://user:hunter22@example.com/x"])
def test_a_remote_destination_is_not_taken_for_a_folder(docmind: DocMind, hostile: str) -> None:
    done = docmind.run("create-backup", "--dest", hostile)
    assert done.returncode == 13
    assert done.stderr.startswith("Error: the destination is a URL")
    assert "hunter22" not in done.stderr
    assert not list(docmind.root.rglob("*:*"))


# --- DM-11: secrets --------------------------------------------------------------------------------------------------

SECRETS = {
    "DOCMIND_LLM_API_KEY": "sk-planted-11aa22bb33",
    "DOCMIND_DATABASE_PASSWORD": "planted pass/word+44",
    "DOCMIND_QDRANT__API_KEY": "qd-planted-55cc66dd",
    "HF_TOKEN": "hf_planted_77ee88ff",
}


@pytest.mark.requirement("DM-11")
def test_no_planted_secret_is_printed_logged_or_stored_in_a_manifest(with_qdrant: DocMind) -> None:
    docmind = with_qdrant
    (docmind.root / ".env").write_text("".join(f'{key}="{value}"\n' for key, value in SECRETS.items()))
    secret = SECRETS["DOCMIND_LLM_API_KEY"]
    printed = [docmind.run("create-backup"), docmind.run("create-backup", *EVERYTHING)]
    printed.append(docmind.recoup("backup", "--note", f"token={secret}", "--tag", f"key={secret}", **SECRETS))
    printed.append(docmind.recoup("--set", f"sources.cache.path=cache/{secret}", "backup", **SECRETS))
    printed.append(docmind.recoup("config", "show", **SECRETS))
    printed.append(docmind.recoup("--set", f"stack=x{secret}/", "list", **SECRETS))
    assert len(docmind.sets()) == 4

    written = [path for path in docmind.backups.rglob("*") if path.is_file() and path.name != ".env"]
    written += [path for path in (docmind.root / "logs").iterdir() if path.suffix in (".jsonl", ".log")]
    texts = {str(path): path.read_bytes() for path in written if path.suffix != ".duckdb"}
    texts |= {f"output {n}": (done.stdout + done.stderr).encode() for n, done in enumerate(printed)}
    leaks = [(where, key) for where, text in texts.items() for key, s in SECRETS.items() if s.encode() in text]
    assert leaks == []


# --- DM-1: offline ---------------------------------------------------------------------------------------------------


def internet_calls(docmind: DocMind, *arguments: str) -> list[str]:
    """The calls to internet addresses, but Qdrant's, that a whole process tree made, as strace saw them."""
    log = docmind.root.parent / "calls"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]
    done = docmind.start([*command, sys.executable, *arguments])
    assert done.returncode == 0, done.stderr
    own = f'sin_port=htons({urlsplit(docmind.url).port}), sin_addr=inet_addr("127.0.0.1")'
    return [line for line in log.read_text().splitlines() if "AF_INET" in line and own not in line]


@pytest.mark.requirement("DM-1")
@pytest.mark.skipif(platform.system() != "Linux", reason="strace is Linux's; the calls are the same elsewhere")
def test_a_backup_a_drill_and_a_restore_open_no_connection_but_to_the_local_qdrant(with_qdrant: DocMind) -> None:
    docmind = with_qdrant
    assert internet_calls(docmind, "-c", "import socket\nsocket.socket(2, 2).connect(('127.0.0.1', 9))")
    assert internet_calls(docmind, "scripts/backup.py", "create-backup", *EVERYTHING) == []
    assert internet_calls(docmind, "-m", "recoup", "drill") == []
    assert internet_calls(docmind, "-m", "recoup", "restore", "latest", "--target", "back") == []


@pytest.mark.requirement("DM-1")
@pytest.mark.skipif(
    platform.system() != "Linux" or os.geteuid() != 0, reason="a network namespace needs Linux and root"
)
def test_a_backup_works_without_any_network_interface(docmind: DocMind) -> None:
    done = docmind.start(["unshare", "--net", sys.executable, "scripts/backup.py", "create-backup", *EVERYTHING])
    assert done.returncode == 0, done.stderr
    assert len(docmind.sets()) == 1


# --- the data ----------------------------------------------------------------------------------------------------------


def test_making_the_data_again_makes_the_same(docmind: DocMind) -> None:
    before = {key: value for key, value in tree(docmind.root).items() if "duckdb" not in key}
    cache = rows(docmind.root / "cache/docmind.duckdb")
    assert docmind.start([sys.executable, "make_data.py"]).returncode == 0
    after = tree(docmind.root)
    assert {key: after[key] for key in before} == before
    assert rows(docmind.root / "cache/docmind.duckdb") == cache
