"""Functions of ours in processes of their own, awaited: the event loop is never blocked by what they do.

The other end is `recoup.system.child`. A child that is no longer wanted is asked to end (SIGTERM), so that it can take back
what it has begun, and is killed when that takes too long; leaving `async_child` means that it is gone.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from recoup.system.subprocesses import ChildFailedError

PATIENCE = 5.0
"""Seconds that a child gets to take back what it has begun."""

_LIMIT = 64 * 1024 * 1024  # bytes of one message

Message = dict[str, Any]
"""One line of a child: `answer`, `error`, or what its function tells on the way."""


@contextlib.asynccontextmanager
async def async_child(function: Callable[..., Any], *arguments: object) -> AsyncIterator[AsyncGenerator[Message, None]]:
    """Runs a module-level function in a child; gives the messages that it tells, its answer as the last one.

    Args:
        function: called with `arguments`; what it returns is the answer. It ends itself on SIGTERM and when its stdin ends.
        arguments: JSON values; they go over a pipe, never in argv.

    Raises:
        ChildFailedError: the child died.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "recoup.system.child",
        f"{function.__module__}:{function.__qualname__}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LIMIT,
        start_new_session=True,  # Ctrl-C reaches the application alone, which decides
    )
    said = asyncio.create_task(_last_line(process.stderr))
    try:
        await _send(process, list(arguments))
        yield _messages(process, said, function.__qualname__)
    finally:
        await _end(process)
        said.cancel()  # a program that the child has left behind may hold its end of the pipe


async def _send(process: asyncio.subprocess.Process, message: object) -> None:
    """The pipe stays open: its end tells the child that the application is gone."""
    if process.stdin is not None:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()


async def _messages(
    process: asyncio.subprocess.Process, said: "asyncio.Task[str]", name: str
) -> AsyncGenerator[Message, None]:
    while process.stdout is not None and (line := await process.stdout.readline()):
        message: Message = json.loads(line)
        yield message
        if "answer" in message or "error" in message:
            return
    code = await process.wait()
    raise ChildFailedError(f"{name} ended without an answer (exit {code}): {await said}", code=code)


async def _last_line(stream: asyncio.StreamReader | None) -> str:
    """Reads to the end, so that nobody waits for a full pipe, and keeps what an error ends with."""
    kept = b""
    while stream is not None and (data := await stream.read(64 * 1024)):
        kept = (kept + data)[-4096:]
    return (kept.decode(errors="replace").strip().splitlines() or ["no message"])[-1]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Returns when the child is gone, also when whoever waits for that is cancelled meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()  # one that has answered is ending anyway
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        await _killed(process)
    except asyncio.CancelledError:
        await _killed(process)
        raise


async def _killed(process: asyncio.subprocess.Process) -> None:
    """Also ends the programs that it had started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
