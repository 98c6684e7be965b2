"""What the verbs return and the command line prints: frozen values, the same for `--json` and the Python API."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Literal

from recoup.errors import ExitCode
from recoup.model.facts import Comparison
from recoup.model.manifest import Manifest
from recoup.model.marks import Standing
from recoup.model.names import SetName
from recoup.model.sharing import Reclaim, Sent
from recoup.model.structs import Struct


class SetInfo(Struct):
    """A set as `list` shows it.

    Attributes:
        repository: name of the repository that holds it.
        manifest: what it claims; None when its manifest cannot be read.
        standing: pins, proofs and notes.
        name: the set's name.
        problem: why the manifest cannot be read; empty otherwise.
    """

    repository: str
    name: str
    manifest: Manifest | None
    standing: Standing = field(default_factory=Standing)
    problem: str = ""

    @property
    def name_key(self) -> tuple[str, int]:
        """Sorts sets by time, those of one second by their ordinal."""
        parsed = SetName.parse(self.name)
        return (self.name, 0) if parsed is None else (str(SetName(parsed.time)), parsed.ordinal)


class ManifestFile(Struct):
    """A set's manifest as a file of its own.

    Attributes:
        set: the set's name.
        data: JSON, UTF-8.
        as_stored: True when these are the very bytes that are stored; False when what is stored is encrypted, and this is
            what it says.
    """

    set: str
    data: bytes
    as_stored: bool


class StoredCopy(Struct):
    """What became of one repository in a backup.

    Attributes:
        repository: its name.
        location: where it is, for people.
        set: name of the set that it now has; empty when it has none of this run.
        outcome: of that set.
        stored_bytes: what the set takes there.
        error: why nothing was stored; empty otherwise.
        code: that error's exit code.
        left_out: sources that other repositories have and this one could not take, with the reason.
        pruned: names of the sets that were removed afterwards.
        prune_error: why the prune afterwards failed; empty otherwise.
    """

    repository: str
    location: str
    set: str = ""
    outcome: str = ""
    stored_bytes: int = 0
    error: str = ""
    code: ExitCode = ExitCode.OK
    left_out: Mapping[str, str] = field(default_factory=dict)
    pruned: tuple[str, ...] = ()
    prune_error: str = ""


class BackupReport(Struct):
    """The result of a backup.

    Attributes:
        manifest: of the stored set; None when nothing was stored. In several repositories it is that of the first; sets of
            one run have the same `id` everywhere.
        repository: where; of several, those that have it, with commas between them.
        seconds: how long it took.
        errors: source name to its error.
        refused: True when nothing was stored, because every source refused for safety.
        repositories: one entry for each repository that was to get the set.
    """

    manifest: Manifest | None
    repository: str
    seconds: float
    errors: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False
    repositories: tuple[StoredCopy, ...] = ()

    @property
    def failed(self) -> tuple[StoredCopy, ...]:
        """The repositories that did not get the set."""
        return tuple(copy for copy in self.repositories if copy.error)

    @property
    def exit_code(self) -> ExitCode:
        """0 complete; 3 incomplete or suspicious, or a repository failed; 1 nothing stored; 13 nothing stored because it was
        refused. When all repositories failed for the same kind of reason, it is that reason's own code."""
        if self.manifest is None:
            codes = {copy.code for copy in self.failed}
            alone = codes.pop() if len(codes) == 1 and len(self.failed) == len(self.repositories) else ExitCode.FAILED
            return ExitCode.REFUSED if self.refused else alone
        outcomes = {self.manifest.outcome, *(copy.outcome for copy in self.repositories if copy.set)}
        whole = outcomes == {"complete"} and not self.failed and not any(c.prune_error for c in self.repositories)
        return ExitCode.OK if whole else ExitCode.INCOMPLETE


