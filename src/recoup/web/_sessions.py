"""Sessions: what a browser's cookie says, signed, so that a restart of the server ends none of them."""

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from recoup.model.structs import Struct
from recoup.system.atomicfile import create_private, make_private_folder
from recoup.system.clock import Clock
from recoup.system.journal import state_folder
from recoup.web._ended import Ended

IDLE = 12 * 3600
"""Seconds without a request after which a session is over."""

LIFETIME = 7 * 24 * 3600
"""Seconds after which it is over in any case."""

RENEWED = 600
"""Seconds after which a session that is used gets a new cookie."""

_ASTRAY = 300  # seconds by which a clock may have been set back
_KEY_BYTES = 32


class Session(Struct):
    """One browser's session.

    Attributes:
        id: random.
        role: as what somebody signed in; empty when nobody did.
        proof: by what (`Accounts.proof`).
        begun: when, in seconds since 1970.
        seen: when it was last used, to `RENEWED` seconds.
    """

    id: str
    role: str
    proof: str
    begun: int
    seen: int


class Sessions:
    """The sessions of a stack's page.

    Args:
        stack: its name.
        clock: time.

    Attributes:
        key: what they are signed with; made once for each stack and user.
    """

    def __init__(self, stack: str, clock: Clock) -> None:
        folder = state_folder() / "stacks" / f"{stack}.web"
        make_private_folder(folder)
        self.key = _kept_key(folder / "key")
        self._ended = Ended(folder / "ended", LIFETIME)
        self._clock = clock
        hashing = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._signed = URLSafeSerializer(self.key, salt="recoup-session", signer_kwargs=hashing)

    def begin(self, role: str, proof: str) -> Session:
        """A new session."""
        now = self._now()
        return Session(secrets.token_hex(16), role, proof, now, now)

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None when it is forged, over, or was ended."""
        try:
            found = _session(self._signed.loads(cookie))
        except BadData:
            return None
        return found if found is not None and self._lives(found) else None

    def renewed(self, session: Session) -> Session:
        """The session, used now."""
        now = self._now()
        if now - session.seen < RENEWED:
            return session
        return Session(session.id, session.role, session.proof, session.begun, now)

    def cookie(self, session: Session) -> str:
        """What the browser keeps of a session."""
        return str(self._signed.dumps([session.id, session.role, session.proof, session.begun, session.seen]))

    def csrf(self, session: Session) -> str:
        """The token that a page of this session sends with each change."""
        return hmac.digest(self.key, f"csrf\n{session.id}".encode(), "sha256").hex()

    def is_csrf(self, session: Session, token: str) -> bool:
        """Whether it is that token; compared in constant time."""
        return hmac.compare_digest(self.csrf(session).encode(), token.encode())

    def end(self, session: Session) -> None:
        """Ends a session, for copies of its cookie, too."""
        self._ended.add(session.id, self._now())

    def _lives(self, session: Session) -> bool:
        now = self._now()
        if session.seen > now + _ASTRAY or now - session.seen > IDLE or now - session.begun > LIFETIME:
            return False
        return session.id not in self._ended

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def _session(payload: Any) -> Session | None:
    """What was signed, if a version of ours that knew the same fields signed it."""
    types = (str, str, str, int, int)
    if not isinstance(payload, list) or len(payload) != len(types):
        return None
    fits = all(type(one) is wanted for one, wanted in zip(payload, types, strict=True))
    return Session(*payload) if fits else None


def _kept_key(path: Path) -> bytes:
    """The key in a file; a new one where there is none, or where others than its owner could read it."""
    for _ in range(3):
        found = _key(path)
        if found is not None:
            return found
        _make_key(path)
    raise OSError(f"{path} cannot be kept")


def _key(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            private = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077 == 0
            key = file.read(_KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    if private and len(key) == _KEY_BYTES:
        return key
    path.unlink(missing_ok=True)
    return None


def _make_key(path: Path) -> None:
    """Whole or not at all, and never over that of another server that starts at the same moment."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = create_private(fresh)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)
