"""What the example promises to its user, on a real PostgreSQL, by the real command."""

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable

import pytest

import recoup
from notice_receivers import http_receiver, mail_server
from postgres_server.running import PASSWORD, Database
from services.standing import ToyService

from .conftest import TABLES, WHOLE_ONLY, SelfRag

SECRETS = (PASSWORD, "a passphrase of the tests")
"""What must stand in no file that is written and in nothing that is printed."""


@pytest.mark.requirement("SR-15", "SR-1", "SR-2", "SR-5", "SR-12", "SR-14")
def test_one_command_backs_up_the_whole_system(with_qdrant: SelfRag) -> None:
    selfrag = with_qdrant
    done = selfrag.recoup("-r", "local", "backup")
    (made,) = selfrag.sets()
    records = selfrag.manifest(made)["sources"]
    assert {name: record["outcome"] for name, record in records.items()} == {
        "db": "complete",
        "vectors": "complete",
        "qdrant-files": "absent",
        "env": "complete",
        "compose": "complete",
        "models": "complete",
        "logs": "complete",
    }
    said = selfrag.recoup("-r", "local", "status", "--counts", code=3).stdout
    assert said.splitlines()[0] == "Backup Status: PostgreSQL: 1, Qdrant: 1"
    listed = selfrag.program("pg_restore", "--list", str(made / "db/selfrag_db.dump"))
    assert {*TABLES, *WHOLE_ONLY} <= set(re.findall(r"TABLE DATA public (\w+)", listed))
    assert {path.name for path in (made / "db/tables").iterdir()} == {f"public.{table}.dump" for table in TABLES}
    assert records["db"]["facts"]["values"]["table public.document_chunks"]["rows"] == 200
    assert len(records["db"]["facts"]["probes"]) == 20
    for path in [made, *made.rglob("*")]:
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    written = [path for folder in ("backups", "state") for path in (selfrag.root / folder).rglob("*") if path.is_file()]
    assert written
    said = done.stdout + done.stderr
    for secret in SECRETS:
        assert secret not in said
        assert not [path for path in written if secret.encode() in path.read_bytes()]


@pytest.mark.requirement("SR-2")
def test_each_table_restores_alone_by_the_vendors_program(selfrag: SelfRag, empty: Database) -> None:
    made = selfrag.back_up("--source", "db")
    wanted = selfrag.counts()
    for table in TABLES:
        empty.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        dump = str(made / f"db/tables/public.{table}.dump")
        selfrag.program("pg_restore", "--exit-on-error", f"--dbname={empty.url}", dump)
        assert selfrag.counts(empty, (table,)) == {table: wanted[table]}


@pytest.mark.requirement("SR-8")
def test_the_whole_database_comes_back_and_the_harmed_one_is_kept(selfrag: SelfRag) -> None:
    selfrag.back_up("--source", "db")
    before = selfrag.digests()
    selfrag.database.execute("DELETE FROM memory_logs WHERE id > 3", "DROP TABLE messages")
    planned = selfrag.recoup("-r", "local", "restore", "latest", "--source", "db", "--in-place", "-n").stdout
    assert "selfrag_db" in planned
    selfrag.recoup("-r", "local", "--yes", "restore", "latest", "--source", "db", "--in-place")
    assert selfrag.digests() == before
    assert [name for name in selfrag.database.server.databases() if name.startswith("selfrag_db_before_")]


@pytest.mark.requirement("SR-8")
def test_one_table_comes_back_with_its_keys_and_the_others_stay(selfrag: SelfRag) -> None:
    selfrag.back_up("--source", "db")
    before = selfrag.digests()
    selfrag.database.execute(
        "UPDATE document_chunks SET content = 'spoiled'",
        "INSERT INTO conversations (user_id, started_at) VALUES (1, now())",
    )
    selfrag.recoup(
        "-r", "local", "--yes", "restore", "latest", "--source", "db", "--in-place", "--tables", "document_chunks"
    )
    after = selfrag.digests()
    assert after["document_chunks"] == before["document_chunks"]
    assert after["conversations"] != before["conversations"]
    kinds = "SELECT contype FROM pg_constraint WHERE conrelid = 'document_chunks'::regclass AND contype <> 'n' ORDER BY contype"
    assert [row[0] for row in selfrag.database.rows(kinds)] == ["f", "p", "u"]
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'document_chunks'"
    assert "document_chunks_embedding" in {row[0] for row in selfrag.database.rows(indexes)}


