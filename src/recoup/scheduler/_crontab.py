"""Our lines in an account's own crontab, between two marks; all others stay as they are, byte for byte."""

import re

from recoup.errors import RecoupError
from recoup.model.structs import Struct
from recoup.system.markedfiles import Standing, judged, marked
from recoup.system.programs import Program, ProgramFailedError, output

_FIRST = re.compile(rb"no crontab", re.IGNORECASE)  # what every cron says of an account that has none
PREFIX = "crontab of "
"""What names in the record begin with that are no path."""


def begin_line(stack: str) -> bytes:
    """The line above ours."""
    return f"# BEGIN recoup {stack}\n".encode()


def end_line(stack: str) -> bytes:
    """The line below ours."""
    return f"# END recoup {stack}\n".encode()


def with_block(table: bytes, stack: str, block: bytes) -> bytes:
    """A crontab with our lines, replaced where they were, else at its end; an empty block takes them away.

    Args:
        table: the crontab.
        stack: whose lines.
        block: whole lines, without the two marks.

    Raises:
        RecoupError: one of the two marks is there without the other, or twice.
    """
    before, present, after = _split(table, stack)
    if not block:
        return before + after
    if present is None and before and not before.endswith(b"\n"):
        before += b"\n"
    return before + begin_line(stack) + block + end_line(stack) + after


def block_in(table: bytes, stack: str) -> bytes | None:
    """Our lines in a crontab, without the two marks; None where there are none."""
    return _split(table, stack)[1]


def _split(table: bytes, stack: str) -> tuple[bytes, bytes | None, bytes]:
    """What stands before our lines, those, and what stands behind them."""
    lines = table.splitlines(keepends=True)
    whole = [line if line.endswith(b"\n") else line + b"\n" for line in lines]
    begins = [number for number, line in enumerate(whole) if line == begin_line(stack)]
    ends = [number for number, line in enumerate(whole) if line == end_line(stack)]
    if not begins and not ends:
        return table, None, b""
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise RecoupError(
            f"the crontab's lines between `{begin_line(stack).decode().strip()}` and its end are not as they were written",
            "Remove them with `crontab -e`, then try again; nothing was changed.",
        )
    first, last = begins[0], ends[0]
    return b"".join(lines[:first]), b"".join(lines[first + 1 : last]), b"".join(lines[last + 1 :])


class CrontabBlock(Struct):
    """Our lines in the crontab of the account that runs this.

    Attributes:
        account: its name, for people.
        stack: whose lines.
        text: the lines; empty where they are not known.
    """

    account: str
    stack: str
    text: str = ""

    @property
    def name(self) -> str:
        """How it is recorded."""
        return f"{PREFIX}{self.account}"

    def standing(self) -> Standing:
        """What is there now."""
        block = block_in(_table(), self.stack)
        return Standing.MISSING if block is None else judged(block, self.stack)

    def is_current(self) -> bool:
        """Whether just these lines are there."""
        return block_in(_table(), self.stack) == marked(self.text, self.stack)

    def put(self) -> None:
        """Writes the lines, and reads them back."""
        _write(with_block(_table(), self.stack, marked(self.text, self.stack)))
        if not self.is_current():
            raise RecoupError(f"the {self.name} does not have the lines that were written", "See `crontab -l`.")

    def take_away(self) -> None:
        """Removes the lines; a crontab that had no others goes with them."""
        _write(with_block(_table(), self.stack, b""))


def found_for(account: str, stack: str) -> tuple[str, ...]:
    """The name of our lines in the crontab of the account that runs this, whoever recorded them; nothing where none are, or none
    can be.

    Args:
        account: its name.
        stack: whose lines.

    Raises:
        RecoupError: there are marks of ours that do not fit together.
    """
    try:
        table = output(["crontab", "-l"])
    except ProgramFailedError:  # no cron, no crontab, or none allowed
        return ()
    return () if block_in(table, stack) is None else (f"{PREFIX}{account}",)


def _table() -> bytes:
    """The account's crontab; empty when it has none."""
    try:
        return output(["crontab", "-l"])
    except ProgramFailedError as error:
        if error.code == 1 and _FIRST.search(error.said.encode()):
            return b""
        raise _failed(error) from None


def _write(table: bytes) -> None:
    command = ["crontab", "-"] if table.strip() else ["crontab", "-r"]
    try:
        with Program(command, feed=bool(table.strip())) as program:
            if table.strip():
                program.write(table)
            program.end_input()
            while program.read(4096):
                pass
            program.finish()
    except (ProgramFailedError, BrokenPipeError) as error:
        raise _failed(error) from None


def _failed(error: Exception) -> RecoupError:
    missing = isinstance(error, ProgramFailedError) and error.code == 127
    hint = "Is cron installed? Without it, choose --systemd or `recoup daemon`." if missing else "See `crontab -l`."
    return RecoupError(f"the crontab cannot be used: {error}", hint)
