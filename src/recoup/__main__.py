"""`python -m recoup`, and the console script `recoup`."""

import sys


def main() -> None:
    """Runs the command line."""
    from recoup.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
