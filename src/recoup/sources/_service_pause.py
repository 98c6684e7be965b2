"""Our side of the watchdog: a service stands still inside, and is up again afterwards.

Whatever happens inside, the service is started: by us where there is time to wait for it, by the watchdog where the user wants to
stop or where we die.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recoup.errors import InterruptedRunError
from recoup.model.events import Event, Level
from recoup.sources._base import Site
from recoup.sources._service import Service, ServiceError
from recoup.sources._service_watch import PURPOSE, Found, log_file, watch_over
from recoup.system.journal import Journal, abandoned, state_folder
from recoup.system.subprocesses import Child, ChildFailedError, end_with_us

_ASK = 0.05  # seconds between two questions
_LEAVE = 0.7  # seconds that the watchdog may take when we have no time
_OTHERS = 30.0  # seconds to wait for the watchdog of a run that has died


class _Stopping:
    """Whether the user wants to stop: whoever waits gets an error at once, and the watchdog lives on and starts the service."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def kill(self) -> None:
        """The user wants to stop."""
        self._event.set()

    def refuse(self) -> None:
        """Ends what takes long.

        Raises:
            InterruptedRunError: the user wants to stop.
        """
        if self._event.is_set():
            raise InterruptedRunError("interrupted", f"The service's watchdog starts it; see {log_file()}.")


class Watch:
    """A service in the hands of a watchdog.

    Attributes:
        process: the watchdog.
        late: True when the watchdog started it because it stood still for too long.
        dead: True when the watchdog is no more.
        refuse_if_stopping: ends what takes long when the user wants to stop.
    """

    def __init__(self, process: Child, service: Service, site: Site, stopping: _Stopping, *, down: bool) -> None:
        self.process, self._service, self._site = process, service, site
        self._down = down
        self.late = self.dead = False
        self.refuse_if_stopping = stopping.refuse

    def stop(self) -> None:
        """Stops the service and waits until it really is stopped.

        Raises:
            ServiceError: it is not.
        """
        self._down = True
        self._step("stop")

    def start(self) -> None:
        """Starts the service and waits until it answers.

        Raises:
            ServiceError: it does not.
        """
        self._down = False  # tried once: it is not tried again on leaving
        self._step("start")

    def freeze(self) -> None:
        """Has the user's command make a copy.

        Raises:
            ServiceError: it failed.
        """
        self._step("freeze")

    def thaw(self) -> None:
        """Has the user's command remove that copy; failing is told, loud, and the next run tries again."""
        try:
            self._step("thaw")
        except ServiceError as error:
            name = self._site.name
            sentence = f"{name}: the copy that `freeze` made is still there: {error.message}"
            fields = {"source": name}
            self._site.emit(Event("thaw_failed", self._site.clock.now(), sentence, Level.ERROR, fields=fields))

    def undo(self, kept: str) -> None:
        """Puts what a restore kept in place again.

        Raises:
            ServiceError: it cannot be done.
        """
        self._step("undo", kept)

    def require_stillness(self) -> None:
        """Refuses what was read when the service did not stand still all the while.

        Raises:
            ServiceError: it was started by its watchdog or by somebody else.
        """
        self._step("look")
        if self.late:
            raise ServiceError(
                "the service stood still for longer than `freeze_timeout` and was started again before all was read",
                "Raise `freeze_timeout`, or use `snapshot` so that it stands still for a moment only.",
            )

    def bring_up(self) -> None:
        """Starts the service where that is still to be done; failing is told, loud, and raises nothing."""
        if self._down:
            try:
                self.start()
            except ServiceError as error:
                self.tell_down(error)

    def tell_down(self, error: ServiceError) -> None:
        """Tells that the service is down, and how to start it."""
        name = self._site.name
        sentence = f"{name}: the service is not up: {error.message}. {self.by_hand}"
        self._site.emit(Event("service_down", self._site.clock.now(), sentence, Level.ERROR, fields={"source": name}))

    @property
    def by_hand(self) -> str:
        """What a person can do."""
        return f"Start it by hand: {' '.join(self._service.commands['start'])}"

    def _step(self, name: str, argument: str = "") -> None:
        how = self._asked([name, argument])
        while how["busy"]:
            self.refuse_if_stopping()
            self._site.clock.sleep(_ASK)
            how = self._asked("how")
        if how["failure"]:
            raise ServiceError(how["failure"]["message"], how["failure"]["hint"])

    def _asked(self, question: object) -> dict[str, Any]:
        try:
            how: dict[str, Any] = self.process.ask(question)
        except (ChildFailedError, OSError, ValueError):
            self.dead = True
            raise ServiceError(
                "the service's watchdog has died", "Look for a process that ended it, then try again."
            ) from None
        self.late = self.late or how["late"]
        for news in how["news"]:
            self._tell(news["step"], news["sentence"])
        return how

    def _tell(self, step: str, sentence: str) -> None:
        name, fields = self._site.name, {"source": self._site.name, "step": step}
        self._site.emit(Event("service_command", self._site.clock.now(), f"{name}: {sentence}", fields=fields))


