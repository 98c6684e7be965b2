"""`python -m recoup`, and the console script `recoup`."""

import gc
import os
import sys


def main() -> None:
    """Runs the command line."""
    # Two things that a start spends more time on than on its work: looking for plugins of pydantic in everything that is
    # installed, and collecting garbage while modules are loaded, which make none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.set_threshold(20_000, 20, 20)
    from recoup.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
