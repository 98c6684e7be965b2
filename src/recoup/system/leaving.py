"""The end of a process: what is registered for it runs, then the system takes the rest back, Python's own unloading is left out.

Unloading ends every thread that comes back for the interpreter. One of a compiled library (obstore's, after a request was
cancelled) cannot be unwound, so glibc aborts the whole process: a verb that did its work would end with SIGABRT.
"""

import atexit
import contextlib
import os
import sys


class Leaving:
    """To be made before anything else registers with `atexit`, for then it comes last."""

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._leave)

    def with_code(self, code: int) -> int:
        """Says what the process ends with. Until it is said, Python ends the process in its own way.

        Args:
            code: the exit code.

        Returns:
            The code, for `sys.exit`.
        """
        self._code = code
        return code

    def _leave(self) -> None:
        if self._code is None:
            return
        with contextlib.suppress(OSError, ValueError):  # what cannot be written, Python says in its own way
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self._code)
