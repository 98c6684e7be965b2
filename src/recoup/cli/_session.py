"""What every verb shares: the global options, the stack, output and errors."""

import contextlib
import functools
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from recoup.cli._faults import explain
from recoup.cli._options import Globals, taken, with_globals
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from recoup.app import Stack
    from recoup.model.events import News
    from recoup.model.secrets import Masker
    from recoup.sinks._base import Sink


class Session(Globals):
    """One run of the command line: its options, the stack, what is printed."""

    _stack: "Stack | None" = None
    _emit: "Sequence[Callable[[News], None]]" = ()

    @functools.cached_property
    def out(self) -> "Console":
        """For results: stdout, or stderr when stdout carries JSON."""
        return self._console(stderr=self.json)

    @functools.cached_property
    def err(self) -> "Console":
        """For progress and errors."""
        return self._console(stderr=True)

    def _console(self, *, stderr: bool) -> "Console":
        from recoup.cli._terminal import console

        return console(stderr=stderr, color=not self.no_color)

    @property
    def masker(self) -> "Masker":
        """Takes secrets out; knows the configured ones once the stack is open."""
        from recoup.model.secrets import Masker

        return Masker() if self._stack is None else self._stack.masker

    @property
    def stack(self) -> "Stack":
        """The configured stack."""
        if self._stack is None:
            self._stack = self.opened()
        return self._stack

    def opened(self) -> "Stack":
        """The configured stack, its configuration read anew."""
        from recoup.app import open_stack

        found = open_stack(self.config, self.overrides, self.repository, emit=self.tell)
        for warning in found.warnings:
            self.say(found.masker(f"Warning: {warning}"))
        return found

    def take(self, stack: "Stack") -> None:
        """Takes a stack that `opened` gave for the configured one from now on."""
        self._stack = stack

    def tell(self, news: "News") -> None:
        """Takes news while `news` shows them."""
        for emit in self._emit:
            emit(news)

    @contextlib.contextmanager
    def news(self, masker: "Masker | None" = None, *, talkative: bool = False) -> Iterator[None]:
        """Shows what happens meanwhile: bars or lines on stderr, JSON with --log-json, lines in --log-file.

        Args:
            masker: for verbs that need no stack; else that of the stack.
            talkative: shows a terminal what else goes into files only.
        """
        from recoup.model.events import Level
        from recoup.sinks import console, log
        from recoup.sinks._base import Lenient

        masker = masker or self.stack.masker
        sinks: list[Sink] = []
        if self.log_file is not None:
            sinks.append(self._lenient(log.connect(log.Options(self.log_file), masker)))
        if not self.log_json:
            level = (
                Level.DEBUG if self.verbose else Level.WARNING if self.err.is_terminal and not talkative else Level.INFO
            )
            level = Level.ERROR if self.quiet else level
            options = console.Options(sys.stderr, level, progress=not self.quiet, color=not self.no_color)
            sinks.append(Lenient(console.connect(options, masker), _to_nobody))
        self._emit = [*sinks, *self._json_news(masker)]
        try:
            yield
        finally:
            self._emit = []
            for sink in sinks:
                sink.close()

    def _lenient(self, sink: "Sink") -> "Sink":
        """A file of events whose disk is full, say, does not stop the work: that it ends is told once."""
        from recoup.sinks._base import Lenient

        def tell(error: OSError) -> None:
            where = error.filename or self.log_file
            self.say(f"Warning: events are no longer written to {where}: {error.strerror or error}; the run goes on")

        return Lenient(sink, tell)

    def _json_news(self, masker: "Masker") -> "list[Callable[[News], None]]":
        if not self.log_json:
            return []
        from recoup.cli._json_news import JsonNews

        return [JsonNews(masker, progress=self.log_progress)]

    def say(self, text: str) -> None:
        """A line for people on stderr, unless quiet."""
        if not self.quiet:
            self.err.print(self.masker(text), markup=False, soft_wrap=True)

    def check(self) -> None:
        """Looks whether the options make sense together.

        Raises:
            UsageError: they do not.
        """
        if self.log_progress and not self.log_json:
            raise UsageError(
                "--log-progress goes with --log-json only", "Bars and lines for people show progress anyway."
            )

    def show(self, renderable: Any) -> None:
        """A result for people, unless quiet; with --json it goes to stderr."""
        if self.quiet:
            return
        if isinstance(renderable, str) and not self.json:
            self.write(f"{self.masker(renderable)}\n")
        elif isinstance(renderable, str):
            self.say(renderable)
        else:
            self.out.print(renderable)

    def write(self, text: str) -> None:
        """A document that was asked for (a sample, a schema): on stdout as it is, whatever the options."""
        from recoup.cli._terminal import discard_stdout

        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            discard_stdout()

    def result(self, kind: str, value: Any) -> None:
        """A result for machines: one JSON line on stdout, with --json."""
        if self.json:
            import json

            from recoup.model.json_values import plain

            fields = self.masker.value({"type": kind, **plain(value)})
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(fields), flush=True)

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


def verb(function: Callable[..., ExitCode | None]) -> Callable[..., None]:
    """Makes a function a verb.

    It gets the global options. What it returns is the exit code, what it raises becomes a sentence and an exit code.
    """

    @functools.wraps(function)
    def run(context: typer.Context, **arguments: Any) -> None:
        now = session(context)
        now.add(taken(arguments))
        signal.signal(signal.SIGTERM, _interrupt)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            now.check()
            code = function(context=context, **arguments) or ExitCode.OK
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt as error:
            from recoup.system.subprocesses import end_all

            end_all()
            code = explain(now, error)
        except Exception as error:  # noqa: BLE001 - the last door: a person gets a sentence, not a traceback
            code = explain(now, error)
        raise typer.Exit(int(code))

    with_globals(run, function)
    return run


def _to_nobody(_error: OSError) -> None:
    """Stderr leads nowhere any more (a pipe whose reader ended, a terminal that was closed): the work goes on."""


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def names(text: str | None, option: str = "--source") -> list[str] | None:
    """`a,b` as a list; None for all."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        what = "sources" if option == "--source" else "repositories"
        raise UsageError(f"{option} is empty", f"Name {what} with commas between them, or leave it out for all.")
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
