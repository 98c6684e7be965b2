"""A page with accounts, probes behind its guard, and a browser of each kind."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from httpx2 import Response
from starlette.testclient import TestClient

from recoup.app import open_stack
from recoup.errors import NoSuchSetError
from recoup.web import server
from recoup.web._place import Place
from recoup.web._security import Operator
from recoup.web._site import Site
from recoup.web.jobs import Jobs

PASSWORD = {"operator": "correct horse battery", "reader": "staple of the shop"}
TOKEN = {"operator": "operator-token-" + "0123456789abcdef" * 2, "reader": "reader-token-" + "fedcba9876543210" * 2}

HOME = ("127.0.0.1", 50000)
AFAR = ("203.0.113.7", 50000)
BASE = "http://127.0.0.1:8642"
PLACE = Place("127.0.0.1", 8642)


class ScriptedClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)
        self.passed = 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.go_on(seconds)

    def go_on(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        self.passed += seconds


@cache
def hash_of(role: str) -> str:
    """The hash of a role's password, by so little work that tests sign in often."""
    return PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD[role])


def accounts(*roles: str, tokens: bool = True) -> str:
    """The configuration of accounts."""
    found = ""
    for role in roles:
        token = f", token: {TOKEN[role]}" if tokens else ""
        found += f"  {role}: {{password_hash: '{hash_of(role)}'{token}}}\n"
    return found


class Access:
    """A page whose guard is looked at.

    Args:
        folder: gets its configuration.
        web: what stands below `web:`.
        place: where it would be served.
    """

    def __init__(self, folder: Path, web: str = "", place: Place = PLACE) -> None:
        self.file, self.clock, self.place = folder / "recoup.yaml", ScriptedClock(), place
        self.configure(web)
        self.site = Site(lambda: open_stack([self.file]), Jobs("shop", ["-c", str(self.file)], self.clock), self.clock)
        self.app = self.served()

    def configure(self, web: str) -> None:
        """Writes the configuration."""
        self.file.write_text("version: 1\nstack: shop\n" + (f"web:\n{web}" if web else ""))

    def served(self) -> FastAPI:
        """The page as a server that was just started serves it."""
        app = server.create_app(self.site, self.place)
        _add_probes(app)
        return app

    @contextmanager
    def browser(
        self, client: tuple[str, int] = HOME, base: str = BASE, headers: dict[str, str] | None = None
    ) -> Iterator["Visitor"]:
        """Somebody at a browser."""
        found = Visitor(self.app, base_url=base, client=client, follow_redirects=False, headers=headers)
        with found:
            yield found


class Visitor(TestClient):
    """A browser."""

    def csrf(self, prefix: str = "") -> str:
        """The token of the session, as pages have it."""
        seen = self.get(f"{prefix}/api/v1/probe")
        if seen.status_code == 200:
            return str(seen.json()["csrf"])
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(f"{prefix}/sign-in").text)
        assert found
        return found[1]

    def sign_in(self, role: str, password: str | None = None, prefix: str = "", **fields: str) -> Response:
        """Fills in the form."""
        known = {"csrf": self.csrf(prefix), "role": role, "password": PASSWORD[role] if password is None else password}
        return self.post(f"{prefix}/sign-in", data={**known, **fields})

    def change(self, path: str = "/api/v1/probe", prefix: str = "", **headers: str) -> Response:
        """Changes something, as a page of ours does."""
        return self.post(f"{prefix}{path}", headers={"X-CSRF-Token": self.csrf(prefix), **headers})


def _add_probes(app: FastAPI) -> None:
    @app.get("/api/v1/probe")
    def look(request: Request) -> dict[str, Any]:
        viewer = request.state.viewer
        return {"name": viewer.name, "may_operate": viewer.may_operate, "csrf": request.state.csrf}

    @app.post("/api/v1/probe")
    def change(viewer: Operator) -> dict[str, str]:
        return {"changed by": viewer.name}

    @app.post("/api/v1/forgetful")
    async def forgets_to_be_protected(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/api/v1/stream")
    def stream(breaks: bool = False) -> StreamingResponse:
        def pieces() -> Iterator[bytes]:
            yield b"first"
            if breaks:
                raise OSError("the disk hunter2 is gone")
            yield b"last"

        return StreamingResponse(pieces())

    @app.get("/api/v1/error")
    def error() -> None:
        raise NoSuchSetError(f"there is no set token={TOKEN['operator']}", "`recoup list` shows what there is.")

    @app.get("/api/v1/crash")
    def crash() -> None:
        raise ZeroDivisionError(f"while {TOKEN['operator']} was here")
