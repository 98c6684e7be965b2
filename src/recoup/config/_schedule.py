"""The settings of `schedule:`, what they mean for the command line of a job, and what is wrong with them as a whole."""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from recoup.config._durations import Duration
from recoup.config._faults import Fault, unknown_word
from recoup.config._group import Group, Name, TimeZone
from recoup.config._tree import KeyPath, Node, child
from recoup.errors import ConfigError, UsageError
from recoup.system.clock import local_zone

if TYPE_CHECKING:
    from recoup.scheduler._jobs import Job

SAMPLE = """\
schedule:
  - {run: backup, cron: "0 2 * * *"}
  - {run: prune, cron: "30 4 * * *"}
  - {run: drill, cron: "0 5 * * 0", jitter: 10m}
  - {run: verify, cron: "0 6 1 * *", read_data_subset: 10%}
  - {run: status, every: 1h}
"""
"""A schedule to begin with."""

_SHORTEST, _LONGEST = timedelta(minutes=1), timedelta(days=3653)
_MOST_JITTER = timedelta(days=31)

_ALWAYS = {"prune": ("--yes",), "status": ("--notify",)}
"""What a verb needs where nobody can be asked and nobody looks."""

_HERE = Path()
_REPORTS = (".json", ".md", ".html")

_ONLY_FOR = {
    "sources": ("backup", "prune", "drill"),
    "repository": ("prune", "verify", "drill", "copy", "status"),
    "to": ("backup", "copy"),
    "read_data_subset": ("verify",),
    "full": ("drill",),
    "report": ("drill",),
}
"""Which verbs know a key; the others are for all."""


def _cron(text: str) -> str:
    from recoup.scheduler.cron import checked

    try:
        return checked(text)
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _some_time(every: timedelta) -> timedelta:
    if every < _SHORTEST:
        raise ValueError("it is shorter than a minute; write at least 1m")
    if every > _LONGEST:
        raise ValueError("it is longer than ten years; write at most 3653d")
    return every


def _short_enough(jitter: timedelta) -> timedelta:
    if jitter > _MOST_JITTER:
        raise ValueError("it is longer than a month; write at most 31d")
    return jitter


def _subset(text: str) -> str:
    from recoup.repository import _subset as subsets

    try:
        subsets.checked(text)
    except UsageError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None
    return text


def _report(file: Path) -> Path:
    if file.suffix not in _REPORTS:
        raise ValueError(f"'{file.name}' is no report; end its name in .json, .md or .html")
    return file


class ScheduleLine(Group):
    """One job of the schedule."""

    run: Literal["backup", "prune", "verify", "drill", "copy", "status"] = Field(
        description="The verb. `status` looks for what is wrong and sends notices."
    )
    name: Name | None = Field(
        None,
        description="The job's name, by which it is remembered. Without it, the verb and the sources, as in `backup-db`.",
    )
    cron: Annotated[str, AfterValidator(_cron)] | None = Field(
        None,
        description='When, as cron says it: minute, hour, day, month and day of the week, as in `"0 2 * * *"`; '
        "or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
    )
    every: Annotated[Duration, AfterValidator(_some_time)] | None = Field(
        None,
        description="How often, instead of `cron`: first when the schedule first sees the line, then in this distance.",
    )
    timezone: TimeZone | None = Field(
        None, description="Time zone of `cron`, for example Europe/Berlin. Without it, that of the machine."
    )
    jitter: Annotated[Duration, AfterValidator(_short_enough)] = Field(
        "0s",
        validate_default=True,
        description="At most how much later it runs, so that many machines do not begin at once; the same on each run.",
    )
    catch_up: bool = Field(
        True, description="Whether a time that was missed (machine off or asleep, run killed) is made up for, once."
    )
    sources: tuple[Name, ...] = Field((), description="With backup, prune and drill: only these sources.")
    to: tuple[Name, ...] = Field(
        (), description="With backup: into these repositories. With copy: the one that gets the sets."
    )
    repository: Name | None = Field(
        None,
        description="With prune, verify, drill, copy and status: the repository to work on; with copy the one to read.",
    )
    read_data_subset: Annotated[str, AfterValidator(_subset)] | None = Field(
        None, description="With verify: which part of the bytes is read, as `10%`, `10G` or `2/7`."
    )
    full: bool = Field(False, description="With drill: everything, as after the loss of the machine.")
    report: Annotated[Path, AfterValidator(_report)] | None = Field(
        None,
        description="With drill: file that its report is written to, over the one before: .json, .md or .html; relative to the "
        "folder of this file.",
    )

    @property
    def label(self) -> str:
        """The job's name, given or made."""
        return self.name or "-".join((self.run, *self.sources))

    @model_validator(mode="after")
    def _one_time(self) -> "ScheduleLine":
        if self.cron is not None and self.every is not None:
            raise ValueError("`cron` and `every` are both given; keep one of them")
        if self.cron is None and self.every is None:
            raise ValueError('it says no time; add `cron: "0 2 * * *"` or `every: 6h`')
        if self.timezone is not None and self.cron is None:
            raise ValueError("`timezone` has no meaning with `every`; remove it")
        return self

    @model_validator(mode="after")
    def _fits_the_verb(self) -> "ScheduleLine":
        for key, verbs in _ONLY_FOR.items():
            if getattr(self, key) and self.run not in verbs:
                raise ValueError(f"`{key}` has no meaning with `run: {self.run}`; it goes with {', '.join(verbs)}")
        if self.run == "copy" and len(self.to) != 1:
            raise ValueError("`run: copy` needs one repository that gets the sets; add `to: [NAME]`")
        if self.full and self.sources:
            raise ValueError("`full` is everything; remove `sources`")
        return self

    @property
    def arguments(self) -> tuple[str, ...]:
        """What stands behind `recoup` and the configuration's own options to run the job by hand."""
        found = [self.run, *_ALWAYS.get(self.run, ())]
        if self.sources:
            found += ["--source", ",".join(self.sources)]
        if self.to:
            found += ["--to", ",".join(self.to)]
        if self.repository is not None:
            found += ["--repository", self.repository]
        if self.read_data_subset is not None:
            found += ["--read-data-subset", self.read_data_subset]
        return (*found, "--full") if self.full else tuple(found)


