"""Doctor: what would stop a backup, and how to mend it."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from recoup.errors import ExitCode, RecoupError
from recoup.model.structs import Struct
from recoup.operations._probing import Probe
from recoup.repository._base import Repository
from recoup.sources._base import Diagnosing, Doubting, Source
from recoup.storage._base import Storage

_OF_OTHERS_TO_WRITE = 0o022

Severity = Literal["ok", "warning", "error"]


@runtime_checkable
class Keyslotted(Protocol):
    """A repository that several secrets may open."""

    def damaged_keyslots(self) -> Sequence[str]:
        """A sentence for each keyslot that cannot be read."""
        ...


class Finding(Struct):
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


class Report(Struct):
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
    further: Iterable[Finding] = (),
) -> Report:
    """Looks at everything; changes nothing.

    Args:
        sources: by name.
        repositories: by name; calling one opens it.
        factors: each repository's `free_space_factor`.
        warnings: what reading the configuration gave.
        further: what was found on this machine.
    """
    found = [Finding("warning", "configuration", text) for text in warnings]
    if not sources:
        found.append(Finding("error", "configuration", "no sources are configured", "Add some under `sources:`."))
    if not repositories:
        found.append(Finding("error", "configuration", "no repository is configured", "Add one under `repositories:`."))
    sizes = {}
    for name, source in sources.items():
        findings, sizes[name] = _source(name, source)
        found += findings
    once = [name for name, source in sources.items() if getattr(source.options, "store_once", False)]
    for name, opened in repositories.items():
        found.extend(_repository(name, opened, int(sum(sizes.values()) * factors[name]), once))
    return Report((*found, *further))


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


def _source(name: str, source: Source) -> tuple[list[Finding], int]:
    """What there is to say of a source, and how large it is."""
    subject, found = f"source {name}", list[Finding]()
    try:
        if not source.present():
            if source.options.optional:
                return [Finding("ok", subject, "is not there, and is optional")], 0
            return [_absent(subject, source)], 0
        try:
            source.check()
            size = source.estimate()
        finally:
            found += _symptoms(subject, source)
    except RecoupError as error:
        return [Finding("error", subject, error.message, error.hint), *found], 0
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return [Finding("error", subject, reason, "Check its permissions."), *found], 0
    if isinstance(source, Doubting) and (doubt := source.doubts()):
        return [Finding("warning", subject, *doubt), *found], size
    return [Finding("ok", subject, f"can be read, about {size:,} bytes"), *found], size


def _symptoms(subject: str, source: Source) -> list[Finding]:
    """What more a source shows; where nothing can be seen, its check says why."""
    found = list[Finding]()
    if isinstance(source, Diagnosing):
        with contextlib.suppress(RecoupError, OSError):
            for one in source.diagnose():
                found.append(Finding(one.severity, subject, one.message, one.hint))
    return found


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
    room = "" if free is None else f"; {free:,} bytes are free, and a backup needs about {needed:,}"
    yield Finding("ok", subject, f"{repository.location} is usable and holds {sets} set{'s'[sets == 1 :]}{room}")
    yield from _guarded(subject, repository)
    if isinstance(repository, Keyslotted):
        hint = "`recoup key add` makes another one, then `recoup key remove` takes this one away."
        yield from (Finding("warning", subject, problem, hint) for problem in repository.damaged_keyslots())
    if proof is not None and proof.opens:
        yield Finding("ok", subject, "what is encrypted can be opened again")
    elif proof is not None:
        hint = "That is all right where a host only backs up; `restore` and `drill` need the secret key."
        yield Finding("ok", subject, "this host encrypts and has nothing to open it with", hint)
    if free is not None and free < needed:
        hint = "Free space: `recoup prune`, or `recoup prune --free SIZE -n` to see what could go at once."
        yield Finding("error", subject, f"{needed:,} bytes are needed for a backup, {free:,} are free", hint)
    if once and not repository.shares:
        message = f"sets cannot share files there: each holds {', '.join(once)} in full (`store_once`)"
        yield Finding("warning", subject, message, "Take such sources less often there, or keep fewer sets.")
    for lock in locks:
        message = f"a stale lock of `{lock.verb}` on {lock.host}, process {lock.pid}"
        yield Finding("warning", subject, message, "`recoup unlock` removes it; a backup does so by itself.")


def _guarded(subject: str, repository: Repository) -> Iterator[Finding]:
    """Whether others can read a folder with backups. What Recoup writes there only its account can read."""
    if repository.is_remote or os.name != "posix":
        return
    with contextlib.suppress(OSError):
        mode = Path(repository.location).stat().st_mode
        if mode & _OF_OTHERS_TO_WRITE:
            message = f"others may write to {repository.location} (mode {mode & 0o777:o})"
            yield Finding("warning", subject, message, f"`chmod go-w {repository.location}`: they could remove sets.")
