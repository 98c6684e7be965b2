"""One node of a Qdrant server over HTTP: answers as values, failures as errors that a person understands.

Asks for `Accept-Encoding: identity`, because Qdrant otherwise compresses snapshots on the fly, without a length and at half the
speed. Time-outs are by inactivity: how long the whole takes depends on the data.
"""

import contextlib
import json
import socket
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from recoup.errors import InterruptedRunError, SourceError
from recoup.model.names import shown
from recoup.model.secrets import Masker, bare_url
from recoup.sources.qdrant._addresses import is_this_machine, shown_path
from recoup.sources.qdrant._downloading import answered, blocks_of
from recoup.sources.qdrant._exchange import Download, first_and_whole, moment
from recoup.sources.qdrant._faults import (
    ForbiddenError,
    MissingError,
    ServerError,
    SilentError,
    UnreachableError,
    said,
)
from recoup.sources.qdrant._form import snapshot_form
from recoup.sources.qdrant._rights import needed
from recoup.sources.qdrant._trusting import authority_of, trusting
from recoup.system.clock import Clock, SystemClock
from recoup.system.subprocesses import end_with_us

if TYPE_CHECKING:
    from http.client import HTTPResponse

    import httpx

BLOCK = 1024 * 1024
_LARGEST = 64 * BLOCK  # bytes of one JSON answer: a page of points or the schema of a collection stays far below
_LONGEST_TEXT = 500  # characters of the server's own words in an error
_WAITS = (0.2, 0.8)  # seconds before a call is made again
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}  # seconds, seconds, probes
_BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_OWN_AUTHORITY = (
    "If it is your own, name the file of its authority: `ca_file` of the source, or the variable SSL_CERT_FILE."
)


