"""The demo's story as text: pure functions from results to lines of at most 80 columns."""

from recoup.demo.search import QUESTION, Answers
from recoup.demo.stack import Built
from recoup.demo.story import Done, Ending, Harm, Judgement, Proof, Result, Spoiled
from recoup.model.reports import BackupReport, RestoreReport

WIDTH = 80


def step_lines(step: Done) -> list[str]:
    """A step's headline with its time, and what came of it."""
    title = f"{step.number}  {step.title}"
    time = f"{step.seconds:.1f} s"
    return [title + time.rjust(WIDTH - len(title)), *(_fitted(f"   {line}") for line in _lines(step.result)), ""]


def _fitted(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."


def _lines(result: Result) -> list[str]:
    match result:
        case Built():
            return _built(result)
        case Answers():
            return _answers(result)
        case BackupReport():
            return _backup(result)
        case Harm():
            return list(result.sentences)
        case Judgement():
            return _judgement(result)
        case Spoiled():
            return [f"verify: {damage.message}" for damage in result.verify.damage] or ["verify found nothing"]
        case RestoreReport():
            return _restored(result)


def _built(built: Built) -> list[str]:
    lines = [
        f"DuckDB: {built.documents:,} docstrings of Python's standard library",
        f"SQLite: {built.messages:,} chat messages; uploads: {built.files} files",
        f"Qdrant: {built.documents:,} vectors, made by {built.embedder.name}",
    ]
    if not built.embedder.real:
        lines.append("(wordllama is not installed: pip install 'recoup[demo]' gives real embeddings)")
    return lines


def _answers(answers: Answers) -> list[str]:
    lines = [f'"{QUESTION}"']
    lines += [f"{hit.score:.3f}  {hit.title[-24:]:<24}  {hit.text or '(its text is lost)'}" for hit in answers.hits]
    if answers.problem:
        lines.append(f"error: {answers.problem}")
    return lines


def _backup(report: BackupReport) -> list[str]:
    manifest = report.manifest
    if manifest is None:
        return ["nothing was stored", *(f"{source}: {error}" for source, error in report.errors.items())]
    lines = [f"{manifest.name}, {manifest.outcome}, {manifest.stored_bytes / 1e6:.1f} MB"]
    for name, record in manifest.sources.items():
        lines.append(f"{name:<10} {record.kind:<12} {record.bytes / 1e6:>5.1f} MB  {record.error or record.method}")
    if manifest.spread_ms is not None:
        lines.append(f"{manifest.spread_ms} ms between the first and the last freeze")
    return lines


def _judgement(judgement: Judgement) -> list[str]:
    verify, drill = judgement.verify, judgement.drill
    lines = [
        f"verify: {verify.files} stored files read, {len(verify.damage)} damaged",
        f"drill:  {drill.set} restored into scratch twins and compared:",
    ]
    for source in drill.sources:
        equal = sum(comparison.equal for comparison in source.comparisons)
        verdict = source.error or f"{equal} of {len(source.comparisons)} comparisons equal"
        lines.append(f"        {source.source:<10} {source.bytes / 1e6:>6.1f} MB  {verdict}")
    return [*lines, "The stores are damaged; the backup is not." if drill.passed else "The backup does NOT restore."]


def _restored(report: RestoreReport) -> list[str]:
    lines = []
    for source in report.sources:
        kept = f"restored; kept: {source.kept.rpartition('/')[2]}" if source.kept else ""
        lines.append(f"{source.source:<10} {source.error or kept or 'restored'}")
    return lines


def _proof_line(proof: Proof) -> str:
    return _fitted(f"   {'yes' if proof.holds else 'NO':<4} {proof.claim:<35} {proof.evidence}")


def ending_lines(ending: Ending, config: str) -> list[str]:
    """What was proven, how long each step took, and what to type next.

    Args:
        ending: the story's.
        config: path of the stack's configuration when the stack stays, else empty.
    """
    lines = ["What was proven", *(_proof_line(proof) for proof in ending.proofs)]
    lines += ["", f"Time{f'{ending.seconds:.1f} s':>{WIDTH - 4}}"]
    lines += [f"   {title:<{WIDTH - 13}}{f'{seconds:.1f} s':>10}" for title, seconds in ending.steps]
    lines += ["", "Next, in the folder of your own stack:", *(f"   {command}" for command in ending.next_commands)]
    if config:
        lines += ["", f"This stack stays. Look at it with:   recoup -c {config} list"]
    return lines
