"""The settings of `web:`: where the page is, under which names, and who may see and do what there."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from recoup.config._group import Group

ROLES = ("operator", "reader")
"""The accounts of the page, named after what they may do."""

SHORTEST_TOKEN = 32
"""Characters of a token, at least: 16 random bytes in hexadecimal digits, which nobody can guess."""

_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=\d{1,3}\$m=(?P<memory>\d{1,7}),t=(?P<passes>\d{1,3}),p=\d{1,2}"
    r"\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}",
    re.ASCII,
)
"""How argon2's reference program writes a hash (https://github.com/P-H-C/phc-string-format)."""

_MOST_MEMORY, _MOST_PASSES = 64 * 1024, 10  # KiB, and times: what one sign-in may take of a server that backs up, too

_BY_COMMAND = "make one with `recoup web --hash-password`"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"^(?:{_LABEL}(?:\.{_LABEL}){{0,20}}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[0-9]{{1,5}})?$"
_BIND = r"^(?:[^\s/@:\[\]]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$"
_PATH = r"^(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,63}){0,8}$"


def _hash(given: SecretStr | None) -> SecretStr | None:
    if given is None:
        return None
    found = _HASH.fullmatch(given.get_secret_value())
    if found is None:
        raise ValueError(f"it is not an argon2 hash; {_BY_COMMAND}")
    if int(found["memory"]) > _MOST_MEMORY or int(found["passes"]) > _MOST_PASSES:
        raise ValueError(f"each sign-in would take more than 64 MiB or 10 passes; {_BY_COMMAND}")
    return given


def _token(given: SecretStr | None) -> SecretStr | None:
    if given is None:
        return None
    if len(given.get_secret_value()) < SHORTEST_TOKEN:
        raise ValueError(
            f"it is shorter than {SHORTEST_TOKEN} characters; write 32 random ones, as from `openssl rand -hex 32`"
        )
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", given.get_secret_value(), re.ASCII):
        raise ValueError("a header cannot carry it; use letters, digits and . _ ~ + / = - alone")
    return given


def _inside(folder: Path) -> Path:
    if folder == Path() or ".." in folder.parts:
        raise ValueError("it has to be a folder of its own; name one, as in restored")
    return folder


def _port(bind: str) -> str:
    if int(bind.rpartition(":")[2]) > 65535:
        raise ValueError("a port is at most 65535; write HOST:PORT, as in 127.0.0.1:8642")
    return bind


class AccountSettings(Group):
    """How somebody proves to have one of the two roles."""

    password_hash: Annotated[SecretStr | None, AfterValidator(_hash)] = Field(
        None, description="Hash of the password for browsers, by argon2: `recoup web --hash-password` makes it."
    )
    token: Annotated[SecretStr | None, AfterValidator(_token)] = Field(
        None,
        description="For programs, in `Authorization: Bearer TOKEN`: at least 32 characters. Browsers can sign in with it, too.",
    )

    @property
    def is_set(self) -> bool:
        """Whether anybody can have this role."""
        return self.password_hash is not None or self.token is not None


class WebSettings(Group):
    """Settings of the page that `recoup web` serves."""

    bind: Annotated[str, StringConstraints(pattern=_BIND), AfterValidator(_port)] = Field(
        "127.0.0.1:8642",
        description="Where the page is served, as HOST:PORT. Anything but this machine alone needs a password or a token.",
    )
    hosts: tuple[Annotated[str, StringConstraints(pattern=_HOST)], ...] = Field(
        (),
        description="Further names under which browsers reach it, as backup.example.org, with the port where it is not the "
        "usual one. Requests for any other name are refused.",
    )
    path: Annotated[str, StringConstraints(pattern=_PATH)] = Field(
        "", description="Prefix of its paths behind a proxy, as in `/recoup`; empty for none."
    )
    restore_folder: Annotated[Path, AfterValidator(_inside)] = Field(
        Path("restored"), description="Folder below which the page restores files; relative to the folder of this file."
    )
    operator: AccountSettings = Field(
        default_factory=AccountSettings,
        description="Who may do everything. Where neither role has a password or token, that is everybody on this machine.",
    )
    reader: AccountSettings = Field(
        default_factory=AccountSettings, description="Who may look at everything and change nothing."
    )

    def accounts(self) -> dict[str, AccountSettings]:
        """The roles that somebody can have; empty where nobody signs in."""
        found = {"operator": self.operator, "reader": self.reader}
        return {role: account for role, account in found.items() if account.is_set}
