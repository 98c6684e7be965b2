"""The door for applications with an event loop: `recoup.aopen`. Every verb runs in a process of its own."""

from recoup.asynchronous.stack import AsyncEmit, AsyncStack

__all__ = ["AsyncEmit", "AsyncStack"]
