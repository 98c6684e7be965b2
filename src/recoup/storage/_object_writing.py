"""Writing an object in parts, with bounded memory: a few parts are on their way while the next one fills.

An object that fits into one part is stored by one request. Nothing shows before the end.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from recoup.errors import DamagedError, StorageError
from recoup.storage._background import Background
from recoup.storage._object_faults import LostUploadError, Place, of_obstore
from recoup.storage._retrying import Retrying
from recoup.storage._s3 import S3Client
from recoup.storage._throttled import Limit

_MOST_PARTS = 10_000
"""Parts of one object (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""

_GROWS_AFTER = 1_000
"""Parts of one size: then they are larger by the first size, so that an object of 10,000 parts has up to 430 GiB with
first parts of 8 MiB."""

_ZEROS = bytes(1 << 20)
_ABORT_WAIT = 1.5  # seconds for taking an upload back; what is not taken back then, `tidy` finds


def part_size(first: int, number: int) -> int:
    """Bytes of a part.

    Args:
        first: bytes of the first ones.
        number: from 0.
    """
    return first * (1 + number // _GROWS_AFTER)


class Parts(Protocol):
    """An object that arrives part by part."""

    async def send(self, part: bytearray, digest: bytes) -> None:
        """Takes a part, and waits while too many are on their way."""
        ...

    async def finish(self) -> None:
        """Makes the object of them."""
        ...

    async def abort(self) -> None:
        """Takes them back."""
        ...


class S3Parts:
    """Parts of an S3 upload.

    Args:
        client: sends them.
        retrying: makes requests again.
        name: the object's name.
        locked: whether nobody may remove the object for a while.
        budget: bytes on their way at once.
    """

    def __init__(self, client: S3Client, retrying: Retrying, name: str, *, locked: bool, budget: int) -> None:
        self._client, self._retrying, self._name, self._locked, self._budget = client, retrying, name, locked, budget
        self._token = secrets.token_hex(16)
        self._upload = ""
        self._size = self._begun = 0
        self._done: dict[int, tuple[str, bytes]] = {}
        self._under_way: dict[asyncio.Task[None], int] = {}

    async def send(self, part: bytearray, digest: bytes) -> None:
        """Takes a part, and waits while too many are on their way."""
        if not self._upload:
            self._upload = await self._retrying(lambda _: self._begin())
        number = self._begun = self._begun + 1
        if number > _MOST_PARTS:
            raise StorageError(
                f"an object has more than {_MOST_PARTS} parts, which no store takes", "Choose a larger `part_size:`."
            )
        while self._under_way and sum(self._under_way.values()) + len(part) > self._budget:
            await self._one_arrives()
        self._size += len(part)
        self._under_way[asyncio.create_task(self._send(number, part, digest))] = len(part)

    def _begin(self) -> Awaitable[str]:
        return self._client.begin(self._name, locked=self._locked, token=self._token)

    async def _send(self, number: int, part: bytearray, digest: bytes) -> None:
        async def once(_attempt: int) -> str:
            try:
                return await self._client.part(self._name, self._upload, number, memoryview(part), digest)
            except LostUploadError:
                raise self._lost() from None

        self._done[number] = await self._retrying(once), digest

    async def _one_arrives(self) -> None:
        arrived, _ = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        for task in arrived:
            del self._under_way[task]
        for task in arrived:
            task.result()

    async def finish(self) -> None:
        """Makes the object, and looks whether it has the size of what was sent."""
        while self._under_way:
            await self._one_arrives()
        await self._retrying(self._complete)
        headers = await self._retrying(lambda _: self._client.head(self._name))
        arrived = headers.get("content-length", "")
        if arrived != str(self._size):
            raise DamagedError(
                f"{self._client.place.where} stored {arrived or 'no'} bytes of {self._size} of {self._name}",
                "The store is not reliable; the object is not to be used.",
            )

    async def _complete(self, attempt: int) -> None:
        """When an answer was lost, the upload is unknown afterwards, and the object bears our token."""
        try:
            await self._client.complete(self._name, self._upload, self._done)
        except LostUploadError:
            headers = await self._client.head(self._name) if attempt > 1 else {}
            if headers.get("x-amz-meta-recoup-upload") != self._token:
                raise self._lost() from None

    def _lost(self) -> StorageError:
        return StorageError(
            f"{self._client.place.where} has lost an upload that was not finished yet ({self._name})",
            "Something removes unfinished uploads there: a lifecycle rule with too short a time?",
        )

    async def abort(self) -> None:
        """Ends what is on its way, then takes the upload back."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()
        if self._upload:
            await self._client.abort(self._name, self._upload)


class StreamedParts:
    """Parts that obstore sends as it likes; its own retries are set like ours (`_object_stores`).

    Args:
        store: of obstore.
        place: for messages.
        name: the object's name.
        tags: of the object.
        limit: bandwidth.
        first: bytes of a part.
        transfers: parts on their way at once.
    """

    def __init__(
        self, store: Any, place: Place, name: str, tags: dict[str, str], limit: Limit, first: int, transfers: int
    ) -> None:
        self._store, self._place, self._name, self._tags = store, place, name, tags
        self._limit, self._first, self._transfers = limit, first, transfers
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._task: asyncio.Task[None] | None = None

    async def send(self, part: bytearray, digest: bytes) -> None:  # noqa: ARG002 - obstore has no door for it
        """Takes a part, and waits while too many are on their way."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        await self._hand_over(bytes(part))

    async def _hand_over(self, part: bytes | None) -> None:
        """Gives a part to the task, unless it ends before it takes it."""
        assert self._task is not None  # noqa: S101 - for the type checker
        handing = asyncio.create_task(self._waiting.put(part))
        await asyncio.wait((handing, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not handing.done():
            handing.cancel()
        if self._task.done():
            self._task.result()

    async def _run(self) -> None:
        import obstore

        try:
            await obstore.put_async(
                self._store,
                self._name,
                self._blocks(),
                tags=self._tags or None,
                use_multipart=True,
                chunk_size=self._first,
                max_concurrency=self._transfers,
            )
        except (OSError, ValueError, obstore.exceptions.BaseError) as error:
            raise of_obstore(error, self._place, "write", self._name) from None

    async def _blocks(self) -> AsyncIterator[bytes]:
        while (part := await self._waiting.get()) is not None:
            await self._limit.take(len(part))
            yield part

    async def finish(self) -> None:
        """Makes the object."""
        await self._hand_over(None)
        if self._task is not None:
            await self._task

    async def abort(self) -> None:
        """Ends the upload."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class ObjectWriter:
    """An object being written.

    Args:
        background: where requests run.
        parts: where parts go.
        put: stores an object that is one part.
        check: reads the object back and compares its SHA-256; None does not look.
        first: bytes of the first parts.
    """

    def __init__(
        self,
        background: Background,
        parts: Parts,
        put: Callable[[bytes | bytearray], None],
        check: Callable[[bytes], None] | None,
        first: int,
    ) -> None:
        self._background, self._parts, self._put, self._check, self._first = background, parts, put, check, first
        self._part, self._sent, self._ended = bytearray(), 0, False
        self._whole = hashlib.sha256() if check else None

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends."""
        view = memoryview(data)
        if self._whole:
            self._whole.update(view)
        while view:
            space = part_size(self._first, self._sent) - len(self._part)
            self._part += view[:space]
            view = view[space:]
            if len(self._part) == part_size(self._first, self._sent) and view:
                self._send()

    def _send(self) -> None:
        part, self._part = self._part, bytearray()
        digest = hashlib.sha256(part).digest()
        self._background.run(self._parts.send(part, digest))
        self._sent += 1

    def hole(self, length: int, /) -> None:
        """Appends zero bytes."""
        while length:
            count = min(length, len(_ZEROS))
            self.write(memoryview(_ZEROS)[:count])
            length -= count

    def commit(self) -> None:
        """Makes the object appear, whole."""
        if self._sent:
            self._send()
            self._background.run(self._parts.finish())
        else:
            self._put(self._part)
        self._ended = True
        self._part = bytearray()
        if self._check and self._whole:
            self._check(self._whole.digest())

    def abort(self) -> None:
        """Leaves nothing behind; what could not be taken back in a moment, `tidy` removes later."""
        if self._ended:
            return
        self._ended, self._part = True, bytearray()
        if self._sent and self._background.runs:
            try:
                self._background.run(self._parts.abort(), _ABORT_WAIT)
            except (StorageError, LostUploadError, TimeoutError):
                return
