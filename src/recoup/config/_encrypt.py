"""The settings of `encrypt:`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from recoup.config._group import Group


class GpgSettings(Group):
    """Encryption by the program gpg: with a passphrase, or, with `recipients`, to public keys."""

    passphrase_file: Path | None = Field(
        None,
        description="File whose first line is the passphrase; with `recipients`, that of the secret key in `identity_file`.",
    )
    recipients: tuple[Path, ...] = Field(
        (), description="Files of public keys, as `gpg --export KEY` writes them; each of them can open what is stored."
    )
    identity_file: Path | None = Field(
        None,
        description="File of the secret key, as `gpg --export-secret-keys KEY` writes it; needed to restore and to drill.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "GpgSettings":
        if not self.recipients and self.identity_file is not None:
            raise ValueError(
                "`identity_file` has no meaning without `recipients`; for a passphrase use `passphrase_file`"
            )
        if not self.recipients and self.passphrase_file is None:
            raise ValueError("there is neither `passphrase_file` nor `recipients`; add one of them")
        if self.recipients and self.passphrase_file is not None and self.identity_file is None:
            raise ValueError("`passphrase_file` beside `recipients` is that of the secret key: add `identity_file`")
        return self


class AgeSettings(Group):
    """Encryption by age to public keys."""

    recipients: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Public keys (`age1...`, `ssh-ed25519 ...`, `ssh-rsa ...`), or files of such lines; "
        "each of them can open what is stored."
    )
    identity_file: Path | None = Field(
        None, description="File of the secret key, as `age-keygen` writes it; needed to restore and to drill."
    )


class EncryptSettings(Group):
    """How stored files are encrypted. Either `gpg` or `age`."""

    gpg: GpgSettings | None = Field(None, description="By gpg; `gpg --decrypt` opens each file.")
    age: AgeSettings | None = Field(None, description="By age; `age -d -i IDENTITY` opens each file.")

    @model_validator(mode="after")
    def _one_method(self) -> "EncryptSettings":
        if (self.gpg is None) == (self.age is None):
            raise ValueError("`encrypt` needs exactly one of `gpg` and `age`")
        return self
