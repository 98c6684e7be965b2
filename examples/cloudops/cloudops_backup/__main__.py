"""The backups from the command line: `python -m cloudops_backup VERB`. Settings come from the environment."""

import argparse
import asyncio
import logging
import signal
import sys

from .errors import BackupError
from .service import AsyncBackups
from .settings import from_environ


def main() -> int:
    """Runs what the command line asks for; returns the exit code."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        return asyncio.run(_run(arguments))
    except (BackupError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


async def _run(arguments: argparse.Namespace) -> int:
    async with AsyncBackups(from_environ()) as backups:
        return int(await arguments.run(backups, arguments))


async def _backup(backups: AsyncBackups, arguments: argparse.Namespace) -> int:
    cycle = await backups.backup_all(arguments.collections, arguments.note)
    for snapshot in [*cycle.created, *cycle.uploaded]:
        print(f"{snapshot.location}: {snapshot.points:,} points, {snapshot.size_bytes:,} bytes")
    return 0 if cycle.ok else 1


async def _list(backups: AsyncBackups, arguments: argparse.Namespace) -> int:
    for snapshot in await backups.list_snapshots(arguments.collection):
        print(f"{snapshot.created_at:%Y-%m-%d %H:%M:%S}  {snapshot.size_bytes:>12,}  {snapshot.location}")
    return 0


async def _restore(backups: AsyncBackups, arguments: argparse.Namespace) -> int:
    restore = backups.restore_from_s3 if arguments.s3 else backups.restore_from_snapshot
    done = await restore(arguments.collection, arguments.snapshot)
    print(f"{done.collection}: {done.points:,} points restored from {done.snapshot.location}")
    if done.kept:
        print(f"what was there is kept: {done.kept}")
    return 0


async def _health(backups: AsyncBackups, _arguments: argparse.Namespace) -> int:
    health = await backups.health()
    for name, points in health.points_count.items():
        last = health.backup.last_backup[name]
        when = f"{last:%Y-%m-%d %H:%M:%S} UTC" if last else "never"
        print(f"{name}: {'unknown' if points is None else f'{points:,}'} points, last backup {when}")
    for warning in health.backup.warnings:
        print(f"Warning: {warning}")
    return 0 if health.healthy else 3


async def _cleanup(backups: AsyncBackups, _arguments: argparse.Namespace) -> int:
    print(f"{len(await backups.cleanup_old_snapshots())} removed")
    return 0


async def _serve(backups: AsyncBackups, arguments: argparse.Namespace) -> int:
    """Until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    backups.start_auto_backup(at_once=arguments.at_once)
    await stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="cloudops_backup", description="Back up the assistant's collections.")
    verbs = result.add_subparsers(required=True, metavar="VERB")
    backup = verbs.add_parser("backup", help="make and upload a snapshot of every collection")
    backup.add_argument("collections", nargs="*", help="only these")
    backup.add_argument("--note", default="", help="why, for example: before the migration")
    backup.set_defaults(run=_backup)
    listed = verbs.add_parser("list", help="snapshots here and in the bucket, newest first")
    listed.add_argument("collection", nargs="?")
    listed.set_defaults(run=_list)
    restore = verbs.add_parser("restore", help="restore one collection")
    restore.add_argument("collection")
    restore.add_argument("snapshot", nargs="?", default="latest", help="a name or a date; latest by default")
    restore.add_argument("--s3", action="store_true", help="from the bucket")
    restore.set_defaults(run=_restore)
    verbs.add_parser("health", help="points and newest backups; exit code 3 with warnings").set_defaults(run=_health)
    verbs.add_parser("cleanup", help="remove what is too old").set_defaults(run=_cleanup)
    serve = verbs.add_parser("serve", help="back up by itself, until it is ended")
    serve.add_argument("--at-once", action="store_true", help="the first time now")
    serve.set_defaults(run=_serve)
    return result


if __name__ == "__main__":
    sys.exit(main())