class Damage(Struct):
    """Something that is not as the manifest says.

    Attributes:
        item: path inside the set.
        kind: `missing`, `changed`, `extra`, `size`, `link`, `manifest`, `unreadable`; `content` for what a plug found in
            sound bytes; `unread` for what no worker could look at, so that nobody knows.
        message: one sentence.
    """

    item: str
    kind: str
    message: str


class VerifyReport(Struct):
    """The result of verifying one set's stored bytes.

    Attributes:
        set: the set's name.
        files: stored files looked at.
        bytes: stored bytes read.
        share: part of the set's bytes that was read, 0.0 to 1.0.
        damage: what is wrong.
        seconds: how long it took.
        repository: where the set is.
        outcome: of the backup that made the set; empty when its manifest cannot be read.
        unseen: what this host could not look at, however many bytes it read; empty when there is nothing of that kind.
    """

    set: str
    files: int
    bytes: int
    share: float
    damage: tuple[Damage, ...]
    seconds: float
    repository: str = ""
    outcome: str = ""
    unseen: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """0 or 4."""
        return ExitCode.DAMAGED if self.damage else ExitCode.OK


class SourceDrill(Struct):
    """The drill of one source.

    Attributes:
        source: its name.
        kind: its plug.
        bytes: restored bytes.
        seconds: how long restoring and comparing took.
        comparisons: what was compared.
        error: why it could not be restored or opened; empty otherwise.
        restore_seconds: how long restoring alone took, the twin's making included; None when it did not succeed.
        unreadable: True when the stored copy could not be read, or is damaged.
    """

    source: str
    kind: str
    bytes: int
    seconds: float
    comparisons: tuple[Comparison, ...]
    error: str = ""
    restore_seconds: float | None = None
    unreadable: bool = False

    @property
    def passed(self) -> bool:
        """True when something was compared and all of it agrees."""
        return not self.error and bool(self.comparisons) and all(c.equal for c in self.comparisons)


class DrillReport(Struct):
    """The proof, or its failure.

    Attributes:
        set: the set's name.
        age_seconds: how old the set was when the drill began.
        started: when (UTC).
        sources: one entry for each source drilled.
        skipped: sources of the set that were not drilled, with the reason (absent, failed at backup, not asked for).
        seconds: how long it took.
        repository: where the set is.
        earlier: drills of nearer copies of the same cut, which could not be read.
    """

    set: str
    age_seconds: float
    started: datetime
    sources: tuple[SourceDrill, ...]
    skipped: Mapping[str, str]
    seconds: float
    repository: str = ""
    earlier: tuple["DrillReport", ...] = ()

    @property
    def passed(self) -> bool:
        """True when at least one source was drilled and all passed."""
        return bool(self.sources) and all(source.passed for source in self.sources)

    @property
    def unreadable(self) -> bool:
        """True when a source failed because its stored copy could not be read, or is damaged."""
        return any(source.unreadable for source in self.sources)

    @property
    def exit_code(self) -> ExitCode:
        """0 when this copy passed and no nearer one had failed; else 4."""
        return ExitCode.OK if self.passed and not self.earlier else ExitCode.DAMAGED


class RecoveryPoint(Struct):
    """Of when a source would be after a recovery.

    Attributes:
        source: its name.
        set: the set with its newest good copy.
        frozen: the moment from which on changes are missing in it (UTC).
        age_seconds: from then to the drill: what is lost if the machine is lost now.
        interval_seconds: from the good copy before it to this one: what would have been lost just before it; None when it is
            the only one.
    """

    source: str
    set: str
    frozen: datetime
    age_seconds: float
    interval_seconds: float | None

    @property
    def worst_seconds(self) -> float:
        """The longer of the two."""
        return max(self.age_seconds, self.interval_seconds or 0.0)


