"""Backup and proven recovery for RAG stacks: Qdrant collections, databases and files taken as one cut.

    import recoup

    stack = recoup.open("recoup.yaml")
    report = stack.backup()
    proof = stack.drill()

`recoup.aopen` is the same for applications with an event loop. `recoup.qdrant` opens snapshots of Qdrant without a server, and
backs up and restores one without a configuration.

Names are loaded when they are first used, so that importing Recoup costs an application next to nothing.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from recoup import qdrant
    from recoup.app import Stack
    from recoup.asynchronous import AsyncEmit, AsyncStack
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

    Config = str | Path | Sequence[str | Path] | None

__all__ = [
    "AsyncEmit",
    "AsyncStack",
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
    "aopen",
    "capture_duckdb",
    "open",
    "qdrant",
]


def open(config: "Config" = None, **arguments: Any) -> "Stack":  # noqa: A001 - reads well as recoup.open
    """Opens a stack by its configuration file.

    Args:
        config: the file, or several, of which later ones win; None looks in the usual places.
        arguments: those of `recoup.app.open_stack`: `overrides`, `repository`, `emit` (a callback that is told of every
            `Event` and `Progress`), `environ`, `cwd`, `clock`.

    Raises:
        RecoupError: the configuration is missing or wrong.
    """
    from recoup.app import open_stack

    return open_stack(_files(config), **arguments)


def aopen(
    config: "Config" = None,
    *,
    overrides: "Sequence[str]" = (),
    repository: str | None = None,
    emit: "AsyncEmit | None" = None,
    environ: "Mapping[str, str] | None" = None,
    cwd: "Path | None" = None,
) -> "AsyncStack":
    """A stack for applications with an event loop; the work is done in processes of its own.

        async with recoup.aopen("recoup.yaml") as stack:
            report = await stack.backup()

    Cancelling a call ends its process, and nothing half done counts as a set.

    Args:
        config: the file, or several, of which later ones win; None looks in the usual places.
        overrides: `KEY=VALUE`, dotted keys.
        repository: a configured repository's name, or a path or URL of one.
        emit: a coroutine function, or a plain one that does not block: is told of every `Event` and `Progress`.
        environ: the environment for the configuration, that of this process by default; it never stands in a command line.
        cwd: the working folder, the present one by default.
    """
    from recoup.asynchronous import AsyncStack

    opening = {
        "config": [str(path) for path in _files(config)],
        "overrides": list(overrides),
        "repository": repository,
        "environ": None if environ is None else dict(environ),
        "cwd": None if cwd is None else str(cwd),
    }
    return AsyncStack(opening, emit)


def _files(config: "Config") -> "Sequence[str | Path]":
    if config is None:
        return []
    return [config] if isinstance(config, str | os.PathLike) else config


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'recoup' has no attribute {name!r}")
    from recoup import app, asynchronous, errors
    from recoup.model import events, manifest, reports

    if name == "qdrant":
        import recoup.qdrant

        return recoup.qdrant
    if name == "capture_duckdb":
        from recoup.sources.duckdb import capture_duckdb

        return capture_duckdb
    home = next(module for module in (app, asynchronous, errors, events, manifest, reports) if hasattr(module, name))
    return getattr(home, name)
