"""Dedup repositories of a few small sets: each stream is one chunk, each run one pack; time stands still until it is moved."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.model.sharing import Reclaim
from recoup.repository._base import SetWriter, Subset
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.packs import PackRef, Row
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage._base import Object, Storage
from recoup.storage.memory import MemoryStorage
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store, stream_bytes

DAY = timedelta(days=1)
Content = Mapping[str, bytes]


class Standing:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - NOW).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Small:
    """A repository, with the keys of another one where one is given, and what its sets should hold."""

    def __init__(
        self,
        folder: Path,
        storage: Storage | None = None,
        clock: Standing | None = None,
        like: "Small | None" = None,
        **options: object,
    ) -> None:
        key = folder / "key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(32))
        self.key, self.storage, self.clock = key, storage or MemoryStorage(), clock or Standing()
        self.options = DedupOptions(key_file=key, **options)  # type: ignore[arg-type]
        self.held: dict[SetName, Content] = {}
        self.again()
        if like is None:
            self.repository.create()
        else:
            self.repository.create_like(like.repository)
        self.keys = self.repository.keys

    def again(self) -> DedupRepository:
        """As another process opens it."""
        self.repository = DedupRepository("r", self.storage, self.options, self.clock, None)
        if hasattr(self, "keys"):
            self.repository.__dict__["keys"] = self.keys
        return self.repository

    def add(self, **content: bytes) -> SetName:
        self.clock.time += timedelta(seconds=1)
        with self.begun(**content) as writer:
            commit(writer, content)
        self.held[writer.name] = content
        return writer.name

    @contextmanager
    def begun(self, **content: bytes) -> Iterator[SetWriter]:
        with self.again().begin(self.clock.now()) as writer:
            for name, data in content.items():
                writer.parts = [  # type: ignore[attr-defined]
                    *getattr(writer, "parts", ()),
                    store(writer, "db", StreamPart(name, Given(data), len(data))),
                ]
            yield writer

    def delete(self, *names: SetName, keep_days: float = 0.0, at_once: bool = False) -> Reclaim:
        for name in names:
            self.held.pop(name)
        return self.again().delete(names, keep_days=keep_days, at_once=at_once)

    def prune(self, after: timedelta = timedelta(), keep_days: float = 0.0) -> Reclaim:
        self.clock.time += after
        return self.delete(keep_days=keep_days)

    def restored(self, name: SetName) -> Content:
        parts = self.again().manifest(name).sources["db"].parts
        return {part.name: stream_bytes(self.repository.fetch(name, "db", part)) for part in parts}

    def check(self) -> None:
        """Every set is there and restores byte for byte, and verifies."""
        assert set(self.again().names()) == set(self.held)
        for name, content in self.held.items():
            assert self.restored(name) == content, name
            assert list(self.again().verify(name, Subset())) == [], name

    @property
    def rows(self) -> list[Row]:
        """All that index files name."""
        return [table.row(i) for table in self.again().index().tables for i in range(len(table))]

    @property
    def packs(self) -> set[PackRef]:
        return {ref for one in self.storage.list("packs") if (ref := PackRef.at(one.key))}

    def keys_below(self, folder: str) -> list[str]:
        return sorted(one.key for one in self.storage.list(folder))

    def flip(self, ref: PackRef, at: int) -> None:
        """Damages a pack."""
        data = bytearray(self.storage.get(ref.key))
        data[at] ^= 1
        self.storage.delete(ref.key)
        self.storage.put(ref.key, bytes(data))


def commit(writer: SetWriter, content: Content) -> None:
    assert [part.name for part in getattr(writer, "parts", ())] == list(content)
    made = manifest_of(writer.name, {"db": record_of(*getattr(writer, "parts", ()))})
    writer.commit(replace(made, id=secrets.token_hex(16), started=writer.name.time))


def noise(seed: int, size: int = 3000) -> bytes:
    """Bytes that do not compress."""
    import hashlib

    return hashlib.shake_256(b"%d" % seed).digest(size)


def aged(storage: MemoryStorage, clock: Standing) -> MemoryStorage:
    """Lets a storage note when its objects came."""
    moments: dict[str, datetime] = {}
    listed = storage.list

    def with_moments(prefix: str = "") -> Iterator[Object]:
        for one in listed(prefix):
            yield replace(one, modified=moments.setdefault(one.key, clock.time))

    storage.list = with_moments  # type: ignore[method-assign]
    return storage
