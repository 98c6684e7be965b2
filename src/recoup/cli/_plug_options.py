"""Options that the plugs declare, on the command line of the verbs that hand them on."""

import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import typer
from typer.core import TyperCommand

from recoup.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Declared = Literal["RestoreOptions", "DrillOptions"]
"""The class in a plug's module that declares a verb's options."""

_OWN = "recoup.plugs"
"""Key of the plugs' options in Typer's context."""


class PlugCommand(TyperCommand):
    """A verb that takes the options that the plugs declare, and ends its help with them."""

    declared: ClassVar[Declared]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes the plugs' options out before Typer reads the rest."""
        flags = {name: getattr(p, "is_flag", False) for p in self.get_params(ctx) for name in p.opts}
        rest, ctx.meta[_OWN] = split(args, flags, self.declared)
        return super().parse_args(ctx, rest)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help."""
        super().format_help(ctx, formatter)
        for line in _plug_option_lines(self.declared, min(80, get_terminal_size().columns)):
            typer.echo(line)


def chosen_options(
    context: typer.Context,
    which: Declared,
    named: Sequence[str],
    sets: Callable[[], Iterable[Any]],
    sources: list[str] | None,
) -> dict[str, dict[str, Any]]:
    """Source name to the options that were typed for it.

    Args:
        context: of the verb.
        which: the class that declares them.
        named: texts of `--option`, as `SOURCE.KEY=VALUE`.
        sets: lists what the repositories hold, which tells the sources' kinds; asked only where it matters.
        sources: names that the verb is for; None for all.

    Raises:
        UsageError: an option is malformed, means nothing here, or could mean several sources' options.
    """
    options = _named_options(named)
    if context.meta[_OWN]:
        kinds = {name: record.kind for name, record in _records(sets()).items()}
        for key, value in context.meta[_OWN]:
            for name in _wearers(key, which, kinds, sources):
                options.setdefault(name, {})[key] = value
    return options


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


def split(
    arguments: Sequence[str], flags: Mapping[str, bool], which: Declared
) -> tuple[list[str], list[tuple[str, str]]]:
    """Divides a command line into what Typer knows and the plugs' own options, as key and value.

    The plugs are loaded only when something unknown stands there. What no plug declares is left for Typer to complain of.

    Args:
        arguments: what stands behind the verb.
        flags: the options that Typer knows; True for those without a value.
        which: the class that declares the plugs' options.
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
        if name in flags or not name.startswith("--") or not (declared := _declared(key, which)):
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


def _declared(key: str, which: Declared) -> "list[FieldInfo]":
    return [model.model_fields[key] for _, model in plug_options(which) if key in model.model_fields]


def _wearers(key: str, which: Declared, kinds: dict[str, str], chosen: list[str] | None) -> list[str]:
    """The sources whose plug declares an option of this name; where several kinds do, the short form is ambiguous."""
    declaring = {kind for kind, model in plug_options(which) if key in model.model_fields}
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


def plug_options(which: Declared) -> "Iterator[tuple[str, type[BaseModel]]]":
    """Each kind of source that declares such options, with their model."""
    from recoup.system.plugs import kinds, load

    for kind in kinds("recoup.sources"):
        model = getattr(load("recoup.sources", kind), which, None)
        if model is not None and model.model_fields:
            yield kind, model


def _plug_option_lines(which: Declared, width: int) -> Iterator[str]:
    for kind, model in plug_options(which):
        yield f" Options of sources of kind {kind}: --option SOURCE.KEY=VALUE, or --KEY VALUE"
        for key, field in model.model_fields.items():
            start = f"   {key.replace('_', '-'):<12} "
            text = " ".join((field.description or "").split())
            yield from textwrap.wrap(text, width, initial_indent=start, subsequent_indent=" " * len(start))