class RecoveryReport(Struct):
    """The result of a disaster-recovery drill: the newest good copy of every source, restored from the repository alone.

    Attributes:
        repository: where the sets are, without secrets.
        host: the machine that restored.
        started: when (UTC).
        drills: one for each set that was needed.
        points: of when each source is.
        lost: source to the reason why nothing could bring it back.
        skipped: source to the reason why there is nothing to bring back.
        unreadable: set to why its manifest cannot be read.
        seconds: how long all of it took, comparing included.
    """

    repository: str
    host: str
    started: datetime
    drills: tuple[DrillReport, ...]
    points: tuple[RecoveryPoint, ...]
    lost: Mapping[str, str]
    skipped: Mapping[str, str]
    unreadable: Mapping[str, str]
    seconds: float

    @property
    def sources(self) -> tuple[SourceDrill, ...]:
        """All drilled sources."""
        return tuple(source for report in self.drills for source in report.sources)

    @property
    def passed(self) -> bool:
        """True when every source came back and agrees with what was true."""
        return bool(self.drills) and not self.lost and all(report.passed for report in self.drills)

    @property
    def rto_seconds(self) -> float | None:
        """The measured recovery time: restoring all sources, one after another; None when not all came back."""
        if not self.passed:
            return None
        return sum(source.restore_seconds or 0.0 for source in self.sources)

    @property
    def rpo_seconds(self) -> float | None:
        """The measured recovery point: the most that any source loses; None when one is lost whole or did not come back."""
        return max(point.worst_seconds for point in self.points) if self.passed else None

    @property
    def exit_code(self) -> ExitCode:
        """0; 4 when a copy does not restore; 3 when there is none of a source."""
        if not all(report.exit_code == ExitCode.OK for report in self.drills):
            return ExitCode.DAMAGED
        return ExitCode.OK if self.passed else ExitCode.INCOMPLETE


class ExportReport(Struct):
    """The result of an export.

    Attributes:
        set: the set's name.
        repository: where it is.
        target: the folder or file that it was written to, or `standard output`.
        exported_as: the set's name there.
        bytes: what it holds.
        seconds: how long it took.
    """

    set: str
    repository: str
    target: str
    exported_as: str
    bytes: int
    seconds: float


class RestoredSource(Struct):
    """One restored source.

    Attributes:
        source: its name.
        target: where it was put, as a person would type it.
        bytes: restored bytes.
        kept: where what was there before is kept; empty when nothing was there.
        seconds: how long it took.
        error: why it was not restored (the target is as it was); empty otherwise.
        exit_code: that error's exit code.
        repository: whose copy it is from.
        fell_back: why nearer copies were not taken, one sentence for each that was tried.
        counted: what was counted at the target afterwards, and is what was recorded at the backup: `points of docs` to their
            number; empty where nothing is counted.
    """

    source: str
    target: str
    bytes: int = 0
    kept: str = ""
    seconds: float = 0.0
    error: str = ""
    exit_code: ExitCode = ExitCode.OK
    repository: str = ""
    fell_back: tuple[str, ...] = ()
    counted: Mapping[str, int] = field(default_factory=dict)


class RestoreReport(Struct):
    """The result of a restore.

    Attributes:
        set: names of the sets that were restored from.
        sources: one entry for each source.
        seconds: how long it took.
        lost: sources that were asked for and of which there was nothing to restore.
    """

    set: str
    sources: tuple[RestoredSource, ...]
    seconds: float
    lost: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """0 when all were restored; 4 when stored bytes are damaged; 3 when some were not; a sole error's own code."""
        failed = [s for s in self.sources if s.error]
        if not failed:
            return ExitCode.INCOMPLETE if self.lost else ExitCode.OK
        if any(s.exit_code == ExitCode.DAMAGED for s in failed):
            return ExitCode.DAMAGED
        if len(failed) < len(self.sources):
            return ExitCode.INCOMPLETE
        return failed[0].exit_code


