"""What a job's command printed, as pages show it.

It is made into reports again, so that what passed and what failed is computed from what was found, and not believed.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from recoup.model.reports import (
    BackupReport,
    CopyReport,
    DrillReport,
    PruneReport,
    RecoveryReport,
    RestoreReport,
    VerifyReport,
)
from recoup.model.structs import Struct
from recoup.model.wire import decoded

_REPORTS: Mapping[str, type] = {
    "backup": BackupReport,
    "copy": CopyReport,
    "drill": DrillReport,
    "prune": PruneReport,
    "recovery": RecoveryReport,
    "restore": RestoreReport,
    "verify": VerifyReport,
}


class Result(Struct):
    """A result of a job.

    Attributes:
        kind: its `type`, as the command printed it.
        report: a report of `recoup.model.reports`; for others, and for those that cannot be read as such, indented JSON.
        template: the fragment that shows it, which wants it as `report`.
    """

    kind: str
    report: Any
    template: str


def results(records: Iterable[Mapping[str, Any]]) -> tuple[Result, ...]:
    """The results of a job, in order.

    Args:
        records: the JSON lines that its command printed.
    """
    return tuple(_result(record) for record in records)


def _result(record: Mapping[str, Any]) -> Result:
    kind = str(record.get("type", ""))
    if kind in _REPORTS:
        try:
            return Result(kind, decoded(_REPORTS[kind], record), f"_result_{kind}.html")
        except ValueError:  # of another version of Recoup, say
            pass
    if kind == "error":
        return Result(kind, {key: str(record.get(key, "")) for key in ("message", "hint")}, "_result_error.html")
    return Result(kind, json.dumps(record, indent=2, ensure_ascii=False), "_result_other.html")