class Server:
    """One node. May be used by several threads.

    Args:
        url: where it answers, e.g. `http://127.0.0.1:6333`.
        api_key: sent in a header, and shown nowhere.
        timeout: seconds without a byte after which an answer is given up; None waits for ever.
        connect_timeout: seconds to wait for a connection.
        clock: time.
        authority: file of certificates that are trusted besides the usual ones.
    """

    def __init__(
        self,
        url: str,
        api_key: str = "",
        *,
        timeout: float | None = 60.0,
        connect_timeout: float = 10.0,
        clock: Clock | None = None,
        authority: Path | None = None,
    ) -> None:
        self.authority = authority_of(authority, Path())
        self.url = bare_url(url).rstrip("/")
        self._full, self._api_key = url.rstrip("/"), api_key
        self.timeout, self._connect_timeout = timeout, connect_timeout
        self._clock = clock or SystemClock()
        self._mask = Masker([api_key] if api_key else [])
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._date: datetime | None = None
        self.stopped = False
        end_with_us(self)

    def again(self, *, timeout: float | None = None, connect_timeout: float | None = None) -> "Server":
        """The same node by new connections, for example to tidy up after `kill`."""
        return self.at(self._full, timeout=timeout, connect_timeout=connect_timeout)

    def at(self, url: str, *, timeout: float | None = None, connect_timeout: float | None = None) -> "Server":
        """Another node, asked with the same key."""
        return Server(
            url,
            self._api_key,
            timeout=timeout or self.timeout,
            connect_timeout=connect_timeout or self._connect_timeout,
            clock=self._clock,
            authority=self.authority,
        )

    @property
    def now(self) -> datetime:
        """The server's own time (UTC, whole seconds) at its last answer; ours where it tells none."""
        return self._date or self._clock.now()

    # --- answers as values -------------------------------------------------------------------------------------------

    @cached_property
    def version(self) -> str:
        """The server's version, e.g. `1.18.3`.

        Raises:
            UnreachableError: nobody answers.
            SourceError: what answers is not Qdrant.
        """
        answer = self._json("GET", "/", {}, None, safe=True)
        title = str(answer.get("title", "")) if isinstance(answer, dict) else ""
        if "qdrant" not in title.lower():
            raise SourceError(f"what answers at {self.url} is not a Qdrant server", "See whether the URL is right.")
        return str(answer.get("version", ""))

    def answers(self) -> bool:
        """Whether somebody answers there now; asked once, without waiting for a server that may be starting."""
        try:
            self._json("GET", "/", {}, None, safe=False)
        except UnreachableError:
            return False
        return True

    def get(self, path: str, **params: object) -> Any:
        """The `result` of a GET; asked again where that may help."""
        return self._result("GET", path, params, None, safe=True)

    def post(
        self, path: str, body: object = None, *, safe: bool = False, wait: float | None = -1.0, **params: object
    ) -> Any:
        """The `result` of a POST; None where it was only accepted (202).

        Args:
            path: from `at`.
            body: JSON value; None sends none.
            safe: True when it changes nothing, so that it may be asked again.
            wait: seconds without a byte to bear with; None for ever; the server's own time-out by default.
            params: of the query.
        """
        return self._result("POST", path, params, body, safe=safe, wait=wait)

    def put(self, path: str, body: object = None, *, wait: float | None = -1.0, **params: object) -> Any:
        """The `result` of a PUT."""
        return self._result("PUT", path, params, body, safe=False, wait=wait)

    def patch(self, path: str, body: object = None, *, wait: float | None = -1.0, **params: object) -> Any:
        """The `result` of a PATCH."""
        return self._result("PATCH", path, params, body, safe=False, wait=wait)

    def delete(self, path: str, **params: object) -> Any:
        """The `result` of a DELETE."""
        return self._result("DELETE", path, params, None, safe=False)

    def text(self, path: str) -> str:
        """The body of a GET as text (`/metrics`)."""
        return self._body("GET", path, {}, None, safe=True).decode(errors="replace")

    def _result(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: object,
        *,
        safe: bool,
        wait: float | None = -1.0,
    ) -> Any:
        answer = self._json(method, path, params, body, safe=safe, wait=wait)
        return answer.get("result") if isinstance(answer, dict) else None

    def _json(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: object,
        *,
        safe: bool,
        wait: float | None = -1.0,
    ) -> Any:
        data = self._body(method, path, params, body, safe=safe, wait=wait)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise ServerError(
                f"{self.url} answered {method} {shown_path(path)} with something else than JSON",
                "See whether the URL is that of a Qdrant server, and what stands between.",
            ) from None

    def _body(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: object,
        *,
        safe: bool,
        wait: float | None = -1.0,
    ) -> bytes:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}

        def once() -> bytes:
            with self._sent(method, path, params, content, headers, wait) as response:
                return _limited(response.iter_raw(BLOCK), f"{self.url}{shown_path(path)}")

        return self._tried(once, safe=safe)

    def _tried(self, once: Callable[[], bytes], *, safe: bool) -> bytes:
        for seconds in _WAITS:
            try:
                return once()
            except ServerError as error:
                if not _worth_another(error, safe=safe):
                    raise
            self._clock.sleep(seconds)
        return once()

    # --- files -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def download(
        self, path: str, *, body: object = None, start: int = 0, etag: str = "", wait: float | None = -1.0
    ) -> Iterator[Download]:
        """A file or a stream, block by block, by a connection of its own.

        Args:
            path: from `at`.
            body: JSON value to POST; None is a GET.
            start: first byte wanted; the answer's own `start` says what came (0 where ranges are not served).
            etag: of the part that is there already. Servers may ignore it, so compare it with the answer's own.
            wait: seconds without a byte to bear with; None for ever; the server's own time-out by default.

        Raises:
            UnreachableError: the connection broke before the announced end, also while the blocks are read.
        """
        method = "GET" if body is None else "POST"
        with contextlib.ExitStack() as stack:
            with self._errors(method, path):
                request = self._client.build_request(method, path, headers=_range(start, etag), json=body)
                response = stack.enter_context(self._answered(request, self.timeout if wait == -1.0 else wait))
                self._date = moment(response.headers.get("date", "")) or self._date
                if response.status >= 300:
                    self._fail(method, path, response.status, blocks_of(response))
            length = response.headers.get("content-length", "")
            came, whole = (
                first_and_whole(response.headers.get("content-range", "")) if response.status == 206 else (0, None)
            )
            size = int(length) if length.isdecimal() else None
            blocks = self._read(response, method, path)
            yield Download(size, whole if whole is not None else size, response.headers.get("etag", ""), came, blocks)

    def _answered(
        self, request: "httpx.Request", wait: float | None
    ) -> contextlib.AbstractContextManager["HTTPResponse"]:
        return answered(request, self._connect_timeout, wait, self._keep, self.authority)

    def _read(self, response: "HTTPResponse", method: str, path: str) -> Iterator[bytes]:
        with self._errors(method, path):
            yield from blocks_of(response)
        if self.stopped:  # a body without a length ends like that, too
            raise InterruptedRunError("stopped")

    def upload(
        self,
        path: str,
        content: Path | Iterable[bytes],
        *,
        size: int | None = None,
        name: str = "upload.snapshot",
        checksum: str = "",
        priority: str = "snapshot",
        wait: float | None = None,
        passing: Callable[[int], None] | None = None,
    ) -> Any:
        """Uploads a snapshot as a form, streaming, and returns the `result`.

        Args:
            path: of the upload endpoint, from `at`.
            content: a file, or its blocks.
            size: bytes of it where known; a file's own by default.
            name: file name to give; the server keeps the file of a collection under it.
            checksum: SHA-256 of it, hex; the server compares.
            priority: which side wins in a cluster: `snapshot`, `replica` or `no_sync`.
            wait: seconds to wait for the answer after the last byte; None for ever.
            passing: is told of every block's length.
        """
        body, headers = snapshot_form(content, size, name, passing)
        params = {"wait": "true", "priority": priority, **({"checksum": checksum} if checksum else {})}
        with self._sent("POST", path, params, body, headers, wait) as response:
            data = _limited(response.iter_raw(BLOCK), f"{self.url}{shown_path(path)}")
        answer = json.loads(data) if data.startswith(b"{") else {}
        return answer.get("result")

    # --- one exchange ------------------------------------------------------------------------------------------------

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx

        headers = {"Accept-Encoding": "identity", "User-Agent": "recoup"}
        if self._api_key:
            headers["api-key"] = self._api_key
        return httpx.Client(
            base_url=self._full,
            headers=headers,
            # trusted roots are read only where they are needed
            verify=trusting(self.authority) if self._full.lower().startswith("https:") else False,
            trust_env=not is_this_machine(self._full),  # a proxy for the network is none for this machine
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
        )

    def _watch(self, one: socket.socket) -> None:
        """Lets a machine that vanished be noticed, where an answer is waited for without a limit."""
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in _KEEPALIVE.items():
            if option := getattr(socket, name, None):
                one.setsockopt(socket.IPPROTO_TCP, option, seconds)

    @contextlib.contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        content: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
        wait: float | None,
    ) -> Iterator["httpx.Response"]:
        import httpx

        with self._errors(method, path):
            read = self.timeout if wait == -1.0 else wait
            request = self._client.build_request(
                method,
                path,
                params={key: _param(value) for key, value in params.items() if value is not None} or None,
                content=content,
                headers=dict(headers),
                timeout=httpx.Timeout(read, connect=self._connect_timeout, pool=None),
                extensions={"trace": self._trace},
            )
            response = self._client.send(request, stream=True)
            self._date = moment(response.headers.get("date", "")) or self._date
            try:
                if response.status_code >= 300:
                    self._fail(method, path, response.status_code, response.iter_raw(BLOCK))
                yield response
            finally:
                response.close()

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Keeps the sockets, so that `kill` can wake those who wait at them."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            found = info["return_value"].get_extra_info("socket")
            if isinstance(found, socket.socket):
                self._keep(found)

    def _keep(self, one: socket.socket) -> None:
        self._watch(one)
        self._sockets.add(one)

    def kill(self) -> None:
        """Breaks all connections: whoever waits in another thread gets an `InterruptedRunError`."""
        self.stopped = True
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connections that stand idle."""
        if "_client" in self.__dict__:
            self._client.close()
            del self._client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _errors(self, method: str, path: str) -> Iterator[None]:
        import httpx

        if self.stopped:
            raise InterruptedRunError("stopped")
        try:
            yield
        except httpx.InvalidURL as error:
            raise ServerError(f"{self.url} is not a URL that can be asked: {error}", "Correct it.") from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            if self.stopped:
                raise InterruptedRunError("stopped") from None
            if isinstance(error, OSError) and not isinstance(error, ConnectionError):
                raise  # of the file that is uploaded
            raise self._broken(method, path, error) from None

    def _broken(self, method: str, path: str, error: Exception) -> UnreachableError:
        import httpx

        call = f"{method} {shown_path(path)}"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            reason = self._mask(str(error)) or "no answer"
            if "CERTIFICATE_VERIFY_FAILED" in reason:
                return UnreachableError(f"the certificate of {self.url} is not trusted: {reason}", _OWN_AUTHORITY)
            return UnreachableError(f"{self.url} cannot be reached: {reason}", "See whether Qdrant runs there.")
        if isinstance(error, httpx.ReadTimeout):
            return SilentError(f"{self.url} sent nothing for too long at {call}", "See what the server is doing.")
        reason = self._mask(str(error)) or type(error).__name__
        return UnreachableError(f"the connection to {self.url} broke at {call}: {reason}", "See the server's log.")

    def _fail(self, method: str, path: str, status: int, blocks: Iterable[bytes]) -> None:
        data = b""
        if status != HTTPStatus.NOT_MODIFIED:
            for block in blocks:
                data += block
                if len(data) > BLOCK:
                    break
        text = shown(self._mask(said(data)))[:_LONGEST_TEXT]
        call = f"{method} {shown_path(path)}"
        message = f"{self.url} answered {call} with {status}{f': {text}' if text else ''}"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            hint = f"It needs {needed(method, path.partition('?')[0])}."
            if status == HTTPStatus.UNAUTHORIZED:
                hint = f"Set the right `api_key`. {hint}" if self._api_key else f"Set `api_key`. {hint}"
            raise ForbiddenError(message, hint, status, text)
        if status == HTTPStatus.NOT_FOUND:
            raise MissingError(message, "See whether it is still there.", status, text)
        raise ServerError(message, "See the server's log.", status, text)


def _worth_another(error: ServerError, *, safe: bool) -> bool:
    """True when a call that changes nothing may be made again, and may then be answered."""
    if isinstance(error, UnreachableError):
        return safe and not isinstance(error, SilentError)
    return safe and error.status in _BUSY


def _range(start: int, etag: str) -> dict[str, str]:
    headers = {"Range": f"bytes={start}-"} if start else {}
    return headers | ({"If-Range": etag} if start and etag else {})


def _param(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _limited(blocks: Iterable[bytes], what: str) -> bytes:
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > _LARGEST:
            raise ServerError(f"the answer of {what} is longer than {_LARGEST:,} bytes")
    return bytes(data)