class CopiedSet(Struct):
    """What became of one set in a copy.

    Attributes:
        set: its name where it was copied from.
        copy: its name in the other repository; empty when it is not there.
        bytes: what was copied, plain; 0 when nothing had to be.
        seconds: how long it took.
        there: True when the other repository had it already.
        error: why it was not copied; empty otherwise.
        code: that error's exit code.
        sent: what went over as it was stored, between repositories with the same keys; None where it was stored anew.
    """

    set: str
    copy: str = ""
    bytes: int = 0
    seconds: float = 0.0
    there: bool = False
    error: str = ""
    code: ExitCode = ExitCode.OK
    sent: Sent | None = None


class CopyReport(Struct):
    """The result of a copy.

    Attributes:
        origin: name of the repository that was copied from.
        target: name of the one that got the sets.
        sets: one entry for each set that was asked for.
        seconds: how long it took.
    """

    origin: str
    target: str
    sets: tuple[CopiedSet, ...]
    seconds: float

    @property
    def exit_code(self) -> ExitCode:
        """0 when the target has all of them; 4 when one is damaged; 3 when some are missing; a sole reason's own code when all
        are."""
        failed = [one for one in self.sets if one.error]
        if not failed:
            return ExitCode.OK
        codes = {one.code for one in failed}
        if ExitCode.DAMAGED in codes:
            return ExitCode.DAMAGED
        return codes.pop() if len(codes) == 1 and len(failed) == len(self.sets) else ExitCode.INCOMPLETE


class RepairReport(Struct):
    """The result of mending one set by another repository's copy.

    Attributes:
        set: its name.
        repository: where it was mended.
        helper: name of the repository that has the copy.
        repaired: paths of the files that were put in place, with the bytes that the manifest wants.
        left: damage that is still there, by a verification of the whole set.
        seconds: how long it took.
        reasons: why that could not be mended, one sentence each.
    """

    set: str
    repository: str
    helper: str
    repaired: tuple[str, ...]
    left: tuple[Damage, ...]
    seconds: float
    reasons: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """0 when the set is whole, else 4."""
        return ExitCode.DAMAGED if self.left else ExitCode.OK


class PutRight(Struct):
    """What killed runs had left at one source.

    Attributes:
        source: its name.
        done: a sentence for each thing that was finished, taken back or started.
        error: why something is still not right; empty when all is.
    """

    source: str
    done: tuple[str, ...]
    error: str = ""


class PruneReport(Struct):
    """The result of pruning.

    Attributes:
        removed: names of the sets that were removed.
        kept: names of those that stay.
        freed_bytes: what the removed ones took.
        seconds: how long it took.
        wanted_bytes: what was asked to be freed at once; 0 for a prune by the rules alone.
        gained_bytes: by how much the free space grew; None where unknown, and for a prune by the rules alone.
        reclaim: what became of the space; None where sets share nothing, so that it went with them.
    """

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    freed_bytes: int
    seconds: float
    wanted_bytes: int = 0
    gained_bytes: int | None = None
    reclaim: Reclaim | None = None

    @property
    def exit_code(self) -> ExitCode:
        """0; 4 when content that sets use is lost or damaged; 3 when less space was gained than was asked for."""
        if self.reclaim is not None and (self.reclaim.lost or self.reclaim.harmed):
            return ExitCode.DAMAGED
        gained = self.freed_bytes if self.gained_bytes is None else self.gained_bytes
        return ExitCode.INCOMPLETE if self.wanted_bytes and gained < self.wanted_bytes else ExitCode.OK


class Problem(Struct):
    """A condition that a person has to know of.

    Attributes:
        key: what it is and of what, `too-old:local:cache`: the same as long as the condition lasts.
        level: `warning` (a backup is there, and something is doubtful) or `critical` (a recovery would fail or lose much).
        repository: name; empty when it is about none.
        source: name; empty when it is about none.
        sentence: what is wrong.
        hint: what to do; empty where nothing sensible can be said.
    """

    key: str
    level: Literal["warning", "critical"]
    repository: str
    source: str
    sentence: str
    hint: str = ""

    @property
    def about(self) -> str:
        """What it is about, for people: `cache in local`; empty when it is about the stack."""
        return " in ".join(filter(None, (self.source, self.repository)))

    @property
    def text(self) -> str:
        """The sentence with what it is about."""
        return f"{self.about}: {self.sentence}" if self.about else self.sentence


