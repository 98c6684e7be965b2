"""What a child can be asked for: how each verb is done on a stack, and the type of its answer."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from recoup.app import Stack
from recoup.model.reports import (
    BackupReport,
    CopyReport,
    DrillReport,
    ExportReport,
    PruneReport,
    PutRight,
    RecoveryReport,
    RepairReport,
    RestoreReport,
    SetInfo,
    StatusReport,
    VerifyReport,
)
from recoup.model.structs import Struct
from recoup.operations import backup, diff, doctor, restore, stats


class Verb(Struct):
    """One verb.

    Attributes:
        act: does it; takes JSON types.
        kind: type of its answer, or of each element of it.
        several: whether the answer is a sequence, which travels element by element.
    """

    act: Callable[..., Any]
    kind: Any
    several: bool = False


class About(Struct):
    """What a configuration says of a stack.

    Attributes:
        stack: its name.
        sources: names of its sources.
        repositories: names of its repositories.
        warnings: what a person should know.
    """

    stack: str
    sources: tuple[str, ...]
    repositories: tuple[str, ...]
    warnings: tuple[str, ...]


def _about(stack: Stack) -> About:
    return About(stack.settings.stack, stack.source_names, tuple(stack.settings.repositories), stack.warnings)


def _pin(stack: Stack, text: str, reason: str, until: str | None) -> str:
    return stack.pin(text, reason, None if until is None else datetime.fromisoformat(until))


def _plan_restore(stack: Stack, **arguments: Any) -> tuple[restore.Row, ...]:
    return stack.plan_restore(**arguments).rows


VERBS: Mapping[str, Verb] = {
    "about": Verb(_about, About),
    "present": Verb(Stack.present, bool),
    "create_repositories": Verb(Stack.create_repositories, dict[str, str]),
    "plan_backup": Verb(Stack.plan_backup, backup.Plan),
    "backup": Verb(Stack.backup, BackupReport),
    "copy": Verb(Stack.copy, CopyReport),
    "export": Verb(Stack.export, ExportReport),
    "repair": Verb(Stack.repair, RepairReport, several=True),
    "sets": Verb(Stack.sets, SetInfo, several=True),
    "show": Verb(Stack.show, SetInfo),
    "diff": Verb(Stack.diff, diff.DiffReport),
    "stats": Verb(Stack.stats, stats.RepositoryStats, several=True),
    "status": Verb(Stack.status, StatusReport),
    "doctor": Verb(Stack.doctor, doctor.Report),
    "verify": Verb(Stack.verify, VerifyReport, several=True),
    "drill": Verb(Stack.drill, DrillReport),
    "drill_recovery": Verb(Stack.drill_recovery, RecoveryReport),
    "plan_restore": Verb(_plan_restore, restore.Row, several=True),
    "restore": Verb(Stack.restore, RestoreReport),
    "prune": Verb(Stack.prune, PruneReport),
    "pin": Verb(_pin, str),
    "unpin": Verb(Stack.unpin, str),
    "note": Verb(Stack.note, str),
    "accept": Verb(Stack.accept, str),
    "recover": Verb(Stack.recover, PutRight, several=True),
}
"""By name."""
