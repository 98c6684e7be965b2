"""Which server the tests run with, where it listens, and what it demands of its clients.

`RECOUP_TEST_QDRANT` says which: unset, the stand-in; a URL, the server that runs there (it has to be empty); else the program
`qdrant`, which is started with a storage folder of its own.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

VARIABLE = "RECOUP_TEST_QDRANT"
"""Environment variable that names the server to test with."""

_PORTS = range(22000, 25000)
"""Below the ports that systems hand out to clients, so that a restart finds its own still free, and none of those that
`tests/s3_server` draws."""


@dataclass(frozen=True)
class Keys:
    """What a server demands of its clients; all empty: nothing."""

    full: str = ""
    read_only: str = ""

    def token(self, access: object, *, expires: int | None = None) -> str:
        """A JSON Web Token (HS256, signed with the full key).

        Args:
            access: `r`, `m`, or a list such as `[{"collection": "docs", "access": "rw"}]`.
            expires: seconds since 1970; None: never.
        """
        claims: dict[str, object] = {"access": access} | ({} if expires is None else {"exp": expires})
        signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{signed}.{_base64(hmac.digest(self.full.encode(), signed.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Choice:
    """Which server the tests run with.

    Attributes:
        url: where it runs already; empty: it has to be started.
        program: path of the real program; empty: the stand-in.
    """

    url: str = ""
    program: str = ""

    @property
    def real(self) -> bool:
        """Whether it is Qdrant itself."""
        return bool(self.url or self.program)

    def __str__(self) -> str:
        return self.url or self.program or "stand-in (tests/qdrant_server/standin)"


def chosen(environment: Mapping[str, str] = os.environ) -> Choice:
    """What `RECOUP_TEST_QDRANT` says.

    Raises:
        pytest.UsageError: it names a program that is not there.
    """
    value = environment.get(VARIABLE, "")
    if not value:
        return Choice()
    if value.startswith(("http://", "https://")):
        return Choice(url=value.rstrip("/"))
    program = shutil.which(value)
    if program is None:
        raise pytest.UsageError(f"{VARIABLE}={value} is neither a URL nor a program that can be started")
    return Choice(program=str(Path(program).resolve()))


@dataclass(frozen=True)
class Ports:
    """Where one node listens; `extra` is the admin port of the stand-in and the peers' port of a real one."""

    http: int
    grpc: int
    extra: int


def free_ports() -> Ports:
    """Three ports of the loopback interface on which nobody listens now, and that this process has not handed out before.

    What is killed by a test comes back to its port minutes later: so no other worker of pytest-xdist may draw it meanwhile.
    """
    found = list[int]()
    while len(found) < 3:
        port = random.choice(_own_ports())
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _handed_out.add(port)
            found.append(port)
    return Ports(*found)


_handed_out: set[int] = set()


def _own_ports() -> list[int]:
    """Those of this worker of pytest-xdist, one of up to eight, that are not handed out yet."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    return [port for port in _PORTS[number::8] if port not in _handed_out]
