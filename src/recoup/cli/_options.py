"""The global options: the same before and after the verb, and in every `--help`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

PANEL = "Global options"
_PREFIX = "global_"
"""What their parameters' names begin with, so that a verb's own never collide with them."""


@dataclass
class Globals:
    """The global options of one run.

    Attributes:
        config: configuration files, later ones win.
        overrides: `KEY=VALUE`, later ones win.
        repository: name, path or URL.
        quiet: errors only.
        verbose: 0, 1 (events of all levels) or 2 (tracebacks, too).
        json: results as JSON lines on stdout, human text on stderr.
        log_json: events as JSON lines on stderr.
        log_progress: with log_json: progress, too.
        log_file: events as log lines, appended to this file.
        dry_run: show the plan, change nothing.
        yes: do not ask.
        no_color: no colours.
        wait_lock: seconds to wait for a lock.
    """

    config: Sequence[Path] = ()
    overrides: Sequence[str] = ()
    repository: str | None = None
    quiet: bool = False
    verbose: int = 0
    json: bool = False
    log_json: bool = False
    log_progress: bool = False
    log_file: Path | None = None
    dry_run: bool = False
    yes: bool = False
    no_color: bool = False
    wait_lock: float = 0.0

    def add(self, later: "Globals") -> None:
        """Takes over what was said after the verb; where both places say something, the later one counts."""
        self.config = [*self.config, *later.config]
        self.overrides = [*self.overrides, *later.overrides]
        self.repository = later.repository or self.repository
        self.quiet |= later.quiet
        self.verbose += later.verbose
        self.json |= later.json
        self.log_json |= later.log_json
        self.log_progress |= later.log_progress
        self.log_file = later.log_file or self.log_file
        self.dry_run |= later.dry_run
        self.yes |= later.yes
        self.no_color |= later.no_color
        self.wait_lock = later.wait_lock or self.wait_lock


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `2h` in seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        value = float(number) * unit
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"{text!r} is no length of time; write 30s, 5m or 1h.")
    return value


Grace = Annotated[
    float | None,
    typer.Option(
        "--grace", metavar="TIME", parser=seconds, help="Time that a job gets to end when this is ended; 30s."
    ),
]
"""How long what runs jobs waits for the running one, in seconds; None: the usual time."""


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=PANEL, **settings)


def _declared(
    global_config: Annotated[
        list[Path] | None, _option("-c", "--config", metavar="FILE", help="Configuration; repeatable, later ones win.")
    ] = None,
    global_overrides: Annotated[
        list[str] | None, _option("--set", metavar="KEY=VALUE", help="Set one key of the configuration; repeatable.")
    ] = None,
    global_repository: Annotated[
        str | None, _option("-r", "--repository", metavar="NAME|PATH|URL", help="The repository to work on.")
    ] = None,
    global_quiet: Annotated[bool, _option("-q", "--quiet", help="Print errors only.")] = False,
    global_verbose: Annotated[
        int, _option("-v", "--verbose", count=True, show_default=False, help="Tell more; -vv adds tracebacks.")
    ] = 0,
    global_json: Annotated[
        bool, _option("--json", help="Results as JSON lines on stdout, text for people on stderr.")
    ] = False,
    global_log_json: Annotated[bool, _option("--log-json", help="Events as JSON lines on stderr.")] = False,
    global_log_progress: Annotated[
        bool, _option("--log-progress", help="With --log-json: progress, too, at most once a second for each work.")
    ] = False,
    global_log_file: Annotated[
        Path | None, _option("--log-file", metavar="FILE", help="Append events to this file as log lines.")
    ] = None,
    global_dry_run: Annotated[bool, _option("-n", "--dry-run", help="Show the plan, change nothing.")] = False,
    global_yes: Annotated[bool, _option("-y", "--yes", help="Do not ask.")] = False,
    global_no_color: Annotated[bool, _option("--no-color", help="No colours; as does NO_COLOR.")] = False,
    global_wait_lock: Annotated[
        float | None, _option("--wait-lock", metavar="TIME", parser=seconds, help="Wait this long for a lock, e.g. 5m.")
    ] = None,
) -> None:
    """Declares the options for Typer, which reads signatures."""


PARAMETERS = tuple(inspect.signature(_declared).parameters.values())
"""The global options as parameters, for the signature of a verb."""


def taken(arguments: dict[str, Any]) -> Globals:
    """Takes the global options out of a verb's arguments."""
    found = {name: arguments.pop(name) for name in list(arguments) if name.startswith(_PREFIX)}
    said = {name.removeprefix(_PREFIX): value for name, value in found.items() if value is not None}
    return Globals(**said)


def with_globals(function: Callable[..., Any], own: Callable[..., Any]) -> None:
    """Gives `function` the parameters of `own` and the global options behind them, for Typer to read.

    Its help is the docstring of `own`, each paragraph on one line: the terminal's width decides where it breaks.
    """
    paragraphs = inspect.cleandoc(own.__doc__ or "").split("\n\n")
    function.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    parameters = [*inspect.signature(own).parameters.values()]
    parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in PARAMETERS]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # how a signature is replaced
    function.__annotations__ = {p.name: p.annotation for p in parameters}
