"""Backups of the assistant's data, by hand and on this machine: `create-backup` and `prune-backups`.

What is kept stands in recoup.yaml beside this folder; this script only chooses from it.
"""

import argparse
import json
import sys
from pathlib import Path

import recoup

ROOT = Path(__file__).resolve().parents[1]
ALWAYS = ["cache", "storage"]


def main() -> int:
    """Runs what the command line asks for; returns the exit code."""
    arguments = parser().parse_args()
    try:
        return int(arguments.run(arguments))
    except recoup.RecoupError as error:
        print(f"Error: {error.message}", error.hint, sep="\n" if error.hint else "", file=sys.stderr)
        return int(error.exit_code)


def create_backup(arguments: argparse.Namespace) -> int:
    """Takes one cut of the chosen sources; prunes older sets if it is complete."""
    stack = open_stack(arguments)
    stack.create_repositories()
    report = stack.backup(sources=chosen(arguments, stack))
    for source, error in report.errors.items():
        print(f"{source}: {error}", file=sys.stderr)
    if report.manifest is None:
        print("Nothing was stored, nothing was pruned.", file=sys.stderr)
    elif report.errors:
        print(f"{report.manifest.name} is {report.manifest.outcome}; nothing was pruned.", file=sys.stderr)
    else:
        print(f"{report.manifest.name}: {report.manifest.stored_bytes:,} bytes in {report.seconds:.1f} s")
    return report.exit_code


def prune_backups(arguments: argparse.Namespace) -> int:
    """Removes all but the newest sets."""
    report = open_stack(arguments).prune()
    print(f"{len(report.removed)} removed, {len(report.kept)} kept")
    return 0


def open_stack(arguments: argparse.Namespace) -> recoup.Stack:
    """The stack of recoup.yaml, with the repository and the number of sets that the command line names."""
    overrides = []
    if arguments.dest is not None:
        overrides.append(f"repositories.local.path={json.dumps(arguments.dest)}")
    if arguments.keep_last is not None:
        overrides.append(f"repositories.local.keep.last={arguments.keep_last}")
    return recoup.open(ROOT / "recoup.yaml", overrides=overrides)


def chosen(arguments: argparse.Namespace, stack: recoup.Stack) -> list[str]:
    """Names of the sources to back up."""
    vectors = arguments.qdrant_snapshot
    if vectors is None:
        vectors = stack.present("vectors")
    asked = {
        "env": arguments.include_env,
        "uploads": arguments.include_uploads,
        "analytics": arguments.include_analytics,
        "logs": arguments.include_logs,
        "vectors": vectors,
    }
    return ALWAYS + [name for name, wanted in asked.items() if wanted]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description="Back up the assistant's data on this machine.")
    commands = result.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dest", metavar="PATH", help="folder of the backups (default: data/backups/)")
    common.add_argument(
        "--keep-last", type=positive, metavar="N", help="sets that stay (default: setting backup_keep_last)"
    )

    create = commands.add_parser("create-backup", parents=[common], help="take a backup, then prune")
    switch = argparse.BooleanOptionalAction
    create.add_argument("--include-uploads", action="store_true", help="also data/uploads/")
    create.add_argument("--include-analytics", action="store_true", help="also data/analytics/analytics.duckdb")
    create.add_argument("--include-logs", action="store_true", help="also logs/")
    create.add_argument("--include-env", action=switch, default=True, help="also .env")
    create.add_argument("--qdrant-snapshot", action=switch, help="also the vectors (default: if Qdrant answers)")
    create.set_defaults(run=create_backup)

    prune = commands.add_parser("prune-backups", parents=[common], help="remove all but the newest backups")
    prune.set_defaults(run=prune_backups)
    return result


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1; the newest backup always stays")
    return number


if __name__ == "__main__":
    sys.exit(main())