@pytest.mark.requirement("SR-5")
def test_application_files_come_back_and_models_are_kept_once(selfrag: SelfRag) -> None:
    first, second = selfrag.back_up("--source", "env,compose,models"), selfrag.back_up("--source", "models")
    logs = selfrag.back_up("--source", "logs")
    weights = "models/all-MiniLM-L6-v2/weights.bin"
    assert (first / weights).stat().st_ino == (second / weights).stat().st_ino
    kept = {name: (selfrag.root / name).read_bytes() for name in (".env", "compose.yaml", "logs/app.log", weights)}
    (selfrag.root / ".env").write_text("APP_SECRET_KEY=lost\n")
    (selfrag.root / "compose.yaml").unlink()
    for folder in ("logs", "models"):
        shutil.rmtree(selfrag.root / folder)
    selfrag.recoup("-r", "local", "--yes", "restore", "latest", "--source", "env,compose,models,logs", "--in-place")
    assert {name: (selfrag.root / name).read_bytes() for name in kept} == kept
    assert stat.S_IMODE((selfrag.root / ".env").stat().st_mode) == 0o600
    assert list(selfrag.manifest(logs)["sources"]) == ["logs"], (
        "logs are a group of their own, which retention judges alone"
    )


@pytest.mark.requirement("SR-11")
def test_damage_of_any_artefact_is_found(selfrag: SelfRag) -> None:
    made = selfrag.back_up("--source", "db,env,models,logs")
    selfrag.recoup("-r", "local", "verify")
    harms: dict[str, Callable[[bytearray], bytes | None]] = {
        "db/selfrag_db.dump": flipped,
        "db/tables/public.users.dump": lambda whole: bytes(whole[:-1]),
        "db/tables/public.api_keys.dump": lambda _: b"",
        "env/.env": lambda whole: bytes(whole) + b"MORE=1",
        "models/all-MiniLM-L6-v2/weights.bin": flipped,
        "logs/app.log": lambda _: None,
    }
    for path, harm in harms.items():
        harmed = harm(bytearray((made / path).read_bytes()))
        (made / path).unlink()
        if harmed is not None:
            (made / path).write_bytes(harmed)
    said = selfrag.recoup("-r", "local", "verify", "--json", code=4).stdout
    found = {damage["item"] for line in said.splitlines() for damage in json.loads(line).get("damage", ())}
    assert set(harms) <= found


def flipped(whole: bytearray) -> bytes:
    whole[len(whole) // 2] ^= 1
    return bytes(whole)


@pytest.mark.slow
@pytest.mark.requirement("SR-13", "SR-14")
def test_sealed_artefacts_open_with_gpg_alone(selfrag: SelfRag) -> None:
    selfrag.recoup("-r", "sealed", "key", "check")
    made = selfrag.back_up("--source", "db,env,logs", repository="sealed")
    stored = [path for path in made.rglob("*") if path.is_file()]
    assert not [path for path in stored if b"made-up-secret" in path.read_bytes()]
    opened = selfrag.root / "opened.dump"
    home = selfrag.root / "gnupg"
    home.mkdir(mode=0o700)
    order = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase-file", "backup.key"]
    selfrag.program(*order, "--output", str(opened), "--decrypt", str(made / "db/selfrag_db.dump.gpg"))
    assert "TABLE DATA public users" in selfrag.program("pg_restore", "--list", str(opened))
    selfrag.recoup("-r", "sealed", "drill", "--source", "logs")
    (selfrag.root / "backup.key").write_text("another passphrase\n")
    selfrag.recoup("-r", "sealed", "restore", "latest", "--target", "out", code=12)
    assert not (selfrag.root / "out").exists()
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)


