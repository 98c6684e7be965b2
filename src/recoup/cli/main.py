"""The command `recoup`: global options, and the verbs in the order in which a person needs them."""

from pathlib import Path
from typing import Annotated

import typer

from recoup.cli import (
    _session,
    backup,
    config,
    delete,
    demo,
    doctor,
    drill,
    init,
    pin,
    prune,
    restore,
    show,
    status,
    unlock,
    verify,
    version,
)
from recoup.cli import (
    list as list_verb,
)

app = typer.Typer(
    name="recoup",
    no_args_is_help=True,
    help="Back up a RAG stack as one cut, prove that it restores, and put it back.",
    epilog="Global options work before and after the verb. `check` means verify here, as in restic; "
    "`doctor` looks at the set-up, `drill` proves that a set restores. Exit codes: recoup version --exit-codes.",
    pretty_exceptions_enable=False,
)

_VALUES = {"-c", "--config", "--set", "-r", "--repository", "--log-file", "--wait-lock"}
_FLAGS = {
    "-q",
    "--quiet",
    "-v",
    "-vv",
    "--verbose",
    "--json",
    "--log-json",
    "-n",
    "--dry-run",
    "-y",
    "--yes",
    "--no-color",
}


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        list[Path] | None, typer.Option("-c", "--config", help="Configuration file; repeatable, later ones win.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Sets one key of the configuration.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option("-r", "--repository", metavar="NAME|PATH|URL", help="The repository to work on.")
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Tell more; -vv adds tracebacks.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Results as JSON lines on stdout, text for people on stderr.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Events as JSON lines on stderr.")] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="Append events to this file as log lines.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Show the plan, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; as does NO_COLOR.")] = False,
    wait_lock: Annotated[
        str, typer.Option("--wait-lock", metavar="TIME", help="Wait this long for a lock, e.g. 5m.")
    ] = "0",
) -> None:
    """Back up a RAG stack as one cut, prove that it restores, and put it back."""
    context.obj = _session.Session(
        config=config or (),
        overrides=overrides or (),
        repository=repository,
        quiet=quiet,
        verbose=verbose,
        json=as_json,
        log_json=log_json,
        log_file=log_file,
        dry_run=dry_run,
        yes=yes,
        color=not no_color,
        wait_lock=_session.seconds(wait_lock),
    )


app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("list")(list_verb.list_sets)
app.command("snapshots", hidden=True)(list_verb.list_sets)
app.command("show")(show.show)
app.command("verify")(verify.verify)
app.command("check", hidden=True)(verify.verify)
app.command("drill")(drill.drill)
app.command("restore", cls=restore.RestoreCommand, context_settings=restore.CONTEXT)(restore.restore)
app.command("prune")(prune.prune)
app.command("forget", hidden=True)(prune.prune)
app.command("pin")(pin.pin)
app.command("unpin")(pin.unpin)
app.command("note")(pin.note)
app.command("accept")(pin.accept)
app.command("delete")(delete.delete)
app.command("undelete")(delete.undelete)
app.command("unlock")(unlock.unlock)
app.command("status")(status.status)
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo)
app.command("version")(version.version)


def globals_first(arguments: list[str]) -> list[str]:
    """Moves global options that stand behind the verb to the front, where Typer looks for them."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in _FLAGS or (argument.split("=", 1)[0] in _VALUES and "=" in argument):
            front.append(argument)
        elif argument in _VALUES:
            front += [argument, *([value] if (value := next(waiting, None)) is not None else [])]
        else:
            rest.append(argument)
    return front + rest
