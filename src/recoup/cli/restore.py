"""`recoup restore`: into a new folder, or in place."""

import textwrap
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from recoup.cli._session import names, session, verb
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_OVERWRITE = ("never", "if-changed", "always")


_OWN = "recoup.restore.own"
"""Key of the plugs' options in Typer's context."""


class _RestoreCommand(TyperCommand):
    """`restore`, which takes the options that the plugs declare, and ends its help with them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes the plugs' options out before Typer reads the rest."""
        flags = {name: getattr(p, "is_flag", False) for p in self.get_params(ctx) for name in p.opts}
        rest, ctx.meta[_OWN] = split(args, flags)
        return super().parse_args(ctx, rest)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help."""
        super().format_help(ctx, formatter)
        for line in _plug_option_lines(min(80, get_terminal_size().columns)):
            typer.echo(line)


app = typer.Typer(add_completion=False)


@app.command(cls=_RestoreCommand)
@verb
def restore(
    context: typer.Context,
    set: Annotated[  # noqa: A002 - the noun of the field
        str,
        typer.Argument(
            metavar="SET", help="A set. `latest` takes, for each source, the newest set with a good copy of it."
        ),
    ] = "latest",
    source: Annotated[str | None, typer.Option("--source", metavar="A,B", help="Only these sources.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All sources of the set, which is the default.")] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="DIR|SOURCE=WHERE", help="Folder for files, or a source's new place; repeatable."
        ),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Put every source back where it lives.")] = False,
    overwrite: Annotated[
        str | None, typer.Option(metavar="|".join(_OVERWRITE), help="What happens to files that are there already.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove files that the set does not have.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="SOURCE.KEY=VALUE", help="An option of a source's plug.")
    ] = None,
) -> ExitCode:
    """Restore a set: into a new folder, in place only when asked.

    The folder is restored_SET unless --target names another.

    In place, everything is restored beside what is there, checked, and then swapped; what was there is kept as
    NAME.before-restore-TIME.
    """
    from recoup.cli import _tables

    now = session(context)
    if every and source:
        raise UsageError("--all and --source contradict each other")
    if overwrite is not None and overwrite not in _OVERWRITE:
        raise UsageError(f"--overwrite {overwrite!r} is unknown", f"It is one of {', '.join(_OVERWRITE)}.")
    folder, places = _targets(target or ())
    options = _named_options(option or ())
    kinds = {name: record.kind for name, record in _records(now.stack.sets()).items()}
    for key, value in context.meta[_OWN]:
        for name in _wearers(key, kinds, names(source)):
            options.setdefault(name, {})[key] = value
    plan = now.stack.plan_restore(
        set,
        names(source),
        target=folder,
        targets=places,
        in_place=in_place,
        overwrite=overwrite,  # type: ignore[arg-type] # checked above
        delete=delete,
        options=options,
    )
    if not now.json or now.dry_run:
        now.show(_tables.restore_plan(plan))
    for name, reason in plan.skipped.items():
        now.show(f"Left out: {name} ({reason})")
    if now.dry_run:
        for row in plan.rows:
            now.result("plan", row)
        return ExitCode.OK
    if plan.destructive:
        now.confirm("Replace what is there?")
    with now.news():
        report = now.stack.restore(plan, wait_lock=now.wait_lock)
    now.result("restore", report)
    now.show(_tables.restore_report(report))
    return report.exit_code


def _targets(texts: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """A folder for files, and places by source. `./a=b` is a folder, since a source's name has no slash."""
    from recoup.model.names import SOURCE_NAME

    folder, places = None, {}
    for text in texts:
        name, separator, where = text.partition("=")
        if separator and SOURCE_NAME.match(name):
            places[name] = where
        elif folder is not None:
            raise UsageError("--target names two folders", "One folder, and any number of SOURCE=WHERE.")
        else:
            folder = text
    return folder, places


def _named_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, separator, value = text.partition("=")
        name, dot, key = path.partition(".")
        if not (separator and dot and name and key):
            raise UsageError(f"--option {text!r} is not SOURCE.KEY=VALUE")
        found.setdefault(name, {})[key.replace("-", "_")] = value
    return found


def _records(infos: Iterable[Any]) -> dict[str, Any]:
    return {name: record for info in infos if info.manifest for name, record in info.manifest.sources.items()}


def split(arguments: Sequence[str], flags: Mapping[str, bool]) -> tuple[list[str], list[tuple[str, str]]]:
    """Divides a command line into what Typer knows and the plugs' own options, as key and value.

    The plugs are loaded only when something unknown stands there. What no plug declares is left for Typer to complain of.

    Args:
        arguments: what stands behind `restore`.
        flags: the options that Typer knows; True for those without a value.
    """
    rest: list[str] = []
    own: list[tuple[str, str]] = []
    waiting = deque(arguments)
    while waiting:
        text = waiting.popleft()
        name, separator, value = text.partition("=")
        key = name.removeprefix("--").replace("-", "_")
        if text == "--":
            rest += [text, *waiting]
            break
        if name in flags or not name.startswith("--") or not (declared := _declared(key)):
            rest.append(text)
            if flags.get(text) is False and waiting:
                rest.append(waiting.popleft())
        elif separator:
            own.append((key, value))
        elif all(field.annotation is bool for field in declared):
            own.append((key, "true"))
        elif waiting:
            own.append((key, waiting.popleft()))
        else:
            raise UsageError(f"option {name} needs a value")
    return rest, own


def _declared(key: str) -> "list[FieldInfo]":
    return [model.model_fields[key] for _, model in restore_options() if key in model.model_fields]


def _wearers(key: str, kinds: dict[str, str], chosen: list[str] | None) -> list[str]:
    """The sources whose plug declares an option of this name; where several kinds do, the short form is ambiguous."""
    declaring = {kind for kind, model in restore_options() if key in model.model_fields}
    found = [name for name, kind in kinds.items() if kind in declaring and (chosen is None or name in chosen)]
    option = f"--{key.replace('_', '-')}"
    if not found:
        kinds_text = ", ".join(sorted(declaring))
        raise UsageError(f"{option} has no meaning here", f"It is for sources of kind {kinds_text}.")
    if len({kinds[name] for name in found}) > 1:
        first = found[0]
        raise UsageError(
            f"{option} means something to sources of several kinds", f"Write --option {first}.{key}=VALUE."
        )
    return found


def restore_options() -> "Iterator[tuple[str, type[BaseModel]]]":
    """Each kind of source that declares restore options, with their model."""
    from recoup.system.plugs import kinds, load

    for kind in kinds("recoup.sources"):
        model = getattr(load("recoup.sources", kind), "RestoreOptions", None)
        if model is not None and model.model_fields:
            yield kind, model


def _plug_option_lines(width: int) -> Iterator[str]:
    for kind, model in restore_options():
        yield f" Options of sources of kind {kind}: --option SOURCE.KEY=VALUE, or --KEY VALUE"
        for key, field in model.model_fields.items():
            start = f"   {key.replace('_', '-'):<12} "
            text = " ".join((field.description or "").split())
            yield from textwrap.wrap(text, width, initial_indent=start, subsequent_indent=" " * len(start))
