"""The watchdog: a child that stops a service and brings it up again, whatever becomes of us.

It runs the commands, one at a time, and answers at once how far it is, so that Ctrl-C never waits for a slow command. When our
process dies, its pipe closes, and the child brings the service up. It does so too when the service stands still for too long.
What it is about to do stands in a journal before; where it is killed as well, the next run finds that (`_service_pause`).
"""

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Literal

from recoup.errors import RecoupError
from recoup.model.secrets import Masker
from recoup.sources import _placing
from recoup.sources._service import Service, ServiceError
from recoup.system.atomicfile import create_private, make_private_folder
from recoup.system.clock import SystemClock
from recoup.system.journal import Journal, state_folder

Found = Literal["running", "left", "frozen"]

PURPOSE = "service"
"""Name of the journals."""

_LOG_LIMIT = 1024 * 1024  # bytes; then the log gets a new beginning, and the old one stays beside it
_SAID = 2000  # characters of a command's output that are told
_HALF_WAY = 10.0  # seconds to wait until a dead restore is seen as dead


def log_file() -> Path:
    """Where watchdogs write what they did."""
    return state_folder() / "services.log"


def watch_over(fields: dict[str, Any], limit: float, found: Found) -> Generator[dict[str, Any], Any, None]:
    """The child. Questions are steps (`[name, argument]`) or `how`; each answer is how far it is.

    Args:
        fields: the service.
        limit: seconds that it may stand still; 0: for ever.
        found: how the service is met; `left` when a run that is dead has stopped it, `frozen` when it had a copy made too.
    """
    guard = _Guard(Service.of(fields), limit, found=found)
    try:
        question = yield guard.how()
        while True:
            if question != "how":
                guard.begin(*question)
            question = yield guard.how()
    finally:
        guard.end()


class _Guard:
    """Keeps the promise that the service is up again at the end.

    Attributes:
        late: True when it was started because it stood still for too long.
    """

    def __init__(self, service: Service, limit: float, *, found: Found) -> None:
        self._service, self._limit = service, limit
        self._clock, self._mask = SystemClock(), Masker()
        self._journal = Journal.begin(PURPOSE)
        self._one_at_a_time = threading.RLock()
        self._thread: threading.Thread | None = None
        self._timer: threading.Timer | None = None
        self._down = self._resumed = found != "running"
        self._frozen = found == "frozen"
        self._tried = self._leaving = False
        self._news: list[dict[str, Any]] = []
        self._failure: dict[str, str] | None = None
        self.late = False
        if self._down:
            self._journal.add({"service": service.fields(), "frozen": self._frozen})

    def how(self) -> dict[str, Any]:
        """How far it is: whether a step is under way, why the last one failed, commands that ended since the last question."""
        busy = self._thread is not None and self._thread.is_alive()
        news, self._news = self._news, []
        return {"busy": busy, "failure": None if busy else self._failure, "late": self.late, "news": news}

    def begin(self, step: str, argument: str) -> None:
        """Begins a step; the one before has ended."""
        steps: Mapping[str, Callable[[], None]] = {
            "stop": self._stop,
            "start": self._start,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "undo": lambda: self._undo(argument),
            "look": self._look,
        }
        self._failure = None
        self._thread = threading.Thread(target=self._carry_out, args=(steps[step],), name=step, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Nobody asks any more: what is stopped is started, what is frozen is thawed. Then the journal goes."""
        self._leaving = True
        if self._thread:
            self._thread.join()
        if self._timer:
            self._timer.cancel()
        if self._down and not self._tried:
            self._log("Recoup has ended and left the service stopped: starting it")
            self._settle()
            self._carry_out(self._start)
        if self._frozen:
            self._carry_out(self._thaw)
        if not self._down and not self._frozen:
            self._journal.forget()

    def _carry_out(self, step: Callable[[], None]) -> None:
        with self._one_at_a_time:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it is, the person has to know, and the service to come up
                message = error.message if isinstance(error, RecoupError) else str(error) or type(error).__name__
                self._failure = {"message": message, "hint": error.hint if isinstance(error, RecoupError) else ""}
                self._log(f"failed: {message}")

    def _stop(self) -> None:
        self._journal.add({"service": self._service.fields()})
        self._down, self._tried = True, False  # a stop that fails may have come half way
        if self._limit and self._timer is None:
            self._timer = threading.Timer(self._limit, self._on_late)
            self._timer.daemon = True
            self._timer.start()
        self._command("stop")
        self._service.await_stop(self._clock, lambda: self._leaving)

    def _start(self) -> None:
        if not self._down:
            return
        self._tried = True
        if not (self._resumed and self._service.is_up()):
            self._command("start")
            self._service.await_start(self._clock)
        if self._timer:
            self._timer.cancel()
        self._down = False

    def _freeze(self) -> None:
        self._journal.add({"frozen": True})
        self._frozen = True
        self._command("freeze")

    def _thaw(self) -> None:
        if self._frozen:
            self._command("thaw")
            self._frozen = False

    def _undo(self, kept: str) -> None:
        self._journal.add({"undo": kept})
        _placing.put_back(Path(self._service.path), Path(kept))

    def _look(self) -> None:
        """Whether it still is stopped.

        Raises:
            ServiceError: it is not, or it cannot be told.
        """
        if not self._service.is_down():
            raise ServiceError(f"the service came back by itself while it was to stand still ({self._service.seen_by})")

    def _on_late(self) -> None:
        with self._one_at_a_time:
            if self._down:
                self.late = True
                self._log(f"the service has stood still for {self._limit:g} seconds, its limit: starting it")
                self._carry_out(self._start)
                self._tried = False  # where that failed, it is tried once more at the end

    def _settle(self) -> None:
        """A restore that died between its renames is finished or taken back, so that the service finds its directory."""
        place = Path(self._service.path)
        until = self._clock.monotonic() + _HALF_WAY
        while not place.exists() and self._clock.monotonic() < until:
            try:
                for sentence in _placing.recover(place):
                    self._log(sentence)
            except RecoupError as error:
                self._log(error.message)
                return
            if not place.exists():
                self._clock.sleep(0.2)  # the process that died is not gone before its own parent has taken notice

    def _command(self, step: str) -> None:
        try:
            done = self._service.run(step)
        except ServiceError as error:
            self._tell(step, f"{error.message}")
            raise
        said = self._mask(done.said[-_SAID:])
        self._tell(step, f"`{step}` ended with exit code 0{f': {said}' if said else ''}")

    def _tell(self, step: str, sentence: str) -> None:
        self._news.append({"step": step, "sentence": sentence})
        self._log(sentence)

    def _log(self, sentence: str) -> None:
        """Writes a line; a log that cannot be written stops nothing."""
        line = f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ} {self._service.name} [{os.getpid()}] {self._mask(sentence)}\n"
        with contextlib.suppress(OSError):  # the service matters more than its log
            _append(log_file(), line.encode(errors="replace"))


def _append(path: Path, line: bytes) -> None:
    make_private_folder(path.parent)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        descriptor = create_private(path)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
