"""`recoup drill`: the proof that a set restores."""

from pathlib import Path
from typing import Annotated

import typer

from recoup.cli._plug_options import PlugCommand, chosen_options
from recoup.cli._session import Session, names, session, verb
from recoup.errors import ExitCode, UsageError
from recoup.model import figures


class _DrillCommand(PlugCommand):
    """`drill`, which takes the options that the plugs declare."""

    declared = "DrillOptions"


_NEWEST = "latest-complete"

app = typer.Typer(add_completion=False)


@app.command(cls=_DrillCommand)
@verb
def drill(
    context: typer.Context,
    set: Annotated[  # noqa: A002 - the noun of the field
        str, typer.Argument(metavar="SET", help="A set; the newest complete one by default.")
    ] = _NEWEST,
    source: Annotated[str | None, typer.Option("--source", metavar="A,B", help="Only these sources.")] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Recover everything: the newest good copy of each source, by the repository alone."
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a report: .json, .md or .html.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="SOURCE.KEY=VALUE", help="An option of a source's plug.")
    ] = None,
) -> ExitCode:
    """Prove that a set restores: into scratch, compared with what was true.

    Every source is opened with its own engine and compared with what the frozen source showed at the backup.
    Live data is never written to. The result is noted at the set, so that `list` shows it. Exit code 4 when anything differs.

    With --full it is the drill of a lost machine: settings come from the manifests, whatever is configured here. Its report names
    the measured recovery time (RTO) and recovery point (RPO). Exit code 3 when there is no good copy of a source.
    """
    from recoup.cli import _reports, _tables
    from recoup.cli._running import running
    from recoup.model import outcomes

    now = session(context)
    if report is not None:
        _reports.check_suffix(report)
    if full:
        if source is not None or set != _NEWEST:
            raise UsageError("--full is everything: no SET and no --source go with it", "Leave them out.")
        return _recovery(context, now, report, option or [])
    with running(now, "drill", names(source)) as run:
        plan = now.stack.plan_drill(set, names(source))
        options = chosen_options(context, "DrillOptions", option or (), now.stack.sets, list(plan.sources))
        if now.dry_run:
            now.result("plan", plan)
            now.show(f"Would drill {plan.set}: {', '.join(plan.sources)} ({figures.size(plan.bytes)}).")
            return ExitCode.OK
        with now.news():
            done = now.stack.drill(plan, wait_lock=now.wait_lock, options=options)
        asked = names(source) or now.stack.source_names
        run.ended(outcomes.of_drill([done], int(done.exit_code), asked, newest=set == _NEWEST))
    now.result("drill", done)
    for earlier in (*done.earlier, done):
        where = f" in {earlier.repository}" if now.stack.has_several else ""
        now.show(f"{earlier.set}{where}, {figures.age(earlier.age_seconds)}")
        now.show(_tables.drill_report(earlier))
    for earlier in done.earlier:
        now.show(
            f"The copy in {earlier.repository} does NOT restore. `recoup repair -r {earlier.repository}` mends it."
        )
    for name, reason in done.skipped.items():
        now.show(f"Not drilled: {name} ({reason})")
    verdict = "Proven: it restores." if done.passed else "NOT proven: what came back is not what was backed up."
    now.show(f"{verdict} {figures.duration(done.seconds)}.")
    if report is not None:
        _reports.write(done, report, now.masker)
        now.show(f"Report: {report}")
    return done.exit_code


def _recovery(context: typer.Context, now: Session, report: Path | None, named: list[str]) -> ExitCode:
    """The drill of everything."""
    from recoup.cli import _recovery_report, _reports, _tables
    from recoup.cli._running import running
    from recoup.model import outcomes

    with running(now, "drill") as run:
        plan = now.stack.plan_recovery()
        sources = [name for one in plan.drills for name in one.sources]
        options = chosen_options(context, "DrillOptions", named, now.stack.sets, sources)
        if now.dry_run:
            now.result("plan", plan)
            for one in plan.drills:
                now.show(f"Would recover {', '.join(one.sources)} from {one.set} ({figures.size(one.bytes)}).")
            for line in _recovery_report.remarks(plan):
                now.show(line)
            return ExitCode.OK
        with now.news():
            done = now.stack.drill_recovery(plan, wait_lock=now.wait_lock, options=options)
        run.ended(outcomes.of_recovery(done, now.stack.source_names))
    now.result("recovery", done)
    for drilled in (one for last in done.drills for one in (*last.earlier, last)):
        where = f" in {drilled.repository}" if now.stack.has_several else ""
        now.show(f"{drilled.set}{where}, {figures.age(drilled.age_seconds)}")
        now.show(_tables.drill_report(drilled))
    for line in _recovery_report.sentences(done):
        now.show(line)
    if report is not None:
        _reports.write(done, report, now.masker)
        now.show(f"Report: {report}")
    return done.exit_code
