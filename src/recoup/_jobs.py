"""What a stack does for another machine, and how it has other machines work for it (`execution:` in the settings)."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from recoup._found import StackWithSets
from recoup.errors import RefusedError
from recoup.model.events import Emit, ignore
from recoup.system.host import is_this_machine

if TYPE_CHECKING:
    from recoup.operations._backup_plan import Batch, Send
    from recoup.system.executing import Order, Workers

_RUN = "recoup.jobs:run"


class StackWithJobs(StackWithSets):
    """A stack that can share work with others."""

    # --- as the one that gives orders ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _sending(self, repository: str) -> "Iterator[Send | None]":
        """What gives workers orders concerning a repository; None where this machine does everything.

        Raises:
            WorkersError: they cannot be reached, or one has another version of Recoup.
            RefusedError: the scheduler is another host, and `allow_remote` is off.
        """
        if self.settings.execution.dask is None:
            yield None
            return
        with self._workers(self.settings.execution.dask) as found:
            about = {"stack": self.settings.stack, "repository": repository, "location": self._at(repository).location}

            def send(job: str, orders: "Sequence[Order]") -> "Batch":
                return found.begin([{**about, "job": job, "arguments": dict(order)} for order in orders])

            yield send

    @contextlib.contextmanager
    def _workers(self, address: str) -> "Iterator[Workers]":
        from importlib.metadata import version

        from recoup.system.executing import workers

        host = urlsplit(address).hostname or ""
        if not self.settings.allow_remote and not is_this_machine(host):
            raise RefusedError(
                f"execution.dask names {host}, which is not this machine, and allow_remote is off",
                "Set allow_remote: true, or take execution.dask away.",
            )
        with workers(address, _RUN, version("recoup")) as found:
            yield found

    # --- as the one that is ordered -----------------------------------------------------------------------------------

    def do(self, order: Mapping[str, Any]) -> Any:
        """Does a job of another machine, by this machine's own configuration.

        Args:
            order: `job`, `stack`, `repository`, `location`, `arguments`: JSON values.

        Returns:
            JSON values.

        Raises:
            RefusedError: this machine is configured in another way, or does not know the job.
        """
        jobs: Mapping[str, Callable[..., Any]] = {"capture": self._take_piece}
        self._require_alike(order)
        if order["job"] not in jobs:
            raise RefusedError(f"there is no job {order['job']!r}")
        return jobs[order["job"]](order["repository"], **order["arguments"])

    def _require_alike(self, order: Mapping[str, Any]) -> None:
        if order["stack"] != self.settings.stack:
            raise self._unlike(f"the stack {self.settings.stack!r}", f"{order['stack']!r} is asked for")
        found = self._at(order["repository"]).location
        if found != order["location"]:
            raise self._unlike(f"the repository {order['repository']} at {found}", f"{order['location']} is asked for")

    def _unlike(self, here: str, there: str) -> RefusedError:
        return RefusedError(
            f"the worker on {self._host.name} is configured in another way: it has {here}, {there}",
            "Give the workers the same configuration (RECOUP_CONFIG in their environment).",
        )

    def _take_piece(
        self,
        repository: str,
        source: str,
        settings: Mapping[str, Any],
        piece: Mapping[str, Any],
        ticket: Mapping[str, str],
    ) -> dict[str, Any]:
        from recoup.operations._dividing import take
        from recoup.repository._base import Ticket
        from recoup.sources._base import Divisible

        self._chosen_sources([source])
        with self._staging("piece", []) as staging:
            live = self._source(source, staging, self._quiet, compresses=self._compresses(repository))
            if self.masker.value(live.settings()) != settings:
                raise self._unlike(f"other settings of source {source}", "which would take something else")
            if not isinstance(live, Divisible):
                raise RefusedError(f"source {source} of kind {live.options.kind} has no pieces")
            writer = self._at(repository).join(Ticket(**ticket))
            return {**take(piece, source, live, writer, self._clock), "worker": f"{self._host.name}:{os.getpid()}"}

    def _compresses(self, repository: str) -> bool:
        return self._settings_of(repository).compression != "none"

    @property
    def _quiet(self) -> Emit:
        """News of a job: whoever ordered it tells what became of it."""
        return ignore
