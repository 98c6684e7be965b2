"""The folder of Qdrant's local mode, read in a child process: `meta.json` and one SQLite file for each collection.

Read from the sources of qdrant-client 1.20: `local/qdrant_local.py` (`meta.json`, `.lock`) and `local/persistence.py`. Opening
a folder with the client itself may delete rows in it, so that is never done. The SQLite files have a rollback journal: a held
read makes writers wait, so the copies are staged while it is held, all collections at once, and each is let go of as soon as
it is copied.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import BusyError, EmptySourceError, RestoreError, SourceError
from recoup.model.names import shown
from recoup.sources import _sqlite_files
from recoup.system.atomicfile import create_private

if TYPE_CHECKING:
    import sqlite3

META = "meta.json"
LOCK = ".lock"
COLLECTIONS = "collection"
STORAGE = "storage.sqlite"

_LEGACY = "storage.dbm"  # of qdrant-client before 1.1.7
_PAUSE = 0.05  # seconds between two tries
_TRY = 1.0  # seconds to wait for one collection's writer while others are held
_SETTLING = 2.0  # seconds: the client makes and removes a collection in two steps, some milliseconds apart
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")


def storage_name(collection: str) -> str:
    """Where a collection's points lie inside the folder.

    Raises:
        SourceError: the name, which comes from `meta.json`, would lead outside.
    """
    if not collection or collection in (".", "..") or any(c in collection for c in "/\\\0"):
        raise SourceError(f"{shown(collection)!r} is no safe name of a collection", "See who wrote meta.json.")
    return f"{COLLECTIONS}/{collection}/{STORAGE}"


def _storage(root: Path, collection: str) -> Path:
    path = root / storage_name(collection)
    if not path.exists():
        if path.with_name(_LEGACY).exists():
            raise SourceError(
                f"collection {shown(collection)} is in the format of qdrant-client before 1.1.7",
                "Open the folder once with a newer qdrant-client below 1.20, which converts it.",
            )
        raise SourceError(
            f"collection {shown(collection)} is named in {META}, and its {STORAGE} is not there",
            "Restore it from an earlier set, or delete the collection with the client.",
        )
    if not path.resolve().is_relative_to(root.resolve()):
        raise SourceError(f"collection {shown(collection)} is a link that leads out of the folder")
    return path.resolve()


def _read_meta(root: Path) -> bytes:
    try:
        return (root / META).read_bytes()
    except FileNotFoundError:
        raise SourceError(
            f"{shown(str(root))} has no {META}", "See whether it is the folder given to QdrantClient(path=...)."
        ) from None
    except OSError as error:
        raise SourceError(f"{META} in {shown(str(root))} cannot be read: {error.strerror}") from None


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(data)
    except ValueError:
        raise SourceError(f"{META} is damaged: it is not JSON", "Restore it from an earlier set.") from None
    sound = isinstance(meta, dict) and all(isinstance(meta.get(key, {}), dict) for key in ("aliases", "text_indexes"))
    collections = meta.get("collections") if sound else None
    if not isinstance(collections, dict) or not all(isinstance(entry, dict) for entry in collections.values()):
        raise SourceError(f"{META} is damaged: it lists no collections", "Restore it from an earlier set.")
    return dict(meta)


def chosen(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The collections that some pattern names and none with a leading `!` excludes; without a positive one, all others.

    Raises:
        EmptySourceError: a pattern matches no collection.
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            what = "there is no collection" if pattern == "*" else f"no collection matches {pattern!r}"
            raise EmptySourceError(what, f"There are: {', '.join(map(shown, sorted(names))) or 'none'}.")
    kept = [
        name
        for name in sorted(names)
        if any(fnmatchcase(name, pattern) for pattern in wanted or ["*"])
        and not any(fnmatchcase(name, pattern) for pattern in unwanted)
    ]
    if not kept:
        raise EmptySourceError("every collection is excluded", f"There are: {', '.join(map(shown, sorted(names)))}.")
    return kept


def _chosen(meta: Mapping[str, Any], patterns: Sequence[str], *, allow_empty: bool) -> list[str]:
    try:
        return chosen(list(meta["collections"]), patterns)
    except EmptySourceError:
        if not allow_empty:
            raise
        return [name for name in sorted(meta["collections"]) if _matches(name, patterns)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    with contextlib.suppress(EmptySourceError):
        return bool(chosen([name], [*(p for p in patterns if p.startswith("!") or fnmatchcase(name, p))]))
    return False


def restricted(meta: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`meta.json` as it were with these collections alone, and their aliases."""
    kept = dict(meta)
    kept["collections"] = {name: meta["collections"][name] for name in meta["collections"] if name in names}
    kept["aliases"] = {alias: name for alias, name in meta.get("aliases", {}).items() if name in names}
    if "text_indexes" in meta:
        kept["text_indexes"] = {name: value for name, value in meta["text_indexes"].items() if name in names}
    return kept


