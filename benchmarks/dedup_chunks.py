"""Commands in a repository of very many chunks: what memory they take, which may not grow with the chunks.

The chunks are tiny, so that a million of them are made and read quickly; an index takes no less for tiny ones.
"""

import json
import secrets
import shutil
import struct
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from dedup_contestants import describe_stack
from measuring import LARGEST_MEMORY, MB, RECOUP, Run, timed

RUNS = 8
CHUNKS_OF_A_PACK = 128
BYTES = 16  # of a chunk
LARGE, SMALL = 65_536, 1_024  # rows of an index file
VERBS = (
    "list",
    "backup --no-prune",
    "verify SET --structure-only",
    "restore SET --target out",
    "prune --dry-run",
    "prune --yes",
)
NEEDS_INDEX = VERBS[1:]


def make_chunks(place: Path, chunks: int, rows: int) -> None:
    """Adds chunks to a repository that has one set, and one set that uses four fifths of them.

    Args:
        place: folder of the configuration and the repository.
        chunks: how many.
        rows: of an index file.
    """
    import blake3

    from recoup.model.manifest import encode
    from recoup.model.names import SetName
    from recoup.repository.dedup import sets
    from recoup.repository.dedup.index_files import write_index
    from recoup.repository.dedup.options import DedupOptions
    from recoup.repository.dedup.packs import Packed, PackRef, PackWriter
    from recoup.repository.dedup.recipes import RecipeBuilder, Root, seal
    from recoup.repository.dedup.repository import DedupRepository
    from recoup.storage.local import LocalStorage
    from recoup.system.clock import SystemClock

    storage, clock = LocalStorage(place / "backups"), SystemClock()
    options = DedupOptions(password_file=place / "password")
    repository = DedupRepository("main", storage, options, clock, None)
    keys, moment = repository.keys, clock.now() - timedelta(hours=2)
    recipe = RecipeBuilder(Root(keys.stream_key))

    def packs(run: bytes) -> Iterator[Packed]:
        key = keys.new_run()
        for number, first in enumerate(range(0, chunks // RUNS, CHUNKS_OF_A_PACK)):
            writer = PackWriter(storage, PackRef(run, number), key)
            for at in range(first, min(first + CHUNKS_OF_A_PACK, chunks // RUNS)):
                data = secrets.token_bytes(BYTES)
                identity = blake3.blake3(data, key=keys.chunk_key).digest()
                anchors = struct.unpack("<8I", secrets.token_bytes(32))
                writer.add(run, at, identity, BYTES, 0, data, (), anchors)
                if at % 5000 < 4000:
                    recipe.chunk(run, at, identity, BYTES)
            yield writer.finish()

    for _ in range(RUNS):
        run, some, sequence = secrets.token_bytes(12), list[Packed](), 0
        for packed in packs(run):
            some.append(packed)
            if (len(some) + 1) * CHUNKS_OF_A_PACK > rows:
                write_index(storage, keys, moment, run, sequence, some)
                some, sequence = [], sequence + 1
        if some:
            write_index(storage, keys, moment, run, sequence, some)
    made, run, key = recipe.finish(), secrets.token_bytes(12), keys.new_run()
    given = json.loads(encode(repository.manifest(repository.names()[0])))
    given["name"] = str(name := SetName.at(moment))
    given["sources"]["data"]["parts"] = [
        {"name": "many", "kind": "stream", "path": "data/many", "bytes": made.size, "stored_bytes": 0,
         "sha256": made.root.hex(), "content_sha256": "", "compression": "none"}
    ]  # fmt: skip
    sealed = seal({"data/many": made}, key, sets.identity(run, keys.repository))
    storage.put(f"{name}/recipes", sealed)
    header = sets.encode_set(json.dumps(given).encode(), run, 1, key, blake3.blake3(sealed).hexdigest(), keys)
    storage.put(f"{name}/manifest.json", header)


def many_chunks(scratch: Path, chunks: int) -> list[str]:
    """The commands with few large index files, and with many small ones."""
    rows = [row for form in (LARGE, SMALL) for row in _measured(scratch / f"chunks-{form}", chunks, form)]
    return [
        "## Commands with many chunks",
        "",
        f"A repository of {chunks:,} chunks of {BYTES} bytes with 8 anchors each, and a set that uses 80 % of them. Memory is "
        f"what a command needs for itself; behind it, with the pages of files that it maps. Aim: at most {LARGEST_MEMORY} MB.",
        "",
        "| index files | what | cache | time | processor | memory | with files | holds |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _measured(place: Path, chunks: int, rows: int) -> Iterator[str]:
    (place / "data").mkdir(parents=True)
    (place / "data" / "note.bin").write_bytes(secrets.token_bytes(BYTES * chunks * 4 // 5))
    describe_stack(place, keep={"last": 9})
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(place / "cache")}
    timed([RECOUP, "init"], place, environment)
    timed([RECOUP, "backup", "--no-prune"], place, environment)
    print(f"making {chunks:,} chunks", file=sys.stderr)
    timed([sys.executable, __file__, str(place), str(chunks), str(rows)], place)
    name = min(path.name for path in (place / "backups").glob("backup_*"))
    count = len(list((place / "backups" / "index").iterdir()))
    shutil.rmtree(place / "cache", ignore_errors=True)
    for verb in VERBS:
        arguments = verb.replace("SET", name).split()
        for cached in ("no", "yes") if verb in NEEDS_INDEX else ("yes",):
            if cached == "no":
                shutil.rmtree(place / "cache", ignore_errors=True)
            shutil.rmtree(place / "out", ignore_errors=True)
            yield _row(count, verb, cached, timed([RECOUP, *arguments], place, environment))
    for path in sorted((place / "backups" / "index").iterdir())[: max(1, count // RUNS)]:
        path.unlink()
    shutil.rmtree(place / "cache")
    yield _row(count, "repair, an eighth of the index lost", "no", timed([RECOUP, "repair"], place, environment))


def _row(files: int, verb: str, cached: str, run: Run) -> str:
    holds = "yes" if run.memory <= LARGEST_MEMORY * MB else "NO"
    memory = f"{run.memory / MB:.0f} MB | {run.largest / MB:.0f} MB | {holds}"
    return f"| {files} | {verb} | {cached} | {run.seconds:.1f} s | {run.processor:.1f} s | {memory} |"


if __name__ == "__main__":
    make_chunks(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
