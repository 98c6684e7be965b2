"""Connections end with the storage that has them, wherever its last reference goes."""

import gc
from collections.abc import Callable

from recoup.storage.object_store import ObjectStorage


def test_connections_end_when_a_storage_goes_in_the_loops_own_thread(connecting: Callable[..., ObjectStorage]) -> None:
    storage = connecting()
    storage.put("a", b"x")
    client, loop, held = storage._s3, storage._loop, [storage]
    assert client is not None
    assert client._client is not None
    del storage

    async def let_go() -> None:
        held.clear()
        gc.collect()

    async def next_turn() -> None:
        """Comes after what was begun before."""

    loop.run(let_go())
    loop.run(next_turn())
    assert client._client is None


def test_connections_end_with_the_last_reference(connecting: Callable[..., ObjectStorage]) -> None:
    storage = connecting()
    storage.put("a", b"x")
    client = storage._s3
    assert client is not None
    del storage
    gc.collect()
    assert client._client is None
