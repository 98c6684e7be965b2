"""Object stores: `s3://bucket/prefix`, `gs://`, `az://`.

obstore reads, lists and deletes; to S3 the signed client writes (`_s3.py`), since it sends checksums, object lock and conditions.
Nothing moves there: what has a key shows as soon as it is written. Every wait can be interrupted (`_background.py`), every
request that failed in a way that may pass is made again in one place (`_retrying.py`).
"""

import contextlib
import hashlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from recoup.errors import DamagedError, RightError, StorageError
from recoup.model.names import checked_relative, shown
from recoup.storage import _object_access, _s3_features
from recoup.storage._background import Background, background
from recoup.storage._base import ByteReader, Feature, Object, Properties
from recoup.storage._object_faults import Operation, TakenError, UnclearError, of_obstore
from recoup.storage._object_keys import Keys
from recoup.storage._object_options import ObjectOptions as Options
from recoup.storage._object_options import number_of
from recoup.storage._object_reading import Block, ObjectReader
from recoup.storage._object_stores import Opened, block_size, opened
from recoup.storage._object_writing import ObjectWriter, Parts, S3Parts, StreamedParts
from recoup.storage._retrying import Retrying
from recoup.storage._s3 import Answer, S3Client, Unfinished
from recoup.storage._throttled import Limit
from recoup.system.clock import Clock, SystemClock

T = TypeVar("T")

__all__ = ["ObjectStorage", "Options", "connect"]

_PAGE = 1000  # objects of one page of a listing, and of one request to delete
_CLOSE_WAIT = 1.0  # seconds


def _close(loop: Background, client: S3Client) -> None:
    if loop.runs:
        with contextlib.suppress(Exception):
            closing = loop.start(client.close())
            if not loop.is_here:  # where the last reference went in the loop's own thread, waiting would be for oneself
                closing.result(_CLOSE_WAIT)


