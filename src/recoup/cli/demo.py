"""`recoup demo`: the main job on a small real stack, told step by step."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli import _session
from recoup.errors import ExitCode

if TYPE_CHECKING:
    from recoup.demo.story import Begun, Done, Ending

KEPT = "recoup-demo"
"""Where `--keep` puts the stack when no folder is named."""


@_session.verb
def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Build the stack in this folder and leave it there.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help=f"Leave the stack in ./{KEPT} instead of removing it.")] = False,
) -> ExitCode:
    """Back up, damage, prove and restore a small real RAG stack, step by step.

    It builds the stack itself: the docstrings of Python's standard library in DuckDB, chat in SQLite, uploads in folders,
    vectors in Qdrant's local mode. Nothing outside its own folder is touched, and nothing is downloaded.
    """
    now = _session.session(context)
    named = folder or (Path(KEPT) if keep else None)
    if now.dry_run:
        place = f"{named.absolute()}, and leave it there" if named else "a temporary folder, and remove it"
        now.show(f"Would build the demo's stack in {place}.")
        return ExitCode.OK
    return _run(now, named)


def _run(now: _session.Session, named: Path | None) -> ExitCode:
    from recoup.demo.story import Begun, Done, tell
    from recoup.system.clock import SystemClock

    code = ExitCode.FAILED
    with _stack_folder(named) as place:
        for news in tell(place, SystemClock()):
            if isinstance(news, Begun):
                _show_beginning(now, news)
            elif isinstance(news, Done):
                _show_step(now, news)
            else:
                _show_ending(now, news, str(place / "recoup.yaml") if named else "")
                code = news.exit_code
    return code


@contextlib.contextmanager
def _stack_folder(named: Path | None) -> Iterator[Path]:
    """The folder for the stack: the named one, which stays, or a temporary one, which goes whatever happens."""
    from recoup.demo.stack import prepare_folder, require_qdrant
    from recoup.system.tempdirs import temporary_folder

    require_qdrant()
    with contextlib.ExitStack() as cleanup:
        place = named.absolute() if named else cleanup.enter_context(temporary_folder("demo"))
        prepare_folder(place)
        yield place


def _show_beginning(now: _session.Session, step: "Begun") -> None:
    """On a terminal, what goes on now; the step's headline will overwrite it."""
    if now.out.is_terminal and not now.quiet:
        now.out.print(f"{step.number}  {step.title} ...", end="\r", markup=False)


def _show_step(now: _session.Session, step: "Done") -> None:
    from recoup.cli._story import step_lines

    now.show("\n".join(step_lines(step)))
    now.result("demo_step", {"number": step.number, "title": step.title, "seconds": step.seconds})


def _show_ending(now: _session.Session, ending: "Ending", config: str) -> None:
    from recoup.cli._story import ending_lines

    now.show("\n".join(ending_lines(ending, config)))
    now.result("demo", ending)
