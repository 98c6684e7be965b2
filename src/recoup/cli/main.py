"""The command `recoup`: its verbs, in the order in which a person needs them, each loaded when it is asked for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from recoup.cli._options import taken, with_globals
from recoup.cli._session import Session
from recoup.errors import ExitCode


class Verb(NamedTuple):
    """One verb.

    Attributes:
        name: as typed.
        target: `module:name` of its function, or of a Typer app, inside `recoup.cli`.
        help: the first sentence of its help, here so that `recoup --help` need not load it.
        hidden: True for another tool's name of it, which works but is not listed.
    """

    name: str
    target: str
    help: str
    hidden: bool = False


VERBS = (
    Verb("init", "init:init", "Look around, write a commented recoup.yaml, and create its repositories."),
    Verb("doctor", "doctor:doctor", "Say what would stop a backup, and how to mend it."),
    Verb("backup", "backup:backup", "Take one cut of the stack and store it."),
    Verb("list", "list:list_sets", "List the sets, oldest first."),
    Verb("snapshots", "list:list_sets", "List the sets, oldest first.", hidden=True),
    Verb("show", "show:show", "Show one set: its parts, facts, findings, pins and proofs."),
    Verb("ls", "ls:ls", "List what is in a set: its parts, members of folders and archives."),
    Verb("cat", "cat:cat", "Write one file of a set to standard output, whole or a range of it."),
    Verb("diff", "diff:diff", "Say what changed from one set to another."),
    Verb("stats", "stats:stats", "Say what the sets hold, what they take, and how that grows."),
    Verb("verify", "verify:verify", "Compare stored bytes with the manifests."),
    Verb("check", "verify:verify", "Compare stored bytes with the manifests.", hidden=True),
    Verb("drill", "drill:app", "Prove that a set restores: into scratch, compared with what was true."),
    Verb("restore", "restore:app", "Restore a set: into a new folder, in place only when asked."),
    Verb("copy", "copy:copy", "Copy sets into another repository, with their pins, proofs and notes."),
    Verb("export", "export:export", "Write a set as a plain repository that other programs can read, unencrypted."),
    Verb("repair", "repair:repair", "Replace what is damaged or missing of sets by another repository's copy."),
    Verb("qdrant", "qdrant:app", "Look into snapshots of Qdrant without a server, and put collections on one."),
    Verb(
        "postgres",
        "postgres:app",
        "Restore dumps of PostgreSQL that were taken by hand, and tidy up after killed runs.",
    ),
    Verb("prune", "prune:prune", "Remove the sets that no rule of `keep` keeps."),
    Verb("forget", "prune:prune", "Remove the sets that no rule of `keep` keeps.", hidden=True),
    Verb("pin", "pin:pin", "Protect a set from prune and delete."),
    Verb("unpin", "pin:unpin", "End a set's protection."),
    Verb("note", "pin:note", "Add a note to a set."),
    Verb("accept", "pin:accept", "Let a suspicious set count as a good one for retention."),
    Verb("delete", "delete:delete", "Delete sets."),
    Verb("undelete", "delete:undelete", "Take a set back from the trash."),
    Verb("unlock", "unlock:unlock", "Remove the locks of runs that are certainly dead."),
    Verb("recover", "recover:recover", "Put right what killed runs left: restores half done, services left stopped."),
    Verb(
        "status",
        "status:status",
        "Say how old each source's newest good copy is, whether it is proven, and what is wrong.",
    ),
    Verb("schedule", "schedule:app", "Show what runs when, run what is due, or have cron or systemd call it."),
    Verb("daemon", "daemon:daemon", "Run the schedule in the foreground, for containers and systemd."),
    Verb("web", "web:web", "Serve the page on which backups are seen, made, proven and restored."),
    Verb("wrappers", "wrappers:app", "Write a team's own scripts as thin calls of Recoup, and remove them."),
    Verb("notify", "notify:app", "Send test notices to whom the configuration names."),
    Verb("cache", "cache:cache", "Say what this host keeps of dedup repositories, throw it away, or make it anew."),
    Verb("key", "key:app", "Prove keys, and say who can open a dedup repository."),
    Verb("config", "config:app", "Check, show, sample or describe the configuration."),
    Verb("demo", "demo:demo", "Back up, damage, prove and restore a small real RAG stack, step by step."),
    Verb(
        "uninstall",
        "uninstall:uninstall",
        "Take away schedule, scripts and what is remembered; on request the backups.",
    ),
    Verb("version", "version:version", "Print the versions of Recoup and of the formats that it writes."),
)


def command(verb: Verb) -> Any:
    """The loaded command of a verb."""
    from recoup.system.plugs import function_named

    found = function_named(f"recoup.cli.{verb.target}")
    if isinstance(found, typer.Typer):
        loaded = typer.main.get_command(found)
    else:
        single = typer.Typer(add_completion=False)
        single.command(verb.name)(found)
        loaded = typer.main.get_command(single)
    loaded.name = verb.name
    return loaded


class _LazyGroup(TyperGroup):
    """Lists the verbs without loading them, and loads the one that is run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for verb in VERBS:
            self.commands[verb.name] = TyperCommand(verb.name, help=verb.help, hidden=verb.hidden)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that is named, loaded, and the arguments behind it."""
        name, found, rest = super().resolve_command(ctx, args)
        verb = next((verb for verb in VERBS if verb.name == name), None)
        return name, found if verb is None else command(verb), rest


app = typer.Typer(
    name="recoup",
    cls=_LazyGroup,
    epilog="Global options work before and after the verb. `check` means verify here, as in restic; "
    "`doctor` looks at the set-up, `drill` proves that a set restores. Exit codes: recoup version --exit-codes.",
    pretty_exceptions_enable=False,
)


def _begin(context: typer.Context, **options: Any) -> None:
    context.obj = Session()
    context.obj.add(taken(options))


def _no_options(context: typer.Context) -> None:
    """Back up a RAG stack as one cut, prove that it restores, and put it back."""


with_globals(_begin, _no_options)
app.callback()(_begin)


def run(arguments: Sequence[str]) -> int:
    """Runs the command line and returns the exit code.

    Args:
        arguments: what stands behind `recoup`.
    """
    from recoup.cli import _terminal
    from recoup.cli._faults import explain

    _terminal.prepare()
    fallback = Session(json="--json" in arguments, no_color="--no-color" in arguments)
    try:
        code = app(args=list(arguments) or ["--help"], prog_name="recoup", standalone_mode=False)
        _terminal.flush()
    except typer.Abort:
        code = explain(fallback, KeyboardInterrupt())
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last door, as for the verbs
        code = explain(fallback, error)
    return int(code or 0) if arguments else ExitCode.USAGE
