"""`recoup cat`: one file of a set."""

import re
import sys
from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode, UsageError


@verb
def cat(
    context: typer.Context,
    set: Annotated[str, typer.Argument(metavar="SET", help="A set.")],  # noqa: A002 - the noun of the field
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="SOURCE/PART, or that and a member of a folder or an archive.")
    ],
    bytes: Annotated[  # noqa: A002 - what they are
        str,
        typer.Option(
            "--range", metavar="FROM-TO", help="Only these bytes, counted from 0, both included; FROM- to the end."
        ),
    ] = "0-",
) -> ExitCode:
    """Write one file of a set to standard output, whole or a range of it.

    In a dedup repository only what is asked for is read, elsewhere all of the part, so that it can be compared with what was
    stored. When it ends with another exit code than 0, do not use what came out.
    """
    from recoup.cli._terminal import discard_stdout

    now = session(context)
    first, last = wanted(bytes)
    with now.news():
        try:
            for data in now.stack.read(set, path, first, last, wait_lock=now.wait_lock):
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            discard_stdout()
    return ExitCode.OK


def wanted(text: str) -> tuple[int, int | None]:
    """The first and the last byte of a range; None is the end.

    Raises:
        UsageError: it is no range.
    """
    found = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})?", text.strip())
    if not found or (found[2] and int(found[2]) < int(found[1])):
        raise UsageError(f"--range {text!r} is no range", "Write FROM-TO, as in 0-1023, or FROM-.")
    return int(found[1]), int(found[2]) if found[2] else None
