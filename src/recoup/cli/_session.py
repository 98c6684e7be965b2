"""What every verb shares: the global options, the stack, output and errors."""

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, cast

import typer

from recoup.errors import ExitCode, RecoupError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from recoup.app import Stack
    from recoup.model.events import News
    from recoup.model.secrets import Masker
    from recoup.sinks._base import Sink

P = ParamSpec("P")


@dataclass
class Session:
    """One run of the command line.

    Attributes:
        config: configuration files, later ones win.
        overrides: `KEY=VALUE`.
        repository: name, path or URL.
        quiet: errors only.
        verbose: 0, 1 (events of all levels) or 2 (tracebacks, too).
        json: results as JSON lines on stdout, human text on stderr.
        log_json: events as JSON lines on stderr.
        log_file: events as log lines, appended to this file.
        dry_run: show the plan, change nothing.
        yes: do not ask.
        color: False for none.
        wait_lock: seconds to wait for a lock.
    """

    config: Sequence[Path] = ()
    overrides: Sequence[str] = ()
    repository: str | None = None
    quiet: bool = False
    verbose: int = 0
    json: bool = False
    log_json: bool = False
    log_file: Path | None = None
    dry_run: bool = False
    yes: bool = False
    color: bool = True
    wait_lock: float = 0.0
    _stack: "Stack | None" = None
    _emit: "Sequence[Callable[[News], None]]" = field(default_factory=list)

    @functools.cached_property
    def out(self) -> "Console":
        """For results: stdout, or stderr when stdout carries JSON."""
        return self._console(stderr=self.json)

    @functools.cached_property
    def err(self) -> "Console":
        """For progress and errors."""
        return self._console(stderr=True)

    def _console(self, *, stderr: bool) -> "Console":
        from rich.console import Console

        return Console(stderr=stderr, no_color=not self.color, highlight=False, soft_wrap=False)

    @property
    def masker(self) -> "Masker":
        """Takes secrets out; knows the configured ones once the stack is open."""
        from recoup.model.secrets import Masker

        return Masker() if self._stack is None else self._stack.masker

    @property
    def stack(self) -> "Stack":
        """The configured stack."""
        if self._stack is None:
            from recoup.app import open_stack

            self._stack = open_stack(self.config, self.overrides, self.repository, emit=self._news)
            for warning in self._stack.warnings:
                self.say(f"Warning: {warning}")
        return self._stack

    def _news(self, news: "News") -> None:
        for emit in self._emit:
            emit(news)

    @contextlib.contextmanager
    def news(self) -> Iterator[None]:
        """Shows what happens meanwhile: bars or lines on stderr, JSON with --log-json, lines in --log-file."""
        from recoup.model.events import Level
        from recoup.sinks import console, log

        masker = self.stack.masker
        sinks: list[Sink] = []
        if self.log_file is not None:
            sinks.append(log.connect(log.Options(self.log_file), masker))
        if not self.log_json:
            level = Level.DEBUG if self.verbose else Level.WARNING if self.err.is_terminal else Level.INFO
            level = Level.ERROR if self.quiet else level
            options = console.Options(sys.stderr, level, progress=not self.quiet, color=self.color)
            sinks.append(console.connect(options, masker))
        self._emit = [*sinks, *([self._json_news] if self.log_json else [])]
        try:
            yield
        finally:
            self._emit = []
            for sink in sinks:
                sink.close()

    def _json_news(self, news: "News") -> None:
        import json

        from recoup.model.events import Event
        from recoup.sinks.jsonl import record

        if isinstance(news, Event):
            print(json.dumps(record(news, self.stack.masker)), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line for people on stderr, unless quiet."""
        if not self.quiet:
            self.err.print(self.masker(text), markup=False, soft_wrap=True)

    def show(self, renderable: Any) -> None:
        """A result for people, unless quiet; with --json it goes to stderr."""
        if not self.quiet:
            if isinstance(renderable, str):
                self.out.print(self.masker(renderable), markup=False, soft_wrap=True)
            else:
                self.out.print(renderable)

    def result(self, kind: str, value: Any) -> None:
        """A result for machines: one JSON line on stdout, with --json."""
        if self.json:
            import json

            from recoup.cli._json import plain

            fields = self.masker.value({"type": kind, **plain(value)})
            sys.stdout.write(json.dumps(fields) + "\n")
            sys.stdout.flush()

    def confirm(self, question: str) -> None:
        """Asks, unless --yes.

        Raises:
            UsageError: nobody can be asked.
            typer.Exit: the answer was no.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(
                "nobody can be asked: this is not a terminal", "Add --yes if you mean it, or -n to see the plan."
            )
        if not typer.confirm(question, err=True):
            self.say("Nothing was changed.")
            raise typer.Exit(ExitCode.INTERRUPTED)


def session(context: typer.Context) -> Session:
    """The present session."""
    found: Session = context.find_root().ensure_object(Session)
    return found


def verb(function: Callable[P, ExitCode | None]) -> Callable[P, None]:
    """Makes a function a verb: what it returns is the exit code, what it raises becomes a sentence and an exit code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        now = session(cast("typer.Context", kwargs["context"]))
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            code = function(*args, **kwargs) or ExitCode.OK
        except RecoupError as error:
            code = _explain(now, error)
        except KeyboardInterrupt:
            _interrupted(now)
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = ExitCode.FAILED
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - the last door: a person gets a sentence, not a traceback
            code = _bug(now, error)
        raise typer.Exit(int(code))

    return run


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _interrupted(now: Session) -> None:
    from recoup.system.subprocesses import end_all

    end_all()
    now.result("error", {"message": "interrupted", "hint": "", "exit_code": int(ExitCode.INTERRUPTED)})
    now.err.print("Interrupted. Nothing half done is left.", markup=False)


def _explain(now: Session, error: RecoupError) -> ExitCode:
    message, hint = now.masker(error.message), now.masker(error.hint)
    now.result("error", {"message": message, "hint": hint, "exit_code": int(error.exit_code)})
    now.err.print(f"Error: {message}", style="bold red", markup=False, soft_wrap=True)
    if hint:
        now.err.print(f"Hint: {hint}", markup=False, soft_wrap=True)
    if now.verbose > 1:
        _traceback(now, error)
    return error.exit_code


def _bug(now: Session, error: Exception) -> ExitCode:
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return _explain(now, RecoupError(f"{error.strerror or error}{where}", "Check the disk and the permissions."))
    message = now.masker(f"this is a bug in Recoup: {type(error).__name__}: {error}")
    now.result("error", {"message": message, "hint": "", "exit_code": int(ExitCode.FAILED)})
    now.err.print(f"Error: {message}", style="bold red", markup=False, soft_wrap=True)
    now.err.print("Hint: run it again with -vv and report what it prints.", markup=False)
    if now.verbose > 1:
        _traceback(now, error)
    return ExitCode.FAILED


def _traceback(now: Session, error: Exception) -> None:
    import traceback

    now.err.print(now.masker("".join(traceback.format_exception(error))), markup=False, soft_wrap=True)


def names(text: str | None) -> list[str] | None:
    """`a,b` as a list; None for all."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise UsageError("--source is empty", "Name sources with commas between them, or leave it out for all.")
    return found


def pairs(texts: Sequence[str], what: str) -> Mapping[str, str]:
    """`KEY=VALUE` texts as a mapping."""
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"{what} {text!r} is not KEY=VALUE")
        found[key] = value
    return found


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `2h` in seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        value = float(number) * unit
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no length of time; write 30s, 5m or 1h") from None
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"{text!r} is no length of time; write 30s, 5m or 1h")
    return value
