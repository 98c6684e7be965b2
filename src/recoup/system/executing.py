"""Jobs for the workers of a Dask cluster: sent by name with JSON, done again elsewhere when a worker dies.

Nothing but names, numbers and what a job answers passes between the machines: a worker has its own configuration, and takes its
secrets from its own environment. https://distributed.dask.org/en/stable/resilience.html tells what Dask does when one dies.
"""

import concurrent.futures
import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from recoup import errors
from recoup.errors import ConfigError, RecoupError, WorkersError
from recoup.model.structs import Struct
from recoup.system.clock import SystemClock
from recoup.system.plugs import function_named

_PATIENCE = 15.0  # seconds for the scheduler, and for the first worker, to answer
_LOOK = 0.5  # seconds between two looks at whether somebody wants to stop
_COUNT = 5.0  # seconds between two looks at whether there are workers
_ALONE = 60.0  # seconds without any worker after which nobody is waited for: Dask itself would wait for ever
_MONOTONIC = SystemClock().monotonic

Order = Mapping[str, Any]
"""What a job needs to know: JSON values, no secrets."""


class Outcome(Struct):
    """How a job ended.

    Attributes:
        job: its number, as it was ordered.
        answer: JSON values; None after an error.
        error: why it failed.
    """

    job: int
    answer: Any
    error: RecoupError | None = None


class Batch:
    """Jobs on their way. Iterate for the outcomes, as they come; leaving early cancels the others.

    Args:
        executor: sends them.
        target: `module:function` of Recoup that does one.
        orders: what each needs to know.
        present: whether there is any worker at this moment.
    """

    def __init__(
        self, executor: Executor, target: str, orders: Sequence[Order], present: Callable[[], bool] = lambda: True
    ) -> None:
        self._present = present
        self._jobs = {executor.submit(_act, target, dict(order)): number for number, order in enumerate(orders)}

    def __iter__(self) -> Iterator[Outcome]:
        left = set(self._jobs)
        looked = seen = _MONOTONIC()
        try:
            while left:
                done, left = concurrent.futures.wait(left, _LOOK, concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    yield _outcome(self._jobs[future], future)
                if _MONOTONIC() - looked >= _COUNT:
                    looked = _MONOTONIC()
                    seen = looked if self._present() else seen
                if looked - seen >= _ALONE:
                    yield from (_given_up(self._jobs[future]) for future in left)
                    return
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Takes back what has not begun; what has begun learns by itself that nobody wants it any more."""
        for future in self._jobs:
            future.cancel()


class Workers:
    """Workers that were found fit.

    Args:
        executor: sends them jobs.
        target: `module:function` of Recoup that does one; takes an order, answers JSON values.
        names: of the workers, by address.
        present: whether there is any worker at this moment.
    """

    def __init__(
        self, executor: Executor, target: str, names: Sequence[str], present: Callable[[], bool] = lambda: True
    ) -> None:
        self._executor, self._target, self.names, self._present = executor, target, tuple(names), present

    def begin(self, orders: Sequence[Order]) -> Batch:
        """Sends jobs, each for whichever worker is free."""
        return Batch(self._executor, self._target, orders, self._present)


@contextlib.contextmanager
def workers(address: str, target: str, version: str) -> Iterator[Workers]:
    """The workers of a Dask cluster.

    Args:
        address: of its scheduler.
        target: `module:function` of Recoup that does a job.
        version: of this Recoup, which all of them have to have.

    Raises:
        ConfigError: the library is not installed here.
        WorkersError: nobody answers there, or a worker does not fit.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            "execution.dask is set, and Dask is not installed here", "Install it: pip install 'recoup[dask]'."
        ) from None
    with contextlib.ExitStack() as stack:
        try:
            with warnings.catch_warnings(action="ignore"):  # versions of other libraries differ from machine to machine
                client: Any = stack.enter_context(
                    Client(
                        address,  # type: ignore[no-untyped-call]
                        timeout=_PATIENCE,
                        set_as_default=False,
                    )
                )
                client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise _unreachable(address, error) from None
        names = _fit(client.run(_version, on_error="return"), version)
        if not names:
            raise _unreachable(address, ConnectionError("the only ones that it knows do not answer"))
        yield Workers(client.get_executor(pure=False), target, names, lambda: _is_any(client))


def _is_any(client: Any) -> bool:
    try:
        return bool(client.nthreads())
    except (OSError, TimeoutError, RuntimeError, ValueError):  # the scheduler is gone, too
        return False


def _given_up(job: int) -> Outcome:
    sentence = f"there has been no worker for {_ALONE:.0f} s"
    return Outcome(job, None, WorkersError(sentence, "Start workers, or take execution.dask away."))


def _unreachable(address: str, error: Exception) -> WorkersError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return WorkersError(
        f"no Dask worker can be reached by {address}: {reason}",
        "Check execution.dask, that the scheduler runs and has workers, and the network; or take the setting away.",
    )


def _version() -> str:
    from importlib.metadata import version

    return version("recoup")


def _fit(told: Mapping[str, Any], version: str) -> list[str]:
    """Addresses of those that do jobs. One that does not answer is gone, and its scheduler has not noticed yet."""
    names = {address: found for address, found in told.items() if not isinstance(found, OSError)}
    for address, found in names.items():
        if isinstance(found, Exception):
            raise WorkersError(
                f"worker {address} has no Recoup that could be asked: {found}",
                f"Install recoup[dask] {version} in the environment of the workers.",
            )
        if found != version:
            raise WorkersError(
                f"worker {address} has Recoup {found}, this machine has {version}",
                "Install the same version everywhere; nothing was done.",
            )
    return list(names)


def _act(target: str, order: Order) -> dict[str, Any]:
    """A worker's side."""
    try:
        return {"answer": function_named(target)(order)}
    except RecoupError as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "error": error.message, "hint": error.hint}


def _outcome(number: int, future: "Future[dict[str, Any]]") -> Outcome:
    try:
        told = future.result()
    except (concurrent.futures.CancelledError, Exception) as error:  # noqa: BLE001 - whatever a worker, or Dask itself, raised
        sentence = f"{type(error).__name__}: {error}".partition("\n")[0]
        return Outcome(number, None, WorkersError(f"the workers gave up: {sentence}", "Their logs say more."))
    if "error" not in told:
        return Outcome(number, told["answer"])
    found = (getattr(errors, name, None) for name in told["kinds"])
    kind = next((one for one in found if isinstance(one, type) and issubclass(one, RecoupError)), WorkersError)
    return Outcome(number, None, kind(told["error"], told["hint"]))
