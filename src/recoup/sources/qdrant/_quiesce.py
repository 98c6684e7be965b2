"""Writing stops around the freeze and goes on afterwards, whatever becomes of us.

A child of its own stops and resumes the application. It ends with its questions: when this process dies, its pipe closes, and the
child resumes. It also resumes by itself when the freeze takes longer than the application may stand still.
"""

import contextlib
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import SourceError
from recoup.model.secrets import bare_url
from recoup.system.subprocesses import ChildFailedError, answer_of, child

if TYPE_CHECKING:  # settings are slow to load, and the child needs none
    from recoup.sources.qdrant._options import Call, Quiesce


@dataclass
class Pause:
    """A pause in writing.

    Attributes:
        late: True when writing went on before the freeze was over.
        failure: why the application could not be told to go on; empty when it was.
    """

    late: bool = False
    failure: str = ""


@contextlib.contextmanager
def paused(quiesce: "Quiesce | None", base: Path) -> Iterator[Pause]:
    """Writing stands still inside; without settings nothing happens.

    Args:
        quiesce: the settings.
        base: folder in which commands run.

    Raises:
        SourceError: the application could not be stopped; it was told to go on.
    """
    pause = Pause()
    if quiesce is None or not quiesce.stop.given:
        yield pause
        return
    arguments = (_told(quiesce.stop), _told(quiesce.resume), quiesce.timeout, quiesce.limit, str(base))
    with child(pause_writing, *arguments, patience=quiesce.timeout + 5.0) as process:
        try:
            process.answer()
        except ChildFailedError as error:
            hint = "See `quiesce` in the settings; nothing was captured."
            raise SourceError(f"writing could not be stopped: {error.message}", hint) from None
        try:
            yield pause
        finally:
            try:
                pause.late = bool(process.ask("resume")["late"])
            except ChildFailedError as error:
                pause.failure = error.message


def _told(call: "Call") -> dict[str, Any]:
    token = call.token.get_secret_value() if call.token else ""
    return {"command": list(call.command), "url": call.url, "method": call.method, "token": token}


def pause_writing(
    stop: dict[str, Any], resume: dict[str, Any], timeout: float, limit: float, base: str
) -> Generator[dict[str, bool], object, None]:
    """The child: stops writing, and resumes when it is asked, when the limit is reached, or when nobody is there any more."""
    going = _Going(resume, timeout, Path(base))
    timer = threading.Timer(limit, going.on_late)
    timer.daemon = True
    try:
        _call(stop, timeout, Path(base))
        timer.start()
        yield {"stopped": True}
        going.on()
        yield {"late": going.late}
    finally:
        timer.cancel()
        going.on()


class _Going:
    """Resumes once."""

    def __init__(self, resume: dict[str, Any], timeout: float, base: Path) -> None:
        self._resume, self._timeout, self._base = resume, timeout, base
        self._lock = threading.Lock()
        self._done = False
        self.late = False

    def on(self) -> None:
        with self._lock:
            if not self._done:
                _call(self._resume, self._timeout, self._base)
                self._done = True

    def on_late(self) -> None:
        self.late = True
        with contextlib.suppress(ChildFailedError):  # it is tried again, and told, when the freeze is over
            self.on()


def _call(call: dict[str, Any], timeout: float, base: Path) -> None:
    """One call.

    Raises:
        ChildFailedError: it failed.
    """
    if call["command"]:
        answer_of(call["command"], base, timeout)
        return
    import httpx

    headers = {"Authorization": f"Bearer {call['token']}"} if call["token"] else {}
    where = bare_url(call["url"])
    try:
        answer = httpx.request(call["method"], call["url"], headers=headers, timeout=timeout)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ChildFailedError(f"{where} cannot be called ({type(error).__name__})") from None
    if not answer.is_success:
        raise ChildFailedError(f"{where} answered {answer.status_code}")