@pytest.mark.requirement("SR-17")
@pytest.mark.slow
def test_the_checklists_are_commands(selfrag: SelfRag) -> None:
    """Daily, weekly, monthly; the monthly one on a machine that has the repository and nothing else."""
    selfrag.back_up("--source", "db,env,compose,models")
    selfrag.back_up("--source", "logs")
    said = selfrag.recoup("-r", "local", "status", code=3)
    assert re.search(r"^qdrant-files .* never backed up", said.stdout, re.MULTILINE)
    selfrag.recoup("-r", "local", "drill", "--source", "logs")
    (selfrag.root / "recoup.yaml").unlink()
    (selfrag.root / ".env").unlink()
    said = selfrag.recoup("-r", "./backups", "drill", "--full", "--report", "recovery.json", DATABASE_URL="")
    assert "Measured recovery time (RTO)" in said.stdout
    found = json.loads((selfrag.root / "recovery.json").read_text())
    assert found["passed"] is True
    assert {point["source"] for point in found["points"]} == {"db", "env", "compose", "models", "logs"}
    lines = [line for drill in found["drills"] for source in drill["sources"] for line in source["comparisons"]]
    assert any("neighbours" in line["name"] and line["equal"] for line in lines)


@pytest.mark.requirement("SR-3", "SR-9", "SR-19")
def test_the_collection_is_backed_up_at_once_and_comes_back_also_from_the_bare_file(with_qdrant: SelfRag) -> None:
    selfrag = with_qdrant
    made = selfrag.back_up("--source", "vectors", "--tag", "why=emergency")
    assert selfrag.collection("GET", "/collections/documents/snapshots") == [], "the server keeps no copy of it"
    harm = {"filter": {"must": [{"key": "position", "match": {"value": 0}}]}}
    selfrag.collection("POST", "/collections/documents/points/delete?wait=true", harm)
    assert selfrag.points() == 160
    selfrag.recoup("-r", "local", "--yes", "restore", "latest", "--source", "vectors", "--in-place")
    assert selfrag.points() == 200
    [snapshot] = made.glob("vectors/documents/documents-*.snapshot")
    bare = shutil.copy(snapshot, selfrag.root / "documents_20261121.snapshot")
    selfrag.recoup("--yes", "qdrant", "restore", str(bare), "--target", selfrag.qdrant_url, "--name", "by_hand")
    assert selfrag.points("by_hand") == 200


@pytest.mark.requirement("SR-6")
def test_each_part_has_the_teams_time(selfrag: SelfRag) -> None:
    stack = recoup.open(selfrag.root / "recoup.yaml", environ={"DATABASE_URL": selfrag.database.url})
    times = {line.sources: line.cron for line in stack.settings.schedule if line.run == "backup"}
    assert times["db",] == "0 2 * * *"
    assert times["vectors",] == "0 3 * * *"
    assert times["qdrant-files",] == "0 4 * * 0"
    planned = {name for sources in times for name in sources}
    assert planned == set(stack.source_names)


@pytest.mark.requirement("SR-12")
def test_somebody_is_told_when_there_is_no_backup_of_a_database(selfrag: SelfRag) -> None:
    layered = ("-c", "recoup.yaml", "-c", "notify.yaml", "-r", "local")
    with mail_server() as mails, http_receiver() as pinged:
        alerts = f"mailto://127.0.0.1:{mails.port}?from=backup@example.org&to=ops@example.org"
        for verb, code in (
            (("backup", "--source", "env"), 0),
            (("status", "--notify"), 3),
            (("status", "--notify"), 3),
        ):
            selfrag.recoup(*layered, *verb, code=code, ALERT_URL=alerts, PING_URL=f"{pinged.url}/ping")
    assert len(mails.mails) == 1, "once, not at each look"
    said = mails.raw[0].decode()
    assert "db in local: never backed up" in said
    assert "vectors in local: never backed up" in said
    assert pinged.requests, "the dead man's switch hears of runs"


