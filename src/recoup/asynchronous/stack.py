"""A stack for applications with an event loop."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from recoup.asynchronous import _serving
from recoup.asynchronous._idle import Idle
from recoup.asynchronous._wire import error_in, news_in, warm
from recoup.errors import InterruptedRunError, RecoupError
from recoup.model.events import News
from recoup.model.wire import decoded
from recoup.system.async_children import AsyncChild, Message

if TYPE_CHECKING:
    from recoup.asynchronous._verbs import About, Verb
    from recoup.model.reports import (
        BackupReport,
        CopyReport,
        DrillReport,
        ExportReport,
        PruneReport,
        PutRight,
        RecoveryReport,
        RepairReport,
        RestoreReport,
        SetInfo,
        StatusReport,
        VerifyReport,
    )
    from recoup.operations.backup import Plan as BackupPlan
    from recoup.operations.diff import DiffReport
    from recoup.operations.doctor import Report as DoctorReport
    from recoup.operations.restore import Row as RestoreRow
    from recoup.operations.stats import RepositoryStats

AsyncEmit = Callable[[News], Awaitable[None] | None]
"""Is told of every event and of progress: a coroutine function, or a plain one that does not block."""

Tags = Mapping[str, str]
Options = Mapping[str, Mapping[str, Any]]


class AsyncStack:
    """The verbs of `recoup.Stack`, awaited. Made by `recoup.aopen`; used by `async with`.

    Every call has a process of its own while it runs, so the event loop is never blocked, and calls may run side by side;
    locks of the repository keep them apart where they have to be. Cancelling a call ends its process within seconds: it is
    asked to take back what it has begun, then it is killed. Nothing half done counts as a set in either case.

    What is returned and raised is what `recoup.Stack` returns and raises.

    Args:
        opening: arguments of `recoup.app.open_stack`, JSON types.
        emit: is told of news, one after another; while it is awaited, the work may have to wait.
    """

    def __init__(self, opening: Mapping[str, Any], emit: AsyncEmit | None = None) -> None:
        self._opening, self._emit = opening, emit
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._children = Idle()
        self._found: About | None = None

    async def __aenter__(self) -> Self:
        """Checks the configuration.

        Raises:
            ConfigError: it is missing or wrong.
        """
        await asyncio.to_thread(_prepare)
        try:
            self._found = await self._call("about")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the calls that are still running."""
        self._closed = True
        for work in self._running:
            work.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._children.close()

    @property
    def about(self) -> "About":
        """Names of the stack, its sources and repositories, and what a person should know of the configuration.

        Raises:
            RecoupError: the stack was not opened with `async with`.
        """
        if self._found is None:
            raise RecoupError("the stack is not open", "async with recoup.aopen(...) as stack: ...")
        return self._found

    # --- the verbs ---------------------------------------------------------------------------------------------------

    async def present(self, source: str) -> bool:
        """Whether a configured source is there."""
        return bool(await self._call("present", source=source))

    async def create_repositories(self) -> dict[str, str]:
        """Creates the configured repositories that are not there yet; name to location of those created."""
        created: dict[str, str] = await self._call("create_repositories")
        return created

    async def plan_backup(
        self,
        sources: Sequence[str] | None = None,
        tags: Tags | None = None,
        note: str = "",
        *,
        to: Sequence[str] | None = None,
    ) -> "BackupPlan":
        """What a backup would do; changes nothing."""
        plan: BackupPlan = await self._call(
            "plan_backup", sources=_list(sources), tags=_dict(tags), note=note, to=_list(to)
        )
        return plan

    async def backup(
        self,
        *,
        sources: Sequence[str] | None = None,
        tags: Tags | None = None,
        note: str = "",
        to: Sequence[str] | None = None,
        prune: bool | None = None,
        wait_lock: float = 0.0,
    ) -> "BackupReport":
        """Takes one cut of the stack and stores it; see `recoup.Stack.backup`."""
        report: BackupReport = await self._call(
            "backup",
            sources=_list(sources),
            tags=_dict(tags),
            note=note,
            to=_list(to),
            prune=prune,
            wait_lock=wait_lock,
        )
        return report

    async def copy(
        self, *, to: str, sets: Sequence[str] = (), origin: str | None = None, wait_lock: float = 0.0
    ) -> "CopyReport":
        """Copies sets into another repository, checked on the way; see `recoup.Stack.copy`."""
        report: CopyReport = await self._call("copy", to=to, sets=list(sets), origin=origin, wait_lock=wait_lock)
        return report

    async def export(self, *, set: str = "latest", to: str, wait_lock: float = 0.0) -> "ExportReport":  # noqa: A002 - as above
        """Writes a set as a plain repository, in a folder or a tar; see `recoup.Stack.export`."""
        report: ExportReport = await self._call("export", set=set, to=to, wait_lock=wait_lock)
        return report

    async def repair(
        self, *, helper: str = "", sets: Sequence[str] = (), wait_lock: float = 0.0
    ) -> "list[RepairReport]":
        """Replaces damaged and missing files by those of another repository; see `recoup.Stack.repair`."""
        reports: list[RepairReport] = await self._call("repair", helper=helper, sets=list(sets), wait_lock=wait_lock)
        return reports

    async def sets(
        self,
        tags: Tags | None = None,
        sources: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
    ) -> "list[SetInfo]":
        """The sets, oldest first."""
        found: list[SetInfo] = await self._call(
            "sets", tags=_dict(tags), sources=list(sources), since=since, until=until
        )
        return found

    async def show(self, text: str = "latest") -> "SetInfo":
        """One set."""
        info: SetInfo = await self._call("show", text=text)
        return info

    async def diff(self, before: str, after: str = "latest", *, wait_lock: float = 0.0) -> "DiffReport":
        """What changed from one set to another; see `recoup.Stack.diff`."""
        report: DiffReport = await self._call("diff", before=before, after=after, wait_lock=wait_lock)
        return report

    async def stats(self, *, wait_lock: float = 0.0) -> "list[RepositoryStats]":
        """What the sets of each repository hold, and what they take."""
        found: list[RepositoryStats] = await self._call("stats", wait_lock=wait_lock)
        return found

    async def status(self) -> "StatusReport":
        """How old the newest good copy of each source is."""
        report: StatusReport = await self._call("status")
        return report

    async def doctor(self) -> "DoctorReport":
        """What would stop a backup, and how to mend it."""
        report: DoctorReport = await self._call("doctor")
        return report

    async def verify(self, text: str | None = None, *, wait_lock: float = 0.0) -> "list[VerifyReport]":
        """Compares stored bytes with the manifests."""
        reports: list[VerifyReport] = await self._call("verify", text=text, wait_lock=wait_lock)
        return reports

    async def drill(
        self,
        *,
        set: str = "latest-complete",  # noqa: A002 - the noun of the field
        sources: Sequence[str] | None = None,
        wait_lock: float = 0.0,
        options: Options | None = None,
    ) -> "DrillReport":
        """Restores a set into scratch twins and compares facts with facts."""
        report: DrillReport = await self._call(
            "drill", set=set, sources=_list(sources), wait_lock=wait_lock, options=_options(options)
        )
        return report

    async def drill_recovery(self, *, wait_lock: float = 0.0, options: Options | None = None) -> "RecoveryReport":
        """Restores everything into scratch as an empty machine would, and measures."""
        report: RecoveryReport = await self._call("drill_recovery", wait_lock=wait_lock, options=_options(options))
        return report

    async def plan_restore(
        self, text: str = "latest", sources: Sequence[str] | None = None, **arguments: Any
    ) -> "list[RestoreRow]":
        """What a restore would do, a row for each source; `arguments` are those of `restore`. Changes nothing."""
        rows: list[RestoreRow] = await self._call("plan_restore", text=text, sources=_list(sources), **arguments)
        return rows

    async def restore(
        self,
        text: str = "latest",
        sources: Sequence[str] | None = None,
        *,
        target: str | None = None,
        targets: Mapping[str, str] | None = None,
        in_place: bool = False,
        overwrite: Literal["never", "if-changed", "always"] | None = None,
        delete: bool = False,
        options: Options | None = None,
        paths: Sequence[str] = (),
        wait_lock: float = 0.0,
    ) -> "RestoreReport":
        """Restores; see `recoup.Stack.plan_restore` for what the arguments mean."""
        report: RestoreReport = await self._call(
            "restore",
            text=text,
            sources=_list(sources),
            target=target,
            targets=_dict(targets),
            in_place=in_place,
            overwrite=overwrite,
            delete=delete,
            options=_options(options),
            paths=list(paths),
            wait_lock=wait_lock,
        )
        return report

    async def prune(self, *, wait_lock: float = 0.0) -> "PruneReport":
        """Removes the sets that no rule keeps."""
        report: PruneReport = await self._call("prune", wait_lock=wait_lock)
        return report

    async def pin(self, text: str, reason: str = "", until: datetime | None = None) -> str:
        """Protects a set from retention; its name."""
        moment = None if until is None else until.isoformat()
        return str(await self._call("pin", text=text, reason=reason, until=moment))

    async def unpin(self, text: str) -> str:
        """Ends a set's protection; its name."""
        return str(await self._call("unpin", text=text))

    async def note(self, text: str, note: str) -> str:
        """Adds a note to a set; its name."""
        return str(await self._call("note", text=text, note=note))

    async def accept(self, text: str) -> str:
        """Lets a suspicious set count as good; its name."""
        return str(await self._call("accept", text=text))

    async def recover(self) -> "list[PutRight]":
        """Puts right what killed runs left at the sources; one entry for each where something was left."""
        found: list[PutRight] = await self._call("recover")
        return found

    # --- how they are done -------------------------------------------------------------------------------------------

    async def _call(self, name: str, **arguments: Any) -> Any:
        if self._closed:
            raise RecoupError("the stack is closed", "Call it inside `async with recoup.aopen(...)`.")
        work = asyncio.create_task(self._work(name, arguments))
        self._running.add(work)
        try:
            return await work  # to cancel this is to cancel the work, and to wait until its child is gone
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            raise InterruptedRunError("the stack was closed while this ran", "Nothing half done counts.") from None
        finally:
            self._running.discard(work)

    async def _work(self, name: str, arguments: Mapping[str, Any]) -> Any:
        from recoup.asynchronous._verbs import VERBS

        child = await self._children.take() or await AsyncChild.start(_serving.serve)
        try:
            messages = child.ask({"opening": self._opening, "verb": name, "arguments": arguments})
            async with contextlib.aclosing(messages):
                answer = await self._answer(VERBS[name], messages)
        except BaseException:
            await child.end()
            raise
        await self._children.keep(child)
        return answer

    async def _answer(self, verb: "Verb", messages: AsyncGenerator[Message, None]) -> Any:
        elements: list[Any] = []
        async for message in messages:
            if "error" in message:
                raise error_in(message)
            if "element" in message:
                elements.append(decoded(verb.kind, message["element"]))
            elif (news := news_in(message)) is not None:
                await self._told(news)
            elif verb.several:
                return elements
            else:
                return decoded(verb.kind, message["answer"])
        raise RecoupError("the child ended without an answer")

    async def _told(self, news: News) -> None:
        if self._emit is not None:
            waited_for = self._emit(news)
            if inspect.isawaitable(waited_for):
                await waited_for


def _prepare() -> None:
    """Imports what answers need, in a thread: once, so that no call does it in the event loop."""
    from recoup.asynchronous._verbs import VERBS

    warm(*(verb.kind for verb in VERBS.values()))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _dict(values: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if values is None else dict(values)


def _options(values: Options | None) -> dict[str, dict[str, Any]] | None:
    return None if values is None else {name: dict(options) for name, options in values.items()}