class ObjectStorage:
    """Objects of a bucket, below a prefix.

    Args:
        store: where.
        options: settings.
        clock: time.
        upload: bandwidth limit of `store`.
    """

    def __init__(self, store: Opened, options: Options, clock: Clock, upload: Limit) -> None:
        self._opened, self._store, self._s3 = store, store.store, store.s3
        self._options, self._clock, self._upload = options, clock, upload
        self._keys = Keys(store.prefix)
        self._download = Limit(None if options.download_limit is None else number_of(options.download_limit))
        self._retrying = Retrying(options.retries, options.retry_wait)
        self._loop = background()
        self.properties = Properties(
            put_if_absent=options.conditional_put,
            moves=False,
            part_size=number_of(options.part_size),
            locks=store.s3 is not None and options.lock_days is not None,
        )
        if store.s3 is not None:
            weakref.finalize(self, _close, self._loop, store.s3)

    @property
    def location(self) -> str:
        """The URL."""
        return self._opened.place.where

    # --- writing -----------------------------------------------------------------------------------------------------

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Stores a small object in one request."""
        self._put(key, data, if_absent=if_absent)
        if self._options.verify_after_upload:
            self._read_back(key, hashlib.sha256(data).digest())

    def _put(self, key: str, data: bytes | bytearray, *, if_absent: bool = False) -> None:
        name = self._keys.stored(key)
        if if_absent and not self._options.conditional_put and self._is_there(key):
            raise FileExistsError(key)
        self._run(lambda attempt: self._put_once(name, key, data, attempt, if_absent=if_absent))

    async def _put_once(self, name: str, key: str, data: bytes | bytearray, attempt: int, *, if_absent: bool) -> None:
        try:
            await self._put_request(
                name, data, if_absent=if_absent and self._options.conditional_put, locked=_locks(key)
            )
        except TakenError:
            # the answer to an earlier attempt may have been lost after the object was stored: then it is ours
            if attempt == 1 or await self._found(name) != data:
                raise FileExistsError(key) from None

    async def _found(self, name: str) -> bytes | None:
        try:
            return await self._get(name)
        except FileNotFoundError:
            return None

    async def _put_request(self, name: str, data: bytes | bytearray, *, if_absent: bool, locked: bool) -> None:
        if self._s3 is not None:
            return await self._s3.put(name, memoryview(data), if_absent=if_absent, locked=locked)
        import obstore

        await self._upload.take(len(data))
        mode = "create" if if_absent else "overwrite"
        tags = dict(self._options.tags) or None
        sent = obstore.put_async(self._store, name, bytes(data), mode=mode, tags=tags, use_multipart=False)  # type: ignore[arg-type]
        await self._asked(sent, "write", name)
        return None

    def writer(self, key: str, *, hidden: bool = False) -> ObjectWriter:  # noqa: ARG002 - nothing shows early here
        """Begins a large object."""
        name, first = self._keys.stored(key), number_of(self._options.part_size)
        parts: Parts
        if self._s3 is not None:
            budget = first * self._options.transfers
            parts = S3Parts(self._s3, self._retrying, name, locked=_locks(key), budget=budget)
        else:
            tags, transfers = dict(self._options.tags), self._options.transfers
            parts = StreamedParts(self._opened.sending, self._opened.place, name, tags, self._upload, first, transfers)
        check = (lambda digest: self._read_back(key, digest)) if self._options.verify_after_upload else None
        return ObjectWriter(self._loop, parts, lambda data: self._put(key, data), check, first)

    def _read_back(self, key: str, digest: bytes) -> None:
        found = hashlib.sha256()
        with self.reader(key) as reader:
            while block := reader.read(number_of(self._options.part_size)):
                found.update(block)
        if found.digest() != digest:
            self.delete(key)
            raise DamagedError(
                f"{self.location} gave back something else than was stored ({shown(key)}); it was removed again",
                "Read back because of `verify_after_upload`. Store it again; if that happens twice, the store is not reliable.",
            )

    def adopt(self, key: str, path: Path, *, move: bool) -> bool:  # noqa: ARG002 - a file is not on the store
        """Never possible here."""
        checked_relative(key)
        return False

    def share(self, key: str, existing: str) -> bool:  # noqa: ARG002 - a copy takes space
        """Never possible here: each object takes its space."""
        checked_relative(key)
        return False

    def make_folder(self, key: str) -> None:
        """There are no folders here."""
        checked_relative(key)

    def make_link(self, key: str, target: str) -> None:  # noqa: ARG002 - links are for people to see
        """There are no links here."""
        checked_relative(key)

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes:
        """A small object."""
        name = self._keys.stored(key)
        return self._run(lambda _: self._get(name))

    async def _get(self, name: str) -> bytes:
        """All of an object: asked for by range, since only then the answer tells how long the whole is."""
        found = await self._block(name, 0, block_size(self._options), "")
        data = bytearray(found.data)
        while len(data) < found.size:
            data += (await self._block(name, len(data), found.size, found.mark)).data
        return bytes(data)

    @contextlib.contextmanager
    def reader(self, key: str, start: int = 0, length: int | None = None) -> Iterator[ByteReader]:
        """Opens an object, or a range of it."""
        name = self._keys.stored(key)

        def fetch(begin: int, end: int, mark: str) -> Awaitable[Block]:
            return self._retrying(lambda _: self._block(name, begin, end, mark))

        ahead = max(1, self._options.transfers - 1)
        reader = ObjectReader(self._loop, fetch, start, length, block_size(self._options), ahead)
        try:
            yield reader
        finally:
            reader.close()

    async def _block(self, name: str, begin: int, end: int, mark: str) -> Block:
        import obstore

        async def ranged() -> Block:
            wanted: Any = {"range": (begin, end), **({"if_match": mark} if mark else {})}
            found = await obstore.get_async(self._store, name, options=wanted)
            data, (first, last) = await found.bytes_async(), found.range
            size = int(found.meta["size"])
            if first != begin or last != min(end, size) or len(data) != last - first:
                raise self._opened.place.unreachable(f"{len(data)} bytes came instead of {min(end, size) - begin}")
            return Block(memoryview(data), size, found.meta["e_tag"] or "")

        if begin == end:
            return Block(memoryview(b""), await self._size(name), mark)
        try:
            block = await self._asked(ranged(), "read", name)
        except TakenError:
            raise StorageError(f"{shown(name)} was replaced while it was read", "Try again.") from None
        except UnclearError:
            size = await self._size(name)
            if begin < size:
                raise
            return Block(memoryview(b""), size, mark)
        await self._download.take(len(block.data))
        return block

    def size(self, key: str) -> int:
        """Bytes of an object."""
        name = self._keys.stored(key)
        return self._run(lambda _: self._size(name))

    async def _size(self, name: str) -> int:
        import obstore

        return int((await self._asked(obstore.head_async(self._store, name), "read", name))["size"])

    def _is_there(self, key: str) -> bool:
        try:
            self.size(key)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[Object]:
        """All objects below a prefix, a page at a time; a listing that is cut goes on where it was."""
        listing = _Listing(self._store, self._keys.below(prefix))
        while page := self._run(lambda _: self._asked(listing.page(), "list")):
            for found in page:
                key = self._keys.key(found["path"])
                yield Object(key, int(found["size"]), found["last_modified"].astimezone(UTC))

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The first components below a prefix that have objects below them, sorted."""
        import obstore

        below = self._keys.below(prefix)
        found = self._run(lambda _: self._asked(obstore.list_with_delimiter_async(self._store, below or None), "list"))
        whole = (self._keys.key(folder) for folder in found["common_prefixes"])
        yield from sorted({folder.rsplit("/", 1)[-1] for folder in whole})

    # --- removing ----------------------------------------------------------------------------------------------------

    def delete(self, key: str) -> None:
        """Removes an object; harmless when there is none."""
        self._delete([self._keys.stored(key)])

    def delete_all(self, prefix: str) -> None:
        """Removes every object below a prefix."""
        checked_relative(prefix)
        waiting: list[str] = []
        for found in self.list(prefix):
            waiting.append(self._keys.stored(found.key))
            if len(waiting) == _PAGE:
                self._delete(waiting)
                waiting = []
        if waiting:
            self._delete(waiting)

    def _delete(self, names: Sequence[str]) -> None:
        self._run(lambda _: self._delete_once(names))

    async def _delete_once(self, names: Sequence[str]) -> None:
        import obstore

        try:
            await self._asked(obstore.delete_async(self._store, list(names)), "delete", names[0])
        except FileNotFoundError:  # some stores say so; which of them it was is not told
            for name in names if len(names) > 1 else ():
                with contextlib.suppress(FileNotFoundError):
                    await self._asked(obstore.delete_async(self._store, name), "delete", name)

    def move(self, source: str, target: str) -> None:  # noqa: ARG002 - see `properties`
        """Never possible here (`properties.moves`)."""
        raise StorageError(f"{self.location} cannot rename {shown(source)}: object stores have no such call")

    # --- the store ---------------------------------------------------------------------------------------------------

    def locked_until(self, key: str) -> datetime | None:
        """Until when the store refuses to give an object up."""
        if self._s3 is None:
            return None
        name, client = self._keys.stored(key), self._s3
        headers = self._run(lambda _: client.head(name))
        if headers.get("x-amz-object-lock-legal-hold", "").upper() == "ON":
            return datetime.max.replace(tzinfo=UTC)
        until = headers.get("x-amz-object-lock-retain-until-date", "")
        time = datetime.fromisoformat(until) if until else None
        return time if time is not None and time > self._clock.now() else None

    def extend_lock(self, key: str) -> None:
        """Locks an object anew, and a quarter longer than a new one, so that it need not be done every day."""
        days, client, name = self._options.lock_days, self._s3, self._keys.stored(key)
        if client is None or days is None or not _locks(key):
            self.size(key)
            return
        now, kept = self._clock.now(), self.locked_until(key)
        if kept is None or kept < now + timedelta(days=days):
            until = now + timedelta(days=days * 1.25)
            self._run(lambda _: client.retain(name, until))

    def check_access(self, folder: str, stored: str = "") -> None:
        """Looks at the bucket, then stores, reads, lists and deletes an object of a few bytes."""
        place, conditions = self._opened.place, self._options.conditional_put
        if stored:
            _object_access.check_rest(self, folder, stored, place, conditions=conditions)
        else:
            _object_access.check(self, folder, place, self._look, conditions=conditions)

    def _look(self) -> None:
        client = self._s3
        if client is not None:
            self._run(lambda _: client.head_bucket())

    def features(self, key: str) -> Sequence[Feature]:
        """What the bucket is set to."""
        client, name = self._s3, self._keys.stored(key)
        if client is None:
            return ()
        stored = self._run(lambda _: client.head(name))

        def setting(wanted: str) -> Answer:
            return self._run(lambda _: client.setting(wanted))

        return list(_s3_features.features(self._options, setting, stored, self.unfinished, self._clock.now()))

    def sync(self, prefix: str) -> None:
        """A store that has answered keeps what it took."""

    def unfinished(self) -> Sequence[Unfinished]:
        """Uploads below the prefix that nobody has finished; empty where the store does not tell."""
        if self._s3 is None:
            return ()
        client, below = self._s3, self._keys.below("")

        async def all_of_them() -> list[Unfinished]:
            return [one async for one in client.unfinished(f"{below}/" if below else "")]

        return self._run(lambda _: all_of_them())

    def tidy(self) -> None:
        """Takes back uploads that nobody has finished for a day, where the store lists them and these keys may."""
        with contextlib.suppress(RightError, UnclearError):
            for left in self.unfinished():
                if left.begun < self._clock.now() - _s3_features.ABANDONED:
                    self._take_back(left)

    def _take_back(self, left: Unfinished) -> None:
        client = self._s3
        if client is not None:
            self._run(lambda _: client.abort(left.name, left.id))

    def free_bytes(self) -> int | None:
        """Unknown."""
        return None

    # --- requests ----------------------------------------------------------------------------------------------------

    def _run(self, once: Callable[[int], Awaitable[T]]) -> T:
        return self._loop.run(self._retrying(once))

    async def _asked(self, request: Awaitable[T], operation: Operation, name: str = "") -> T:
        """The answer to a request of obstore's, or an error that speaks."""
        from obstore.exceptions import BaseError

        try:
            return await request
        except (BaseError, FileNotFoundError, OSError, ValueError) as error:
            raise of_obstore(error, self._opened.place, operation, self._keys.key(name)) from None