@pytest.mark.requirement("SR-19")
def test_one_component_is_backed_up_at_once(selfrag: SelfRag) -> None:
    made = selfrag.back_up("--source", "db", "--tag", "why=emergency")
    assert selfrag.manifest(made)["tags"] == {"why": "emergency"}
    assert list(selfrag.manifest(made)["sources"]) == ["db"]


@pytest.mark.requirement("SR-1", "SR-14")
def test_a_server_that_is_away_fails_its_source_alone(selfrag: SelfRag) -> None:
    nowhere = "postgresql://selfrag_user:made-up-word@127.0.0.1:9/selfrag_db"
    done = selfrag.recoup("-r", "local", "backup", code=3, DATABASE_URL=nowhere)
    assert "made-up-word" not in done.stdout + done.stderr
    (made,) = selfrag.sets()
    outcomes = {name: record["outcome"] for name, record in selfrag.manifest(made)["sources"].items()}
    assert outcomes["db"] == "failed"
    assert outcomes["models"] == outcomes["env"] == "complete"


@pytest.mark.requirement("SR-16")
def test_the_example_keeps_thirty_days_in_each_repository(selfrag: SelfRag) -> None:
    shown = selfrag.recoup("config", "show").stdout
    assert len(re.findall(r"^.*within.*30d", shown, re.MULTILINE)) == 2, shown


@pytest.mark.requirement("SR-4", "SR-10")
def test_the_folder_of_qdrant_is_copied_cold_and_put_back_with_a_safety_copy(
    selfrag: SelfRag, qdrant_files: ToyService
) -> None:
    layered = ("-c", "recoup.yaml", "-c", "here.json", "-r", "local")
    segment = qdrant_files.data / "collections/documents/segment"
    wanted = segment.read_bytes()
    selfrag.recoup(*layered, "backup", "--source", "qdrant-files")
    assert qdrant_files.is_up
    segment.write_bytes(b"spoiled")
    selfrag.recoup(*layered, "--yes", "restore", "latest", "--source", "qdrant-files", "--in-place")
    qdrant_files.await_up()
    assert segment.read_bytes() == wanted
    (kept,) = selfrag.root.glob("qdrant_storage.before-restore-*")
    assert (kept / "collections/documents/segment").read_bytes() == b"spoiled"
    assert [call for call in qdrant_files.calls() if call in ("stop", "start")] == [
        "start",
        "stop",
        "start",
        "stop",
        "start",
    ]


@pytest.mark.requirement("SR-4")
def test_the_service_is_up_again_when_the_disk_is_full_in_the_middle(
    selfrag: SelfRag, qdrant_files: ToyService
) -> None:
    order = f"{sys.executable} -m recoup -c recoup.yaml -c here.json -r local backup --source qdrant-files"
    done = selfrag.run(["bash", "-c", f"ulimit -f 20; exec {order}"])  # KiB of a file; the folder has 50 kB
    assert done.returncode not in (0, 3)
    assert "disk is full" in done.stderr
    qdrant_files.await_up()
    assert [call for call in qdrant_files.calls() if call in ("stop", "start")] == ["start", "stop", "start"]
    assert selfrag.sets() == []


@pytest.mark.requirement("SR-19")
def test_a_plain_sql_dump_taken_by_hand_is_restored(selfrag: SelfRag) -> None:
    dump = selfrag.root / "emergency_backup_1763712000.sql"
    dump.write_text(selfrag.program("pg_dump", selfrag.database.url))
    before = selfrag.digests()
    selfrag.database.execute("DELETE FROM messages", "DELETE FROM memory_logs")
    selfrag.recoup("--yes", "postgres", "restore", str(dump), "--target", selfrag.database.url)
    assert selfrag.digests() == before
    whole = dump.read_text()
    dump.write_text(whole[: len(whole) // 2])
    selfrag.recoup("--yes", "postgres", "restore", str(dump), "--target", selfrag.database.url, code=4)
    assert selfrag.digests() == before
