"""Sessions: what a browser's cookie says, signed, so that a restart of the server ends none of them."""

import hashlib
import hmac
import secrets
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from recoup.model.structs import Struct
from recoup.system.clock import Clock
from recoup.web._ended import Ended
from recoup.web._session_files import folder_of, kept_key

IDLE = 12 * 3600
"""Seconds without a request after which a session is over."""

LIFETIME = 7 * 24 * 3600
"""Seconds after which it is over in any case."""

RENEWED = 600
"""Seconds after which a session that is used gets a new cookie."""

_ASTRAY = 300  # seconds by which a clock may have been set back


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
        self.key = kept_key(stack)
        self._ended = Ended(folder_of(stack) / "ended", LIFETIME)
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
