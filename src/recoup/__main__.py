"""`python -m recoup`, and the console script `recoup`."""

import sys


def main() -> None:
    """Runs the command line."""
    from recoup.cli.main import app, globals_first

    app(args=globals_first(sys.argv[1:]), prog_name="recoup")


if __name__ == "__main__":
    main()
