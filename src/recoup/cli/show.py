"""`recoup show`: one set, whole."""

from typing import Annotated

import typer

from recoup.cli._session import names, session, verb
from recoup.errors import ExitCode, RefusedError, UsageError
from recoup.model import figures


@verb
def show(
    context: typer.Context,
    set: Annotated[  # noqa: A002 - the noun of the field
        str,
        typer.Argument(
            metavar="SET",
            help="Name, unique prefix, latest, latest-complete, oldest, or a time; or the key of a foreign artefact.",
        ),
    ] = "latest",
    source: Annotated[str | None, typer.Option("--source", metavar="A,B", help="Only these sources.")] = None,
) -> ExitCode:
    """Show one set: its parts, facts, findings, pins and proofs."""
    from recoup.cli import _foreign, _listing, _tables
    from recoup.system.clock import SystemClock

    now = session(context)
    if (artefact := now.stack.foreign_named(set)) is not None:
        return _foreign.show(now, artefact)
    info = now.stack.show(set)
    if info.manifest is None:
        now.stack.demand_key(info.name)
        raise RefusedError(f"{info.name} cannot be read: {info.problem}", "`recoup verify` says more.")
    manifest = info.manifest
    chosen = names(source) or list(manifest.sources)
    if unknown := [name for name in chosen if name not in manifest.sources]:
        raise UsageError(f"{info.name} has no source {unknown[0]}", f"It has: {', '.join(manifest.sources)}.")
    now.result("set", info)
    now.show(_listing.sets([info], SystemClock().now()))
    frozen = "" if manifest.spread_ms is None else f", frozen within {manifest.spread_ms} ms"
    now.show(f"\nBegun {manifest.started:%Y-%m-%d %H:%M:%S} UTC on {manifest.host.name}{frozen}.")
    if manifest.sealing is not None:
        whose = f"to {', '.join(manifest.sealing.recipients)}" if manifest.sealing.recipients else "with a passphrase"
        now.show(f"Encrypted by {manifest.sealing.method} {whose}; facts that are texts are encrypted, too.")
    for text in (manifest.note, *info.standing.notes):
        if text:
            now.show(f"Note: {text}")
    if info.standing.pinned:
        now.show(f"Pinned: {info.standing.pin_reason or 'no reason given'}")
    now.show(_tables.sources(manifest))
    for name in chosen:
        record = manifest.sources[name]
        now.show(f"\n{name} ({record.kind}{', ' + record.method if record.method else ''})")
        for part in record.parts:
            now.show(f"  {part.path}  {figures.size(part.bytes)}  sha256 {part.sha256[:16]}...")
        if record.facts and record.facts.values:
            now.show(_tables.facts(record))
        for finding in record.findings:
            now.show(f"  {finding.what}: {finding.item}: {finding.message}")
    return ExitCode.OK
