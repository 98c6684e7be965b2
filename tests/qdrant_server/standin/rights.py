"""Who may do what: keys and JSON Web Tokens, by the table of what the server answered."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from qdrant_server.standin.errors import Refused
from qdrant_server.standin.settings import Settings


class Need(Enum):
    """What a call asks of its sender."""

    NOTHING = "nothing"
    LOOK = "any access at all"
    GLOBAL = "to read everything"
    MANAGE = "to manage"
    POINTS = "to read points of the collection"
    WRITE_POINTS = "to write points of the collection"
    READ = "to read the whole collection"
    WRITE = "to write the whole collection"
    PEER = "to be a node of the cluster"


@dataclass(frozen=True)
class Access:
    """What a key or token gives.

    Attributes:
        everything: `r`, `m`, or empty where only collections are named.
        collections: access (`r`, `rw`, `prw`) by collection.
    """

    everything: str = "m"
    collections: Mapping[str, str] | None = None

    def demand(self, need: Need, collection: str) -> None:
        """Lets pass or not.

        Raises:
            Refused: 403.
        """
        if self.everything == "m" or need in (Need.NOTHING, Need.LOOK):
            return
        if self.everything == "r":
            if need in (Need.MANAGE, Need.WRITE, Need.WRITE_POINTS, Need.PEER):
                raise _forbidden("Global manage access is required")
            return
        if need in (Need.GLOBAL, Need.MANAGE, Need.PEER):
            raise _forbidden("Global access is required")
        self._demand_of(need, collection)

    def _demand_of(self, need: Need, collection: str) -> None:
        given = (self.collections or {}).get(collection)
        if given is None:
            raise _forbidden(f"Access to collection {collection} is required")
        if given == "prw" and need in (Need.READ, Need.WRITE):
            raise _forbidden(f"Only points access is allowed for collection {collection}")
        if given == "r" and need in (Need.WRITE, Need.WRITE_POINTS):
            raise _forbidden(f"Write access to collection {collection} is required")

    def sees(self, collection: str) -> bool:
        """Whether lists show it the collection."""
        return bool(self.everything) or collection in (self.collections or {})


def _forbidden(words: str) -> Refused:
    return Refused(403, f"Forbidden: {words}")


def access_of(settings: Settings, headers: Mapping[str, str]) -> Access:
    """What the sender of a request may do.

    Raises:
        Refused: 401 or 403, in plain text.
    """
    if not settings.api_key:
        return Access()
    bearer = headers.get("authorization", "")
    given = headers.get("api-key") or (bearer[7:] if bearer.lower().startswith("bearer ") else "")
    if not given:
        raise Refused(401, "Must provide an API key or an Authorization bearer token", plain=True)
    if hmac.compare_digest(given.encode(), settings.api_key.encode()):
        return Access()
    if settings.read_only_api_key and hmac.compare_digest(given.encode(), settings.read_only_api_key.encode()):
        return Access("r")
    claims = _claims(given, settings.api_key) if settings.jwt_rbac else None
    if claims is None:
        raise Refused(401, "Invalid API key or JWT", plain=True)
    return _of_claims(claims)


def _claims(token: str, key: str) -> dict[str, Any] | None:
    """The claims of a token that was signed with the key."""
    try:
        head, body, signature = token.split(".")
        expected = hmac.digest(key.encode(), f"{head}.{body}".encode(), hashlib.sha256)
        if not hmac.compare_digest(expected, _decoded(signature)):
            return None
        claims = json.loads(_decoded(body))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _of_claims(claims: Mapping[str, Any]) -> Access:
    if claims.get("exp", float("inf")) < time.time():
        raise Refused(403, "ExpiredSignature", plain=True)
    access = claims.get("access", "m")
    if isinstance(access, str):
        return Access(access)
    return Access("", {entry["collection"]: entry["access"] for entry in access})