def _locks(key: str) -> bool:
    """Whether object lock is for this object: what a repository keeps for itself (`.locks`, `.partial`) has to go again."""
    return not any(step.startswith(".") for step in key.split("/"))


class _Listing:
    """The objects below a prefix, page by page; after a fault it goes on behind the last one."""

    def __init__(self, store: Any, below: str) -> None:
        self._store, self._below, self._last = store, below, ""
        self._pages: AsyncIterator[Sequence[Any]] | None = None

    async def page(self) -> Sequence[Any]:
        """The next page; empty at the end."""
        import obstore

        pages = self._pages or obstore.list(
            self._store, self._below or None, offset=self._last or None, chunk_size=_PAGE
        )
        self._pages = None
        try:
            page: Sequence[Any] = await anext(pages)
        except StopAsyncIteration:
            return ()
        self._pages, self._last = pages, page[-1]["path"]
        return page


def connect(
    url: str, options: Options | None = None, clock: Clock | None = None, *, allow_remote: bool = True
) -> ObjectStorage:
    """The storage of a URL; asks nobody yet.

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
        options: settings; the defaults where None.
        clock: time.
        allow_remote: False when only a store on this machine may be contacted.

    Raises:
        RefusedError: the store is not on this machine, and `allow_remote` is off.
        ConfigError: the URL names no bucket, or a setting has no meaning for this kind of store.
        StorageError: there are no keys.
    """
    options, clock = options or Options(), clock or SystemClock()
    upload = Limit(None if options.upload_limit is None else number_of(options.upload_limit))
    return ObjectStorage(opened(url, options, clock, upload, allow_remote=allow_remote), options, clock, upload)