def _arguments(line: ScheduleLine, base: Path) -> tuple[str, ...]:
    return line.arguments if line.report is None else (*line.arguments, "--report", str(base / line.report))


def jobs(lines: Sequence[ScheduleLine], stack: str, host: str, base: Path = _HERE) -> "tuple[Job, ...]":
    """The jobs of a schedule.

    Args:
        lines: its lines.
        stack: the stack's name.
        host: this machine's name: each machine has a jitter of its own.
        base: folder that files are relative to.
    """
    from recoup.scheduler._jobs import Job
    from recoup.scheduler.cron import jitter

    here = local_zone()
    return tuple(
        Job(
            name=line.label,
            arguments=_arguments(line, base),
            cron=line.cron or "",
            zone=ZoneInfo(line.timezone) if line.timezone else here,
            every=line.every,
            jitter=jitter(line.jitter, host, stack, line.label),
            catch_up=line.catch_up,
            sources=line.sources,
        )
        for line in lines
    )


def faults(
    lines: tuple[ScheduleLine, ...],
    found: Node | None,
    sources: Collection[str],
    repositories: Collection[str],
) -> Iterator[Fault]:
    """What is wrong with lines that are right one by one.

    Args:
        lines: they.
        found: the node of `schedule`.
        sources: names of all sources, also of those that have mistakes of their own.
        repositories: names of all repositories.
    """
    first: dict[str, int] = {}
    for number, line in enumerate(lines):
        node = child(found, number) if found else None
        if node is None:
            continue
        targets = {*repositories, *(("all",) if line.run == "backup" else ())}
        wanted = () if line.repository is None else (line.repository,)
        yield from _unknown(node, ("schedule", number, "sources"), line.sources, sources)
        yield from _unknown(node, ("schedule", number, "to"), line.to, targets)
        yield from _unknown(node, ("schedule", number, "repository"), wanted, set(repositories))
        yield from _not_one(node, number, line, repositories)
        if line.label in first:
            problem = f"is called `{line.label}`, as is `schedule.{first[line.label]}`"
            yield Fault(node.place, ("schedule", number), problem, "Give one of them another `name`.")
        first.setdefault(line.label, number)


def _not_one(node: Node, number: int, line: ScheduleLine, repositories: Collection[str]) -> Iterator[Fault]:
    """What is wrong with a verb that works on one repository alone."""
    if line.run not in ("prune", "copy"):
        return
    if line.repository is None and len(repositories) > 1:
        hint = f"Add `repository: NAME`. Known: {', '.join(repositories)}."
        problem = f"does not say on which of the {len(repositories)} repositories `{line.run}` works"
        yield Fault(node.place, ("schedule", number), problem, hint)
    elif line.to == ((line.repository or next(iter(repositories), "")),):
        yield Fault(node.place, ("schedule", number), f"copies `{line.to[0]}` into itself", "Name two repositories.")


def _unknown(node: Node, path: KeyPath, wanted: tuple[str, ...], known: Collection[str]) -> Iterator[Fault]:
    what = "source" if path[-1] == "sources" else "repository"
    place = (child(node, str(path[-1])) or node).place
    for name in wanted:
        if name not in known:
            advice = unknown_word(name, sorted(known)) if known else f"There is no {what} at all."
            yield Fault(place, path, f"names the {what} `{name}`, which is not configured", advice)
