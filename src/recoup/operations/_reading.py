"""Reading a repository that others use: under a lock, and where nothing may be written, without one."""

import contextlib
from collections.abc import Callable, Iterator

from recoup.errors import ReadOnlyError, RecoupError, forbids_writing
from recoup.model.events import Emit, Event, Level
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.repository._base import Repository
from recoup.system.clock import Clock


@contextlib.contextmanager
def held(
    repository: Repository, verb: str, stack: str, wait: float, clock: Clock, tell: Callable[[Event], None]
) -> Iterator[None]:
    """Keeps others from removing what is read; a disk mounted read-only is read all the same, which is told.

    Args:
        repository: what is read.
        verb: what for.
        stack: whose.
        wait: seconds to wait for a lock that is in the way.
        clock: time.
        tell: is told where there is no lock.

    Raises:
        LockedError: somebody is about to remove sets.
    """
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(repository.lock("shared", verb, stack, wait))
        except ReadOnlyError as error:
            text = f"{repository.name} is read without a lock, so see that nobody prunes it meanwhile ({error.message})"
            tell(Event("read_unlocked", clock.now(), text, Level.WARNING, fields={"repository": repository.name}))
        yield


def note(repository: Repository, name: SetName, mark: Mark, what: str, emit: Emit, *, demanded: bool = True) -> None:
    """Notes a result at its set; where nothing may be written, tells that it is not noted.

    Args:
        repository: where the set is.
        name: of the set.
        mark: the note.
        what: was done, in words that "could not be noted" follows.
        emit: where news go.
        demanded: whether anything else that stands against it is an error; else it is told, too.
    """
    try:
        repository.mark(name, mark)
    except (RecoupError, OSError) as error:
        if demanded and not forbids_writing(error):
            raise
        why = error.strerror if isinstance(error, OSError) else error
        text = f"{what} could not be noted in {repository.name}: {why}"
        emit(Event("mark_failed", mark.time, text, Level.WARNING, str(name), {"repository": repository.name}))
