"""A stack with a past: sets that are proven, pinned and damaged, and texts of people who mean harm."""

import contextlib
from pathlib import Path

from qdrant_client import QdrantClient, models

from browser.rig.stacks import NAME, Stack, wait_until
from recoup.demo import stack as demo
from recoup.demo.embedding import DIMENSIONS
from recoup.system.clock import SystemClock
from recoup.web.jobs import Jobs

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
"""In notes, payloads and texts."""

HOSTILE_NAME = "'\"><img src=x onerror=alert(3)>\x1b[31m\u202e.txt"
"""Of a file; with a terminal's colour, and a mark that turns the direction of writing around."""


def tell(stack: Stack) -> Stack:
    """Three sets: a proven one, a pinned one with hostile content, and a damaged one whose drill has failed."""
    stack.recoup("backup", "--note", "before the spring release")
    stack.recoup("drill")
    write_hostile(stack)
    stack.recoup("backup", "--note", HOSTILE)
    stack.recoup("pin", "latest", "--reason", HOSTILE)
    stack.recoup("backup")
    damage_newest(stack)
    stack.recoup("drill", code=4)
    return stack


def write_hostile(stack: Stack) -> None:
    """Puts hostile texts into the live stores."""
    (stack.root / demo.UPLOADS / HOSTILE_NAME).write_text(HOSTILE)
    payload = {"title": HOSTILE, HOSTILE: "a key", "module": "hostile"}
    with contextlib.closing(QdrantClient(path=str(stack.root / demo.VECTORS))) as client:
        client.upsert(demo.COLLECTION, [models.PointStruct(id=100_000, vector=[0.5] * DIMENSIONS, payload=payload)])


def damage_newest(stack: Stack) -> Path:
    """Flips a bit of an uploaded file in the newest set, and returns the file."""
    victim = min((newest(stack) / "uploads").rglob("*.txt"))
    victim.write_bytes(bytes([victim.read_bytes()[0] ^ 1]) + victim.read_bytes()[1:])
    return victim


def newest(stack: Stack) -> Path:
    """The folder of the newest set."""
    return max(stack.backups.glob("backup_*"))


def run_jobs(stack: Stack, *commands: tuple[str, ...]) -> None:
    """Runs verbs as the page does, one after the other; the environment is the stack's."""
    jobs = Jobs(NAME, ["-c", str(stack.config)], SystemClock())
    for arguments in commands:
        jobs.start(arguments, by="")
        wait_until(lambda: jobs.running is None)