@contextlib.contextmanager
def watching(service: Service, site: Site, limit: float, *, found: Found = "running") -> Iterator[Watch]:
    """A watchdog for the time inside; on leaving the service is up again, or it was said that it is not.

    Args:
        service: what it watches over.
        site: where news go.
        limit: seconds that the service may stand still; 0: for ever.
        found: how it is met: running, or left stopped, or frozen too, by a run that is dead.

    Raises:
        ServiceError: the watchdog of another run is at work, or ours cannot be started.
    """
    stopping = _Stopping()
    end_with_us(stopping)
    _await_others(service, site, stopping)
    process = Child(watch_over, service.fields(), limit, found, patience=_LEAVE)
    watch = Watch(process, service, site, stopping, down=found != "running")
    try:
        try:
            process.answer()
        except ChildFailedError as error:
            raise ServiceError(f"the service's watchdog cannot be started: {error.message}", error.hint) from None
        yield watch
    except (KeyboardInterrupt, InterruptedRunError):
        raise  # no time to wait: the watchdog starts it
    except BaseException:
        watch.bring_up()
        _let_go(watch)
        raise
    else:
        watch.bring_up()
        _let_go(watch)
    finally:
        process.close()
        if watch.dead:
            start_left_behind(Path(service.path), site)


def _let_go(watch: Watch) -> None:
    """Lets the watchdog end by itself, and waits for it."""
    with contextlib.suppress(ChildFailedError, OSError, ValueError):
        if not watch.dead:
            watch.process.release()


def journals(path: Path) -> Iterator[tuple[Journal, Service, str, bool]]:
    """What dead watchdogs of a directory left.

    Yields:
        The journal, the service, what a restore had kept and was to put back, and whether `freeze` had been run.
    """
    for journal in abandoned(PURPOSE):
        found = _read(journal)
        if found is None:
            journal.forget()  # killed before the first line was whole, so before anything was stopped
        elif found[0].path == str(path):
            yield journal, *found


def _read(journal: Journal) -> tuple[Service, str, bool] | None:
    service, kept, frozen = None, "", False
    for intent in journal.intents():
        if isinstance(intent.get("service"), dict):
            with contextlib.suppress(TypeError):
                service = Service.of(intent["service"])
        kept = str(intent.get("undo", kept))
        frozen = bool(intent.get("frozen", frozen))
    return (service, kept, frozen) if service else None


def _living(path: str) -> list[Journal]:
    """Journals of a directory's watchdogs that are at work."""
    dead = {journal.path for journal in abandoned(PURPOSE)}
    every = (Journal(file) for file in sorted(state_folder().glob(f"{PURPOSE}-*.jsonl")))
    return [one for one in every if one.path not in dead and (found := _read(one)) and found[0].path == path]


def _await_others(service: Service, site: Site, stopping: _Stopping) -> None:
    """The watchdog of a run that has just died may be about to start what we are about to stop."""
    until = site.clock.monotonic() + _OTHERS
    while others := _living(service.path):
        if site.clock.monotonic() >= until:
            raise ServiceError(
                f"another run has the service of {service.path} in its hands ({others[0].path.name})",
                f"Wait until it has ended; {log_file()} says what it does.",
            )
        stopping.refuse()
        site.clock.sleep(_ASK)


def start_left_behind(path: Path, site: Site) -> Sequence[str]:
    """Starts the service of a directory where a run and its watchdog were killed; returns a sentence for each one.

    Raises:
        ServiceError: it does not start.
    """
    done = []
    for journal, service, kept, frozen in list(journals(path)):
        with watching(service, site, 0.0, found="frozen" if frozen else "left") as watch:
            journal.forget()  # ours has taken over
            if kept:
                watch.undo(kept)
                done.append(f"Put {kept} back in the place of {path}.")
            watch.start()
            if frozen:
                watch.thaw()
        done.append(f"The service of {path} was left stopped by a run that was killed; it is up.")
    return done
