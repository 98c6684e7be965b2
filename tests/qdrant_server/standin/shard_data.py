"""One shard's data on this node: the engine's shard, opened when it is needed, and frozen copies of it.

Only so many shards are open at once that a thousand collections cost no thousand sets of files and threads.
"""

import hashlib
import json
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import qdrant_edge as edge

from qdrant_server.standin import configs, reading, sparsely, updates
from qdrant_server.standin.meta import write_json

_OPEN = 128
"""How many shards one node keeps open."""

_BLANK = "blank.json"
"""Beside the data of a shard that nobody has touched: its manifest, so that the engine need not open it to be asked."""


class OpenShards:
    """Which shards of a node are open, the latest used last, and empty ones to begin others with.

    Args:
        folder: where the empty ones are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._creating = threading.Lock()
        self._order: OrderedDict[int, ShardData] = OrderedDict()

    def empty_shard(self, config: Mapping[str, Any]) -> Path:
        """Folder of an empty shard of a configuration: creating one waits for the disk, copying does not."""
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        folder = self._folder / digest
        with self._creating:
            if not folder.exists():
                new = folder.with_suffix(".new")
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir(parents=True)
                created = edge.EdgeShard.create(str(new), configs.engine_config(config))
                created.flush()
                write_json(new / _BLANK, dict(created.snapshot_manifest()))
                created.close()
                new.rename(folder)
        return folder

    def used(self, shard: "ShardData") -> None:
        with self._lock:
            self._order[id(shard)] = shard
            self._order.move_to_end(id(shard))
            oldest = list(self._order.values())[:-_OPEN]
        for candidate in oldest:
            if candidate.idle():
                self.forget(candidate)

    def forget(self, shard: "ShardData") -> None:
        with self._lock:
            self._order.pop(id(shard), None)


class ShardData:
    """One shard.

    Args:
        folder: where its generations are: `0`, `1`, ... of which the highest is the one that counts.
        config: gives the collection's present configuration.
        opened: which shards of the node are open.
    """

    def __init__(self, folder: Path, config: Callable[[], Mapping[str, Any]], opened: OpenShards) -> None:
        self.folder = folder
        self.writing = threading.RLock()
        self._config = config
        self._opened = opened
        self._guard = threading.Lock()
        self._shard: Any = None
        self._readers = 0
        self._operation = 0
        self.unindexed = 0.0

    @property
    def present(self) -> Path:
        """Folder of the generation that counts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / str(max((int(entry.name) for entry in self._generations()), default=0))

    def _generations(self) -> list[Path]:
        return [entry for entry in self.folder.iterdir() if entry.name.isdigit()]

    def ask(self, question: str, json: Mapping[str, Any]) -> Any:
        """The answer of `reading.answer`; changes may happen meanwhile."""
        if self._blank_manifest() is not None:
            return reading.of_nothing(question)
        with self._open() as shard:
            return reading.answer(shard, question, json)

    def change(self, json: Mapping[str, Any]) -> int:
        """Changes points or indexes.

        Returns:
            the operation's number.
        """
        with self.writing, self._open() as shard:
            shard.update(updates.engine_operation(json))
            self._operation += 1
            if json["kind"] == "upsert":
                self.unindexed += len(json["points"]) * configs.kilobytes_per_point(self._config())
            return self._operation

    def optimize(self) -> None:
        """Merges segments and builds their graphs, where enough has come for it."""
        with self.writing, self._open() as shard:
            shard.optimize()
            self.unindexed = 0

    def manifest(self) -> dict[str, Any]:
        """Segments with their files and the files' versions."""
        blank = self._blank_manifest()
        if blank is not None:
            return blank
        with self.writing, self._open() as shard:
            shard.flush()
            return dict(shard.snapshot_manifest())

    def frozen_manifest(self, folder: Path) -> dict[str, Any]:
        """Copies the shard as it is at one moment, for which changes wait, and gives the manifest of just that moment."""
        with self.writing:
            manifest = self.manifest()
            sparsely.copy_tree(self.present / "segments", folder / "segments")
            sparsely.copy_tree(self.present / "wal", folder / "wal")
            return manifest

    def merge(self, snapshot: Path) -> None:
        """Takes over a partial snapshot."""
        with self.writing, self._open() as shard:
            shard.update_from_snapshot(str(snapshot))

    def replace(self, folder: Path) -> None:
        """Puts other data in the place of all there is.

        Args:
            folder: holds `segments` and `wal`; it is moved.

        Raises:
            Exception: the engine cannot read it; the shard is as it was.
        """
        opened = edge.EdgeShard.load(str(folder))
        opened.flush()
        opened.close()
        with self._replacing() as new:
            folder.rename(new)

    def clear(self) -> None:
        """Leaves an empty shard."""
        with self._replacing() as new:
            self._put_blank(new)

    @contextmanager
    def _replacing(self) -> Iterator[Path]:
        """The next generation's place, while nobody opens the shard: who opens it removes all but the present generation."""
        with self.writing:
            with self._guard:
                old = self.present
                yield self.folder / str(int(old.name) + 1)
                self._shard = None  # the engine closes it when its last reader is done
                shutil.rmtree(old, ignore_errors=True)
            self._opened.forget(self)

    def idle(self) -> bool:
        """Closes the shard unless somebody uses it.

        Returns:
            whether it is closed now.
        """
        if not self.writing.acquire(blocking=False):
            return False
        try:
            with self._guard:
                if self._readers:
                    return False
                if self._shard is not None:
                    self._shard.close()
                    self._shard = None
                return True
        finally:
            self.writing.release()

    def remove(self) -> None:
        """Closes the shard and deletes its data."""
        self._forget()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Writes out and closes; whoever still reads keeps what he reads."""
        with self.writing:
            if self._shard is not None:
                self._shard.flush()
            self._forget()

    def _forget(self) -> None:
        with self._guard:
            self._shard = None  # the engine closes it when its last reader is done
        self._opened.forget(self)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with self._guard:
            if self._shard is None:
                self._shard = self._load()
            shard = self._shard
            self._readers += 1
        self._opened.used(self)
        try:
            yield shard
        finally:
            with self._guard:
                self._readers -= 1

    def _load(self) -> Any:
        present = self.present
        for entry in self.folder.iterdir():
            if entry != present:
                shutil.rmtree(entry)  # left by a kill in the middle of a replacement
        if not present.is_dir():
            self._put_blank(present)
        (present / _BLANK).unlink(missing_ok=True)
        return edge.EdgeShard.load(str(present))

    def _blank_manifest(self) -> dict[str, Any] | None:
        """The manifest of a shard that nobody has touched; None of another."""
        with self._guard:
            if self._shard is not None:
                return None
            if not self.present.is_dir():
                self._put_blank(self.present)
            path = self.present / _BLANK
            return dict(json.loads(path.read_text())) if path.exists() else None

    def _put_blank(self, folder: Path) -> None:
        new = folder.with_name("new")
        shutil.rmtree(new, ignore_errors=True)
        sparsely.copy_tree(self._opened.empty_shard(self._config()), new)
        blank = {}
        for told in json.loads((new / _BLANK).read_text()).values():
            name = str(uuid4())
            blank[name] = {**told, "segment_id": name}
            (new / "segments" / told["segment_id"]).rename(new / "segments" / name)
        write_json(new / _BLANK, blank)
        new.rename(folder)
