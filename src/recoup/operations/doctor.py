"""Doctor: what would stop a backup, and how to mend it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from recoup.errors import ExitCode, RecoupError
from recoup.operations._probing import Probe
from recoup.repository._base import Repository
from recoup.sources._base import Doubting, Source
from recoup.storage._base import Storage

Severity = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: `ok`, `warning` (a backup works all the same) or `error` (it would not).
        subject: what was looked at, e.g. `source cache`.
        message: what was found.
        hint: what to do; empty when nothing is.
    """

    severity: Severity
    subject: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Report:
    """All that was looked at."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> ExitCode:
        """0, or 1 when something would stop a backup."""
        return ExitCode.FAILED if any(f.severity == "error" for f in self.findings) else ExitCode.OK


def run(
    sources: Mapping[str, Source],
    repositories: Mapping[str, Callable[[], Repository]],
    factors: Mapping[str, float],
    warnings: tuple[str, ...],
) -> Report:
    """Looks at everything; changes nothing.

    Args:
        sources: by name.
        repositories: by name; calling one opens it.
        factors: each repository's `free_space_factor`.
        warnings: what reading the configuration gave.
    """
    found = [Finding("warning", "configuration", text) for text in warnings]
    if not sources:
        found.append(Finding("error", "configuration", "no sources are configured", "Add some under `sources:`."))
    if not repositories:
        found.append(Finding("error", "configuration", "no repository is configured", "Add one under `repositories:`."))
    sizes = {}
    for name, source in sources.items():
        finding, size = _source(name, source)
        found.append(finding)
        sizes[name] = size
    once = [name for name, source in sources.items() if getattr(source.options, "store_once", False)]
    for name, opened in repositories.items():
        found.extend(_repository(name, opened, int(sum(sizes.values()) * factors[name]), once))
    return Report(tuple(found))


def probe(storages: Mapping[str, Callable[[], Storage]]) -> Report:
    """Tries what the repositories' storages can and cannot do, below a folder of its own that is removed again.

    Args:
        storages: by repository; calling one connects it.
    """
    found: list[Finding] = []
    if not storages:
        found.append(Finding("error", "configuration", "no repository is configured", "Add one under `repositories:`."))
    for name, connect in storages.items():
        found.extend(_storage(f"storage {name}", connect))
    return Report(tuple(found))


def _storage(subject: str, connect: Callable[[], Storage]) -> Iterator[Finding]:
    try:
        storage = connect()
        yield Finding("ok", subject, f"{storage.location} is tried with a few small objects and one large one")
        for feature in Probe(storage).findings():
            yield Finding(feature.severity, subject, feature.message, feature.hint)
    except RecoupError as error:
        yield Finding("error", subject, error.message, error.hint)
    except OSError as error:
        yield Finding("error", subject, f"cannot be used: {error.strerror or error}", "Check its disk and permissions.")


def _source(name: str, source: Source) -> tuple[Finding, int]:
    subject = f"source {name}"
    try:
        if not source.present():
            if source.options.optional:
                return Finding("ok", subject, "is not there, and is optional"), 0
            return _absent(subject, source), 0
        source.check()
        size = source.estimate()
    except RecoupError as error:
        return Finding("error", subject, error.message, error.hint), 0
    except OSError as error:
        return Finding("error", subject, f"cannot be read: {error.strerror or error}", "Check its permissions."), 0
    if isinstance(source, Doubting) and (doubt := source.doubts()):
        return Finding("warning", subject, *doubt), size
    return Finding("ok", subject, f"can be read, about {size:,} bytes"), size


def _absent(subject: str, source: Source) -> Finding:
    """Why it is not there, in the source's own words: a server that does not answer is no wrong path."""
    try:
        source.check()
    except RecoupError as error:
        hint = f"{error.hint} Set `optional: true` if it may be missing.".lstrip()
        return Finding("error", subject, error.message, hint)
    hint = "Correct its path, or set `optional: true` if it may be missing."
    return Finding("error", subject, f"is not there: {source.existing().target}", hint)


def _repository(name: str, opened: Callable[[], Repository], needed: int, once: Sequence[str]) -> Iterator[Finding]:
    subject = f"repository {name}"
    try:
        repository = opened()
        repository.check()
        with repository.lock("shared", "doctor", ""):  # writes and removes a small file: so it is writable
            free = repository.free_bytes()
            sets = len(repository.names())
        locks = [lock for lock in repository.locks() if lock.stale]
        proof = repository.prove_keys()
    except RecoupError as error:
        yield Finding("error", subject, error.message, error.hint)
        return
    except OSError as error:
        yield Finding("error", subject, f"cannot be used: {error.strerror or error}", "Check its disk and permissions.")
        return
    yield Finding("ok", subject, f"{repository.location} is usable and holds {sets} sets")
    if proof is not None and proof.opens:
        yield Finding("ok", subject, "what is encrypted can be opened again")
    elif proof is not None:
        hint = "That is all right where a host only backs up; `restore` and `drill` need the secret key."
        yield Finding("ok", subject, "this host encrypts and has nothing to open it with", hint)
    if free is not None and free < needed:
        hint = "Free space, or prune old sets."
        yield Finding("error", subject, f"{needed:,} bytes are needed for a backup, {free:,} are free", hint)
    if once and not repository.shares:
        message = f"sets cannot share files there: each holds {', '.join(once)} in full (`store_once`)"
        yield Finding("warning", subject, message, "Take such sources less often there, or keep fewer sets.")
    for lock in locks:
        message = f"a stale lock of `{lock.verb}` on {lock.host}, process {lock.pid}"
        yield Finding("warning", subject, message, "`recoup unlock` removes it; a backup does so by itself.")
