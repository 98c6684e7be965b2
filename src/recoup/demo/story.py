"""The story: a stack is built, backed up, harmed, proven restorable, restored, and asked the same question three times."""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from recoup.demo import stack as demo_stack
from recoup.demo.damage import Look, damage, look
from recoup.demo.embedding import best_embedder
from recoup.demo.search import Answers, ask
from recoup.errors import ExitCode
from recoup.model.events import Emit, ignore
from recoup.model.reports import BackupReport, DrillReport, RestoreReport, VerifyReport
from recoup.model.structs import Struct
from recoup.system.clock import Clock

if TYPE_CHECKING:
    from recoup.app import Stack

NEXT_COMMANDS = ("recoup init", "recoup doctor", "recoup backup")
"""What to type next, in the folder of one's own stack."""


class Harm(Struct):
    """What was done to the stores, one sentence for each."""

    sentences: tuple[str, ...]


class Judgement(Struct):
    """What verify and drill say of the set while the live stores are harmed.

    Attributes:
        verify: of the stored bytes.
        drill: of a restore into scratch twins.
    """

    verify: VerifyReport
    drill: DrillReport


class Spoiled(Struct):
    """What verify says after one stored byte was flipped; the byte was put back afterwards.

    Attributes:
        file: the stored file, relative to the set.
        verify: its report.
    """

    file: str
    verify: VerifyReport


class Stores(Struct):
    """The stores before the damage, after it, and after the restore."""

    before: Look
    harmed: Look
    restored: Look


Result = demo_stack.Built | Answers | BackupReport | Harm | Judgement | Spoiled | RestoreReport


class Begun(Struct):
    """A step begins.

    Attributes:
        number: from 1.
        title: what is done.
    """

    number: int
    title: str


class Done(Struct):
    """A step has ended.

    Attributes:
        number: from 1.
        title: what was done.
        result: what came of it.
        seconds: how long it took.
    """

    number: int
    title: str
    result: Result
    seconds: float


class Proof(Struct):
    """One claim.

    Attributes:
        claim: in a few words.
        evidence: what was seen.
        holds: whether the evidence supports the claim.
    """

    claim: str
    evidence: str
    holds: bool


class Ending(Struct):
    """What the story proved.

    Attributes:
        proofs: claims with their evidence.
        steps: title and seconds of each step.
        seconds: the whole.
        next_commands: what to type next.
    """

    proofs: tuple[Proof, ...]
    steps: tuple[tuple[str, float], ...]
    seconds: float
    next_commands: tuple[str, ...] = NEXT_COMMANDS

    @property
    def exit_code(self) -> ExitCode:
        """0 when every claim holds, else 1."""
        return ExitCode.OK if all(proof.holds for proof in self.proofs) else ExitCode.FAILED


_R = TypeVar("_R", bound=Result)


@dataclass
class _Teller:
    """Numbers and times the steps."""

    clock: Clock
    done: list[Done] = field(default_factory=list)

    def step(self, title: str, work: Callable[[], _R]) -> Generator[Begun | Done, None, _R]:
        number = len(self.done) + 1
        yield Begun(number, title)
        start = self.clock.monotonic()
        result = work()
        step = Done(number, title, result, self.clock.monotonic() - start)
        self.done.append(step)
        yield step
        return result


def tell(folder: Path, clock: Clock, emit: Emit = ignore) -> Iterator[Begun | Done | Ending]:
    """Runs the story in a folder that `prepare_folder` made.

    Args:
        folder: where the stack is built and stays; nothing outside of it is touched.
        clock: time.
        emit: where the news of the backup, the drill and the restore go.

    Raises:
        UsageError: qdrant-client is not installed.
        RecoupError: a step failed.
    """
    demo_stack.require_qdrant()
    teller, start = _Teller(clock), clock.monotonic()
    embedder = best_embedder()
    yield from teller.step("Build a small RAG stack", lambda: demo_stack.build(folder, embedder))
    answers = yield from teller.step("Ask it a question", lambda: ask(folder, embedder))
    before = look(folder)

    stack = _open(folder, emit)
    stack.create_repositories()
    backup = yield from teller.step("Back it up: one cut of all stores", stack.backup)
    yield from teller.step("Damage every store", lambda: Harm(damage(folder)))
    broken = yield from teller.step("Ask again", lambda: ask(folder, embedder))
    harmed = look(folder)

    judgement = yield from teller.step("Judge the backup: verify and drill", lambda: _judge(stack))
    spoiled = yield from teller.step("Flip one byte of the backup, verify, put it back", lambda: _spoil(stack, folder))
    restore = yield from teller.step("Restore everything in place", lambda: _restore(stack))
    regained = yield from teller.step("Ask once more", lambda: ask(folder, embedder))
    stores = Stores(before, harmed, look(folder))
    yield _ending(teller, _prove(backup, judgement, spoiled, restore, stores, (answers, broken, regained)), start)


