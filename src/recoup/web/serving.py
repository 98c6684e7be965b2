"""Serving the pages: where, until when, and what has to be true before."""

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn

from recoup.errors import RecoupError
from recoup.web._following import Streams
from recoup.web._guard import BrokenOffError
from recoup.web._place import Place
from recoup.web.server import create_app

if TYPE_CHECKING:
    from recoup.web._site import Site

_GRACE = 2  # seconds that answers under way get when the server ends: a download would keep it for long


def serve(site: "Site", place: Place, ready: Callable[[str], None]) -> None:
    """Serves the pages of a stack until the process is told to end.

    Args:
        site: the stack.
        place: where.
        ready: is told the URL as soon as browsers can connect.

    Raises:
        RecoupError: nobody can listen there.
        ConfigError: the place is reachable from elsewhere, and nobody would have to sign in.
    """
    app = create_app(site, place)
    logging.getLogger("uvicorn.error").addFilter(says_more)
    with _listening(place) as (listener, found):
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the guard reads them, and the path's prefix
            timeout_graceful_shutdown=_GRACE,
        )
        ready(found.url)
        _Server(config, app.state.streams).run(sockets=[listener])


def says_more(record: logging.LogRecord) -> bool:
    """Whether a line of the server's log says more than that an answer was broken off, of which the reason is in the log.

    Args:
        record: of the log.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenOffError))


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever handles them: Ctrl-C and SIGTERM end it by an exception of the main thread.

    Args:
        config: how it serves.
        streams: those that are open, which end with it.
    """

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends what is open, and does not wait for the end of jobs."""
        self._streams.ending = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles them while it runs, and takes what came for handled."""
        with contextlib.suppress(KeyboardInterrupt), super().capture_signals():
            yield


@contextlib.contextmanager
def _listening(place: Place) -> Iterator[tuple[socket.socket, Place]]:
    """A socket that accepts connections, and where it is."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((place.host, place.port))
            listener.listen(128)
        except OSError as error:
            raise RecoupError(
                f"nobody can listen at {place.host}:{place.port}: {error.strerror or error}",
                "Choose another place with --bind or `web.bind`; perhaps the page runs already.",
            ) from None
        yield listener, Place(place.host, listener.getsockname()[1], place.path)
