"""The reference of the command line as Markdown, made from the commands: `docs/reference/cli.md` and `exit-codes.md`."""

from collections.abc import Iterator
from typing import Any

from recoup.cli._options import PANEL
from recoup.cli._plug_options import Declared, plug_options
from recoup.cli.main import VERBS, Verb, command
from recoup.model.exit_codes import exit_code_table

_INTRODUCTION = """\
# Command line

This page is made from the code; `recoup VERB --help` says the same.

A set is named by its full name, a unique prefix of it, `latest`, `latest-complete`, `oldest`, or a time such as `2026-11-01` or
`"yesterday 02:00"`: the newest set not after it. Sources are named with commas between them: `--source cache,chat`.

With `--json` each result is one line of JSON on stdout with the key `type`; errors have the type `error` with `message`, `hint`
and `exit_code`. Keys may be added, but none is renamed or removed without a new major version. Texts for people, which then
go to stderr, may change at any time. What each exit code means is listed under [exit codes](exit-codes.md).
"""

_CODES = """\
# Exit codes

This page is made from the code; `recoup version --exit-codes` prints the same. A code that is not listed means failure.

| Code | Meaning |
| ---: | --- |
"""


def reference() -> str:
    """The page on all verbs."""
    listed = [verb for verb in VERBS if not verb.hidden]
    return "\n".join([_INTRODUCTION, *_contents(listed), "", *_globals(), *_sections(listed)]).rstrip() + "\n"


def exit_codes() -> str:
    """The page on exit codes."""
    return _CODES + "".join(f"| {code} | {meaning} |\n" for code, meaning in exit_code_table())


def _contents(verbs: list[Verb]) -> Iterator[str]:
    yield "| Verb | |"
    yield "| --- | --- |"
    for verb in verbs:
        others = [f"`{v.name}`" for v in VERBS if v.hidden and v.target == verb.target]
        alias = f" Also: {', '.join(others)}." if others else ""
        yield f"| [`{verb.name}`](#recoup-{verb.name}) | {verb.help}{alias} |"


def _globals() -> Iterator[str]:
    yield "## Global options"
    yield ""
    yield "They work before and after the verb."
    yield ""
    yield from _options([p for p in command(VERBS[0]).params if _is_global(p)])


_DECLARED: dict[str, Declared] = {"restore": "RestoreOptions", "drill": "DrillOptions"}


def _sections(verbs: list[Verb]) -> Iterator[str]:
    for verb in verbs:
        loaded = command(verb)
        yield from _section(f"recoup {verb.name}", loaded, deeper=False)
        for name, below in getattr(loaded, "commands", {}).items():
            yield from _section(f"recoup {verb.name} {name}", below, deeper=True)
        if verb.name in _DECLARED:
            yield from _plug_options(verb.name, _DECLARED[verb.name])


def _section(title: str, loaded: Any, *, deeper: bool) -> Iterator[str]:
    arguments = [p for p in loaded.params if p.param_type_name == "argument"]
    options = [p for p in loaded.params if p.param_type_name == "option" and not _is_global(p)]
    usage = " ".join([title, *(_usage(p) for p in arguments), *(["[OPTIONS]"] if options else [])])
    yield from (f"##{'#' if deeper else ''} {title}", "", f"    {usage}", "", loaded.help or "", "")
    for argument in arguments:
        yield f"* `{_name(argument)}`: {argument.help}"
    if arguments:
        yield ""
    yield from _options(options)


def _plug_options(verb: str, which: Declared) -> Iterator[str]:
    yield "Options that kinds of sources declare are written `--option SOURCE.KEY=VALUE`, or `--KEY VALUE` where one kind alone"
    yield f"has it. Those that `{verb}` has itself reach every source that knows them."
    yield ""
    yield "| Kind | Key | |"
    yield "| --- | --- | --- |"
    for kind, model in plug_options(which):
        for key, field in model.model_fields.items():
            yield f"| {kind} | `{key.replace('_', '-')}` | {_cell(field.description or '')} |"
    yield ""


def _options(options: list[Any]) -> list[str]:
    if not options:
        return []
    rows = [f"| {_spelling(option)} | {_cell(option.help or '')}{_default(option)} |" for option in options]
    return ["| Option | |", "| --- | --- |", *rows, ""]


def _spelling(option: Any) -> str:
    value = "" if _is_switch(option) else " " + (option.metavar or option.name.upper()).replace("|", "\\|")
    return ", ".join(f"`{name}{value}`" for name in (*option.opts, *option.secondary_opts))


def _is_switch(option: Any) -> bool:
    return bool(option.is_flag or option.count)


def _default(option: Any) -> str:
    if _is_switch(option) or option.default in (None, "", []):
        return ""
    return f" Default: `{option.default}`."


def _usage(argument: Any) -> str:
    return _name(argument) if argument.required else f"[{_name(argument)}]"


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _is_global(parameter: Any) -> bool:
    return getattr(parameter, "rich_help_panel", None) == PANEL


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
