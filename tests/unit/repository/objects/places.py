"""An object store in memory that counts its requests, and can be made to fail; and a clock that a test sets."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from recoup.errors import StorageError
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.sealing._base import Sealing
from recoup.storage._base import Object
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import Clock
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store

PAGE = 1000  # keys of one page, as S3 lists them


@dataclass
class SetClock:
    """A clock that stands until it is set."""

    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Bucket(MemoryStorage):
    """Counts requests, a page of a listing as one.

    What is put under one of the keys in `lost_answers` arrives, and is sent once more. Where `empty_folders` is a set, folders
    stay when their objects go, as some stores do it.
    """

    def __init__(self) -> None:
        super().__init__(moves=False)
        self.requests: Counter[str] = Counter()
        self.held: dict[str, datetime] = {}
        self.modified = NOW
        self.lost_answers: set[str] = set()
        self.empty_folders: set[str] | None = None
        self._lock = threading.RLock()
        self.refused: Callable[[str, str], bool] = lambda _operation, _key: False

    def _ask(self, operation: str, key: str) -> None:
        self.requests[operation] += 1
        if self.refused(operation, key):
            raise StorageError(f"the right to {operation} {key} is missing", "Ask for it.")

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self._ask("put", key)
        if if_absent and not self.properties.put_if_absent:
            if key in self._objects:
                raise FileExistsError(key)
            time.sleep(0.005)  # long enough for another to come in between
            if_absent = False
        with self._lock:
            if key in self.lost_answers:
                self.lost_answers.remove(key)
                super().put(key, data, if_absent=if_absent)
            super().put(key, data, if_absent=if_absent)

    def get(self, key: str) -> bytes:
        self._ask("get", key)
        return super().get(key)

    def size(self, key: str) -> int:
        self._ask("head", key)
        return len(super().get(key))

    def delete(self, key: str) -> None:
        self._ask("delete", key)
        super().delete(key)

    def delete_all(self, prefix: str) -> None:
        self._ask("delete", prefix)
        super().delete_all(prefix)

    def list(self, prefix: str = "") -> Iterator[Object]:
        self._ask("list", prefix)
        with self._lock:
            present = list(super().list(prefix))
        for number, found in enumerate(present):
            if number and number % PAGE == 0:
                self._ask("list", prefix)
            yield replace(found, modified=self.modified)

    def folders(self, prefix: str = "") -> Iterator[str]:
        with self._lock:
            found = list(super().folders(prefix))
        if not prefix and self.empty_folders is not None:
            self.empty_folders.update(found)
            found = sorted(self.empty_folders)
        self.requests["list"] += max(1, -(-len(found) // PAGE))
        yield from found

    def locked_until(self, key: str) -> datetime | None:  # type: ignore[override]
        self._ask("head", key)
        return self.held.get(key)

    def tidy(self) -> None:
        self._ask("tidy", "")

    def below(self, prefix: str = "") -> tuple[str, ...]:
        """The keys that there are, uncounted."""
        return tuple(sorted(key for key in self._objects if key.startswith(prefix)))


@dataclass
class Fleet:
    """One bucket, seen by several machines."""

    bucket: Bucket = field(default_factory=Bucket)
    clock: SetClock = field(default_factory=SetClock)

    def opened(
        self, sealing: Sealing | None = None, *, seal_manifest: bool = False, clock: Clock | None = None
    ) -> PlainRepository:
        clock = clock or self.clock
        return open_repository("s3", self.bucket, "tar", "none", None, clock, sealing, seal_manifest=seal_manifest)

    def made(self) -> PlainRepository:
        repository = self.opened()
        repository.create()
        return repository

    def change_claim(self, name: SetName | str, **fields: Any) -> None:
        """What another machine, or time, would have written into a claim."""
        key = f".partial/{name}.json"
        record = {**json.loads(self.bucket._objects[key]), **fields}
        self.bucket._objects[key] = json.dumps(record).encode()


def add(repository: PlainRepository, moment: datetime = NOW) -> SetName:
    """A small set."""
    with repository.begin(moment) as writer:
        part = store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
        writer.commit(manifest_of(writer.name, {"db": record_of(part)}, moment))
        return writer.name
