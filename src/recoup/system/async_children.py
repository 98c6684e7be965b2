"""Functions of ours in processes of their own, awaited: the event loop is never blocked by what they do.

The other end is `recoup.system.child`. A child that is no longer wanted is asked to end (SIGTERM), so that it can take back
what it has begun, and is killed when that takes too long.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Self

from recoup.system.subprocesses import OWN_MODULES, ChildFailedError

PATIENCE = 5.0
"""Seconds that a child gets to take back what it has begun."""

_PYTHON = (sys.executable, *OWN_MODULES)

_LIMIT = 64 * 1024 * 1024  # bytes of one message

Message = dict[str, Any]
"""One line of a child: `answer`, `error`, or what its function tells on the way."""

Serving = Callable[[], Generator[Any, Any, None]]
"""A module-level generator function: yields None when it is ready, and then an answer to each question; to None, None."""


class AsyncChild:
    """A function of ours in a process of its own, that answers questions until it is ended. Made by `start`.

    Its function has to end itself on SIGTERM, and when its stdin is closed, which tells that the application is gone.
    """

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process, self._name = process, name
        self._said = asyncio.create_task(_last_line(process.stderr))

    @classmethod
    async def start(cls, function: Serving) -> Self:
        """Starts a function and waits until it is ready.

        Raises:
            ChildFailedError: it died.
        """
        process = await asyncio.create_subprocess_exec(
            *_PYTHON,
            "-m",
            "recoup.system.child",
            f"{function.__module__}:{function.__qualname__}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LIMIT,
            start_new_session=True,  # Ctrl-C reaches the application alone, which decides
        )
        child = cls(process, function.__qualname__)
        try:
            await child._send([])
            await child._message()
        except BaseException:
            await child.end()
            raise
        return child

    async def answers(self) -> bool:
        """Whether it is there: puts the question None, which every function answers at once."""
        try:
            async for _ in self.ask(None):
                pass
        except ChildFailedError:
            return False
        return True

    async def ask(self, question: object) -> AsyncGenerator[Message, None]:
        """Puts a question; gives what is told on the way, and its answer, or an error, as the last message.

        Args:
            question: JSON types; it goes over a pipe, never in argv.

        Raises:
            ChildFailedError: the child died.
        """
        await self._send(question)
        while True:
            message = await self._message()
            yield message
            if "answer" in message or "error" in message:
                return

    async def _send(self, message: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()

    async def _message(self) -> Message:
        line = b"" if self._process.stdout is None else await self._process.stdout.readline()
        if not line:
            code = await self._process.wait()
            raise ChildFailedError(f"{self._name} ended without an answer (exit {code}): {await self._said}", code=code)
        message: Message = json.loads(line)
        return message

    async def end(self) -> None:
        """Returns when the child is gone, also when whoever waits for that is cancelled meanwhile."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        except TimeoutError:
            await self._killed()
        except asyncio.CancelledError:
            await self._killed()
            raise
        finally:
            self._said.cancel()  # a program that the child has left behind may hold its end of the pipe

    async def _killed(self) -> None:
        """Also ends the programs that it had started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


async def _last_line(stream: asyncio.StreamReader | None) -> str:
    """Reads to the end, so that nobody waits for a full pipe, and keeps what an error ends with."""
    kept = b""
    while stream is not None and (data := await stream.read(64 * 1024)):
        kept = (kept + data)[-4096:]
    return (kept.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
