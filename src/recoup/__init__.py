"""Backup and proven recovery for RAG stacks: Qdrant collections, databases and files taken as one cut.

    import recoup

    stack = recoup.open("recoup.yaml")
    report = stack.backup()
    proof = stack.drill()

`recoup.qdrant` opens snapshots of Qdrant without a server, and backs up and restores one without a configuration.

Names are loaded when they are first used, so that importing Recoup costs an application next to nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from recoup import qdrant
    from recoup.app import Stack
    from recoup.errors import ExitCode, RecoupError
    from recoup.model.events import Event, Progress
    from recoup.model.manifest import Manifest
    from recoup.model.reports import (
        BackupReport,
        DrillReport,
        PruneReport,
        RestoreReport,
        SetInfo,
        VerifyReport,
    )
    from recoup.sources.duckdb import capture_duckdb

__all__ = [
    "BackupReport",
    "DrillReport",
    "Event",
    "ExitCode",
    "Manifest",
    "Progress",
    "PruneReport",
    "RecoupError",
    "RestoreReport",
    "SetInfo",
    "Stack",
    "VerifyReport",
    "capture_duckdb",
    "open",
    "qdrant",
]


def open(config: "str | Path | None" = None, **arguments: Any) -> "Stack":  # noqa: A001 - reads well as recoup.open
    """Opens a stack by its configuration file.

    Args:
        config: the file; None looks in the usual places.
        arguments: those of `recoup.app.open_stack`: `overrides`, `repository`, `emit` (a callback that is told of every
            `Event` and `Progress`), `environ`, `cwd`, `clock`.

    Raises:
        RecoupError: the configuration is missing or wrong.
    """
    from recoup.app import open_stack

    return open_stack([] if config is None else [config], **arguments)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'recoup' has no attribute {name!r}")
    from recoup import app, errors
    from recoup.model import events, manifest, reports

    if name == "qdrant":
        import recoup.qdrant

        return recoup.qdrant
    if name == "capture_duckdb":
        from recoup.sources.duckdb import capture_duckdb

        return capture_duckdb
    home = next(module for module in (app, errors, events, manifest, reports) if hasattr(module, name))
    return getattr(home, name)