def describe_store(meta: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """For each collection its name, its settings, and the aliases that lead to it."""
    aliases = meta.get("aliases", {})
    return [
        {
            "collection": name,
            "settings": {**meta["collections"][name], "text_indexes": meta.get("text_indexes", {}).get(name)},
            "aliases": ", ".join(sorted(alias for alias, target in aliases.items() if target == name)),
        }
        for name in names
    ]


def look(name: str, patterns: list[str], allow_empty: bool) -> dict[str, Any]:  # noqa: FBT001
    """The collections, with the file of each, and how many aliases lead to them; points are not read.

    Raises:
        SourceError: the folder cannot be read.
        EmptySourceError: a pattern matches nothing.
    """
    root = Path(name)
    meta = _parsed(_read_meta(root))
    names = _chosen(meta, patterns, allow_empty=allow_empty)
    entries = [
        {**entry, "file": str(_storage(root, entry["collection"])), "live": True}
        for entry in describe_store(meta, names)
    ]
    return {"collections": entries, "aliases": _alias_count(meta, names)}


def _alias_count(meta: Mapping[str, Any], names: Sequence[str]) -> int:
    """Aliases that lead to these collections; a dangling one leads nowhere and does not count."""
    return sum(target in names for target in meta.get("aliases", {}).values())


class _Held:
    """One collection inside a read transaction."""

    def __init__(self, root: Path, name: str, target: Path) -> None:
        self.name = name
        self.target = target
        self._path = _storage(root, name)
        self._stack = contextlib.ExitStack()
        private = target.with_name(f"{target.name}.unrolled")
        self._connection = self._stack.enter_context(_sqlite_files.frozen(self._path, _TRY, private))
        try:
            with _sqlite_files.explained(self._path, 0):
                self.points = _rows(self._connection)
        except BaseException:
            self.close()
            raise

    def copy(self) -> dict[str, Any]:
        """Copies it and lets go of it."""
        status = self._path.stat() if self._path.exists() else None
        try:
            with _sqlite_files.explained(self._path, 0):
                _sqlite_files.copy(self._connection, self.target)
        finally:
            self.close()
        after = _live_rows(self._path)
        return {
            "file": str(self.target),
            "attributes": [status.st_mode & 0o7777, status.st_mtime_ns] if status else None,
            "low": min(self.points, after),
            "high": max(self.points, after),
        }

    def close(self) -> None:
        """Lets writers go on."""
        self._stack.close()


def _rows(connection: "sqlite3.Connection") -> int:
    return int(connection.execute("SELECT count(*) FROM points").fetchone()[0])


def _live_rows(path: Path) -> int:
    """Rows now; a collection that has been deleted meanwhile has none."""
    try:
        with _sqlite_files.frozen(path, _TRY) as connection:
            return _rows(connection)
    except SourceError:
        return 0


def hold(name: str, folder: str, patterns: list[str], timeout: float, allow_empty: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """Freezes all collections at one moment; asked again, copies them, letting go of each.

    Args:
        name: the store's folder.
        folder: a private folder for the copies.
        patterns: which collections.
        timeout: seconds to wait for writers.
        allow_empty: whether no collection is accepted.

    Raises:
        SourceError: it cannot be read.
        EmptySourceError: a pattern matches nothing.
    """
    root, staging = Path(name), Path(folder)
    meta, data, held = _frozen(root, staging, patterns, timeout, allow_empty=allow_empty)
    try:
        yield {"collections": len(held)}
        copies = {one.name: one.copy() for one in held}
    finally:
        for one in held:
            one.close()
    names = [one.name for one in held]
    whole = len(names) == len(meta["collections"])
    kept = data if whole else json.dumps(restricted(meta, names)).encode()
    target = staging / META
    with os.fdopen(create_private(target), "wb") as file:
        file.write(kept)
    entries = [{**entry, "live": False, **copies[entry["collection"]]} for entry in describe_store(meta, names)]
    yield {"meta": str(target), "aliases": _alias_count(meta, names), "collections": entries}


def _frozen(
    root: Path, staging: Path, patterns: list[str], timeout: float, *, allow_empty: bool
) -> tuple[dict[str, Any], bytes, list[_Held]]:
    """Tries until every collection is held and `meta.json` is the same as before.

    Nobody is waited for long while others are held, as their writers would wait with us: everything is let go of, and tried
    again.
    """
    begun = time.monotonic()
    while True:
        held: list[_Held] = []
        try:
            data = _read_meta(root)
            meta = _parsed(data)
            for number, name in enumerate(_chosen(meta, patterns, allow_empty=allow_empty)):
                held.append(_Held(root, name, staging / f"{number}.sqlite"))
            if _read_meta(root) == data:
                return meta, data, held
            reason = SourceError(f"{META} changed again and again", "Run the backup when fewer collections are made.")
            patience = timeout
        except EmptySourceError:
            raise
        except SourceError as error:
            reason, patience = error, timeout if _is_busy(error) else min(timeout, _SETTLING)
        for one in held:
            one.close()
        if time.monotonic() - begun > patience:
            raise reason
        time.sleep(_PAUSE)


def _is_busy(error: SourceError) -> bool:
    return str(getattr(error.__cause__, "sqlite_errorname", "")).startswith(_BUSY)


def lock(name: str) -> Iterator[int]:
    """Takes the client's own lock of a folder, if there is one, and holds it until it is closed; answers with its process.

    It is a `flock`, as portalocker takes it: a client in whatever process then refuses to open the folder.

    Raises:
        BusyError: a client has it.
    """
    try:
        file = (Path(name) / LOCK).open("r+b")
    except FileNotFoundError:
        yield os.getpid()
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{shown(name)} is open in a Qdrant client", "Close it, then restore again.") from None
        yield os.getpid()


def require_whole(name: str) -> None:
    """Checks a restored folder that nobody has open.

    Raises:
        RestoreError: a collection is missing or superfluous.
        SourceError: a file is damaged.
    """
    root = Path(name)
    collections = _parsed(_read_meta(root))["collections"]
    present = {path.name for path in (root / COLLECTIONS).iterdir()} if (root / COLLECTIONS).exists() else set()
    if present != set(collections):
        odd = ", ".join(sorted(map(shown, present ^ set(collections))))
        raise RestoreError(f"{META} and the collections do not agree about: {odd}")
    for collection in collections:
        _sqlite_files.require_whole(str(_storage(root, collection)))