def _open(folder: Path, emit: Emit) -> "Stack":
    from recoup.app import open_stack

    environ = {key: value for key, value in os.environ.items() if not key.startswith("RECOUP_")}  # meant for own stacks
    return open_stack(config=[folder / demo_stack.CONFIG], emit=emit, environ=environ, cwd=folder)


def _judge(stack: "Stack") -> Judgement:
    (verify,) = stack.verify("latest")
    return Judgement(verify, stack.drill())


def _spoil(stack: "Stack", folder: Path) -> Spoiled:
    """Flips the last bit of the largest stored file, for the time of one verification."""
    newest = folder / "data/backups" / stack.sets()[-1].name
    victim = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    _flip_last_bit(victim)
    try:
        (verify,) = stack.verify("latest")
    finally:
        _flip_last_bit(victim)
    return Spoiled(victim.relative_to(newest).as_posix(), verify)


def _flip_last_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def _restore(stack: "Stack") -> RestoreReport:
    return stack.restore(in_place=True)


def _prove(
    backup: BackupReport,
    judgement: Judgement,
    spoiled: Spoiled,
    restore: RestoreReport,
    stores: Stores,
    answers: tuple[Answers, Answers, Answers],
) -> tuple[Proof, ...]:
    first, broken, regained = answers
    verify, drill = judgement.verify, judgement.drill
    checks = [comparison for source in drill.sources for comparison in source.comparisons]
    found = [damage.item for damage in spoiled.verify.damage]
    restored = [source for source in restore.sources if not source.error]
    return (
        Proof("The set is one cut of all stores", _cut(backup), backup.exit_code == ExitCode.OK),
        Proof("Its bytes are those it was given", f"{verify.files} files, {verify.bytes:,} bytes", not verify.damage),
        Proof("It restores", f"{sum(c.equal for c in checks)} of {len(checks)} comparisons equal", drill.passed),
        Proof("One flipped byte is found", f"in {len(found)} of {verify.files} files", found == [spoiled.file]),
        Proof("The damage was real", _difference(first, broken), broken != first),
        Proof(
            "Every store is back",
            f"{len(restored)} of {len(restore.sources)}, counts and bytes {_like(stores)} before",
            restore.exit_code == ExitCode.OK and stores.restored == stores.before != stores.harmed,
        ),
        Proof("The question is answered as before", _same(first, regained), regained == first),
    )


def _cut(backup: BackupReport) -> str:
    manifest = backup.manifest
    if manifest is None:
        return "nothing was stored"
    stored = [record for record in manifest.sources.values() if record.parts]
    return f"{len(manifest.moments)} of {len(stored)} frozen within {manifest.spread_ms} ms"


def _like(stores: Stores) -> str:
    return "as" if stores.restored == stores.before else "NOT as"


def _difference(first: Answers, broken: Answers) -> str:
    same = len({hit.title for hit in first.hits} & {hit.title for hit in broken.hits})
    texts = sum(hit.text is not None for hit in broken.hits)
    return f"{same} of the answers left, {texts} with text"


def _same(first: Answers, regained: Answers) -> str:
    same = sum(a == b for a, b in zip(first.hits, regained.hits, strict=False))
    return f"{same} of {len(first.hits)} answers, scores and texts"


def _ending(teller: _Teller, proofs: tuple[Proof, ...], start: float) -> Ending:
    steps = tuple((done.title, done.seconds) for done in teller.done)
    return Ending(proofs, steps, teller.clock.monotonic() - start)
