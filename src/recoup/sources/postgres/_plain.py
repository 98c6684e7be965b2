"""A dump in plain format (SQL text) while it passes: whether it came to its end, and the sequences' values in it.

Between `COPY ... FROM stdin;` and a line of `\\.` stand rows, in which nothing is looked for.
"""

import re

_COPY = re.compile(rb"COPY .* FROM stdin;\Z")
_END_OF_ROWS = b"\n\\.\n"
_COMPLETE = re.compile(rb"\n--\n-- PostgreSQL database (cluster )?dump complete\n--\n")
_TAIL = 400  # bytes in which the end is looked for: versions from 2025 on write a line behind it
_SETVAL = re.compile(rb"SELECT pg_catalog\.setval\( ?E?'((?:[^']|'')*)', (-?\d+), (true|false)\);\Z")
_IDENTIFIER = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')
_LONGEST = 1 << 20  # bytes of a line outside of rows that are looked at


class PlainWatch:
    """Looks at a plain dump block by block, in bounded memory.

    Attributes:
        sequences: `SCHEMA.NAME` to value and whether it was given already.
    """

    def __init__(self) -> None:
        self.sequences: dict[str, tuple[int, bool]] = {}
        self._rest = b""
        self._in_rows = False
        self._tail = b""

    @property
    def complete(self) -> bool:
        """Whether what came last is how a dump ends."""
        return bool(_COMPLETE.search(self._tail))

    def feed(self, block: bytes) -> None:
        """Takes the next bytes."""
        self._tail = (self._tail + block[-_TAIL:])[-_TAIL:]
        self._rest += block
        while self._step():
            pass

    def _step(self) -> bool:
        """Goes on by a line, or to the end of rows; False when more bytes are needed."""
        if self._in_rows:
            end = self._rest.find(_END_OF_ROWS)
            if end < 0:
                self._rest = self._rest[-len(_END_OF_ROWS) + 1 :]
                return False
            self._rest, self._in_rows = self._rest[end + len(_END_OF_ROWS) :], False
            return True
        line, newline, rest = self._rest.partition(b"\n")
        if not newline:
            if len(line) > _LONGEST:
                self._rest = line[-1:]  # no line of ours; its end is waited for
            return False
        self._rest = rest
        self._look(line)
        return True

    def _look(self, line: bytes) -> None:
        if _COPY.match(line):
            self._in_rows = True
            self._rest = b"\n" + self._rest  # so that rows without any end like others
        elif found := _SETVAL.match(line):
            self.sequences[_name(found[1])] = (int(found[2]), found[3] == b"true")


def _name(literal: bytes) -> str:
    """`SCHEMA.NAME` of a qualified identifier in an SQL literal."""
    text = literal.decode(errors="surrogateescape").replace("''", "'").replace("\\\\", "\\")
    parts = (quoted.replace('""', '"') or bare for quoted, bare in _IDENTIFIER.findall(text))
    return ".".join(parts)
