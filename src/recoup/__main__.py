"""`python -m recoup`, and the console script `recoup`."""

import gc
import os
import signal
import sys

from recoup.system.leaving import Leaving
from recoup.system.sparing import spare_plugins_of_pydantic


def _stop(_signal: int, _frame: object) -> None:
    """Ends the program while it starts: nothing has begun, so there is nothing to tidy up."""
    os.write(sys.stderr.fileno(), b"Error: interrupted\n")
    os._exit(130)  # `ExitCode.INTERRUPTED`, which may not be loaded yet


def main() -> None:
    """Runs the command line, and ends the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants it ignored
        signal.signal(signal.SIGINT, _stop)  # until the verb begins (`cli/_session.py`)
    # Two things that a start spends more time on than on its work: looking for plugins of pydantic, and collecting garbage
    # while modules are loaded, which make none.
    spare_plugins_of_pydantic()
    gc.set_threshold(20_000, 20, 20)
    leaving = Leaving()
    from recoup.cli.main import run

    sys.exit(leaving.with_code(run(sys.argv[1:])))


if __name__ == "__main__":
    main()
