"""Who may come in: the two roles of the configuration, and what proves them."""

import hmac
from collections.abc import Mapping

from pydantic import SecretStr

from recoup.config._web import AccountSettings, WebSettings
from recoup.errors import ConfigError
from recoup.model.structs import Struct
from recoup.web._hashing import fits
from recoup.web._place import Place


class Viewer(Struct):
    """Who looks at a page.

    Attributes:
        name: of the role; empty where nobody signs in.
        may_operate: whether this one may change things, or look only.
    """

    name: str
    may_operate: bool


class Accounts(Struct):
    """The roles that can be had.

    Attributes:
        roles: role to what proves it; empty where nobody signs in.
    """

    roles: Mapping[str, AccountSettings]

    @classmethod
    def of(cls, settings: WebSettings) -> "Accounts":
        """Those of the configuration."""
        return cls(settings.accounts())

    @property
    def is_open(self) -> bool:
        """Whether nobody signs in."""
        return not self.roles

    def viewer(self, role: str) -> Viewer:
        """Who has signed in as a role."""
        return Viewer(role, may_operate=role == "operator")

    def admits(self, role: str, secret: str) -> bool:
        """Whether a password or token proves a role. Takes as long for a role that cannot be had as for a wrong password.

        Args:
            role: what somebody says to be.
            secret: what was typed.
        """
        account = self.roles.get(role)
        own = account.password_hash if account else None
        compared = own or self._any_hash
        right = compared is not None and fits(compared.get_secret_value(), secret)
        by_token = _is_token(account, secret)
        return (right and own is not None) or by_token

    @property
    def _any_hash(self) -> SecretStr | None:
        return next((one.password_hash for one in self.roles.values() if one.password_hash), None)

    def by_token(self, token: str) -> Viewer | None:
        """Whose token it is."""
        found = [role for role, account in self.roles.items() if _is_token(account, token)]
        return self.viewer(found[0]) if found else None

    def proof(self, role: str, key: bytes) -> str:
        """What a session notes of that by which it was begun: it is another one as soon as the password or token is.

        Args:
            role: whose; empty where nobody signed in.
            key: for nobody else to make it.
        """
        account = self.roles.get(role)
        secrets = (account.password_hash, account.token) if account else ()
        told = "\n".join((role, *("" if one is None else one.get_secret_value() for one in secrets)))
        return hmac.digest(key, b"proof\n" + told.encode(), "sha256").hex()


def require_accounts(settings: WebSettings, place: Place) -> None:
    """Refuses a page that others reach and that lets everybody do everything.

    Raises:
        ConfigError: it is such a one.
    """
    if not Accounts.of(settings).is_open:
        return
    hint = "Set `web.operator.password_hash`; `recoup web --hash-password` makes what it takes."
    if not place.is_loopback:
        where = f"{place.host}:{place.port}"
        raise ConfigError(
            f"the page would be open to everybody who reaches {where}: it has no password and no token", hint
        )
    if settings.hosts or place.path:
        key = "hosts" if settings.hosts else "path"
        raise ConfigError(
            f"`web.{key}` is for a page that others reach by a proxy, and it has no password and no token", hint
        )


def _is_token(account: AccountSettings | None, secret: str) -> bool:
    """Compared in constant time."""
    known = account.token.get_secret_value() if account and account.token else ""
    return hmac.compare_digest(known.encode(), secret.encode()) and bool(known)