class StatusRow(Struct):
    """One source in one repository.

    Attributes:
        repository: name.
        source: name.
        set: the newest set that holds a good copy; empty when there is none.
        time: when that set was begun (UTC).
        age_seconds: how old it is.
        bytes: how much it holds of the source.
        proven: when that set was last proven by a drill; None when never.
        problem: the gravest problem of this row; empty when all is well.
        max_age_seconds: how old it may become; None when it may become any age.
        median_bytes: the median of the good copies before it, at most ten; None when there are none.
        next_due: when the schedule makes the next one (UTC); None when it does not.
        recent_copies: how many good copies are not older than `max_age_seconds`.
    """

    repository: str
    source: str
    set: str
    time: datetime | None
    age_seconds: float | None
    bytes: int
    proven: datetime | None
    problem: str = ""
    max_age_seconds: float | None = None
    median_bytes: int | None = None
    next_due: datetime | None = None
    recent_copies: int = 0

    @property
    def change(self) -> float | None:
        """How much larger it is than the median of those before it: 0.1 is a tenth more; None when that means nothing."""
        return None if not self.median_bytes or not self.set else self.bytes / self.median_bytes - 1


class RepositoryStatus(Struct):
    """How a repository is.

    Attributes:
        repository: name.
        sets: how many it holds.
        free_bytes: what it has left; None where unknown.
        growth_bytes: by how much it grows in a day at present, what prune removes taken off; None where unknown.
        failure: why it cannot be read; empty when it can.
    """

    repository: str
    sets: int = 0
    free_bytes: int | None = None
    growth_bytes: float | None = None
    failure: str = ""

    @property
    def days_until_full(self) -> float | None:
        """How long the free space lasts; None where that is unknown, or nothing grows."""
        if self.free_bytes is None or self.growth_bytes is None or self.growth_bytes <= 0:
            return None
        return self.free_bytes / self.growth_bytes


class VerbRun(Struct):
    """One run of a verb, as this machine remembers it.

    Attributes:
        verb: `backup`, `prune`, `verify`, `drill` or `copy`.
        sources: names of the sources that it was asked for; empty for all.
        repository: names of the repositories, with commas between them.
        started: when (UTC).
        finished: when (UTC).
        exit_code: what it returned, or would have returned at the command line.
        sentence: what went wrong; empty when nothing did, or when the set that was stored says it itself. Of a verify that went
            well, that only a part of the bytes was read; empty when all were.
    """

    verb: str
    sources: tuple[str, ...]
    repository: str
    started: datetime
    finished: datetime
    exit_code: int
    sentence: str = ""


class StatusReport(Struct):
    """The state of a stack's backups.

    Attributes:
        rows: one for each source and repository.
        sets: how many sets there are, over all repositories.
        newest: name of the newest set of all; empty when there is none.
        newest_outcome: its outcome; `unreadable` where its manifest cannot be read.
        repositories: one for each repository.
        problems: what a person has to know, the gravest first.
        runs: the last run of each verb that this machine remembers.
    """

    rows: tuple[StatusRow, ...]
    sets: int
    newest: str
    newest_outcome: str
    repositories: tuple[RepositoryStatus, ...] = ()
    problems: tuple[Problem, ...] = ()
    runs: tuple[VerbRun, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """0 when every source has a good holding and there is no problem, else 3; 1 when nothing is held at all."""
        if not any(row.set for row in self.rows):
            return ExitCode.FAILED
        return ExitCode.INCOMPLETE if self.problems else ExitCode.OK
