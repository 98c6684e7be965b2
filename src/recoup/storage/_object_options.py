"""The settings of a repository on an object store: the keys of `storage:` beside its `url:`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from recoup.errors import StorageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

Size = (
    Annotated[int, Field(ge=1)] | Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}(K|M|G|T|Ki|Mi|Gi|Ti)?B$")]
)
"""Bytes: a number, or a text such as `500KB`, `10MB` or `8MiB`."""

SMALLEST_PART = 5 * 1024**2
"""Bytes of a part but the last (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""

_LARGEST_PART = 64 * 1024**2  # bytes; several are in memory at once
_S3_ONLY = (
    "profile",
    "role",
    "session_token",
    "path_style",
    "sse",
    "kms_key",
    "storage_class",
    "lock_days",
    "conditional_put",
    "checksums",
)


def number_of(size: int | str) -> int:
    """Bytes as a number."""
    if isinstance(size, int):
        return size
    digits, unit = re.fullmatch(r"([0-9]+)(.*)B", size).groups()  # type: ignore[union-attr] # checked by `Size`
    return int(digits) * _UNITS[unit]


class ObjectOptions(BaseModel):
    """Settings of an object store. Without keys here, those of the environment or of the machine are used."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[^/@\s?#]+/?$")] | None = Field(
        None, description="Address of the store, as in https://s3.example.org; without it that of the provider."
    )
    region: str | None = Field(None, description="Region of the bucket; without it that of the environment or profile.")
    path_style: bool | None = Field(
        None,
        description="Whether the bucket stands in the path of a URL rather than in its host name. "
        "Without it: yes where `endpoint` is given.",
    )
    profile: str | None = Field(None, description="Profile of the AWS configuration files whose keys are used.")
    role: str | None = Field(None, description="ARN of a role that is assumed with these keys.")
    access_key: SecretStr | None = Field(None, description="Access key; for `az://` not used.")
    secret_key: SecretStr | None = Field(None, description="Secret key; for `az://` the account's key.")
    session_token: SecretStr | None = Field(None, description="Token that belongs to temporary keys.")
    account: str | None = Field(None, description="Storage account, for `az://`.")
    credentials_file: Path | None = Field(
        None, description="File of a service account's key, for `gs://`; without it that of the environment."
    )
    ca_file: Path | None = Field(
        None, description="File of certificates (PEM) that are trusted besides the usual ones."
    )
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None, description="Encryption by the store itself; without it as the bucket is set."
    )
    kms_key: str | None = Field(None, description="Id or ARN of the key for `sse: aws:kms`.")
    storage_class: str | None = Field(None, description="Storage class of new objects, such as STANDARD_IA.")
    tags: Annotated[Mapping[str, str], Field(max_length=10)] = Field({}, description="Tags of new objects.")
    lock_days: Annotated[int, Field(ge=1, le=36500)] | None = Field(
        None,
        description="Days for which nobody can remove a new object (object lock; the bucket must have it enabled).",
    )
    lock_mode: Literal["governance", "compliance"] = Field(
        "governance", description="Whether a special right can lift the lock (`governance`) or nobody (`compliance`)."
    )
    conditional_put: bool = Field(
        True,
        description="Whether the store keeps `If-None-Match: *`; say `false` where `recoup doctor` finds that not.",
    )
    checksums: bool = Field(
        True,
        description="Whether objects are sent with their SHA-256 for the store to keep; `false` where it refuses that.",
    )
    verify_after_upload: bool = Field(False, description="Reads back and compares every object after its upload.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        3, description="How often a request is made again that failed in a way that may pass."
    )
    retry_wait: Annotated[float, Field(ge=0, le=60)] = Field(
        2.0, description="Seconds before the first of these; each further wait is twice as long."
    )
    timeout: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds without a single byte after which a request is given up."
    )
    upload_limit: Size | None = Field(None, description="Bytes per second up at most, such as 10MB.")
    download_limit: Size | None = Field(None, description="Bytes per second down at most, such as 10MB.")
    part_size: Size = Field(
        "8MiB", description="Size of the parts of a large object, 5MiB to 64MiB; larger objects get larger parts."
    )
    transfers: Annotated[int, Field(ge=1, le=64)] = Field(4, description="Parts that are on their way at once.")

    @model_validator(mode="after")
    def _belong_together(self) -> "ObjectOptions":
        if (self.access_key is None) != (self.secret_key is None) and self.account is None:
            raise ValueError("`access_key` and `secret_key` belong together; give both or none")
        if self.access_key is not None and self.profile is not None:
            raise ValueError("`access_key` and `profile` are both given; keep one of them")
        if self.lock_days is not None and not self.checksums:
            raise ValueError("`lock_days` needs `checksums`; stores lock only what was sent with one")
        if self.kms_key is not None and self.sse in (None, "AES256"):
            raise ValueError("`kms_key` needs `sse: aws:kms`")
        if not SMALLEST_PART <= number_of(self.part_size) <= _LARGEST_PART:
            raise ValueError("`part_size` lies between 5MiB and 64MiB")
        return self

    def beside(self, base: Path) -> "ObjectOptions":
        """The same, with paths that were relative to a folder (absolute)."""
        files = {name: base / file for name in ("ca_file", "credentials_file") if (file := getattr(self, name))}
        return self.model_copy(update=files)

    def certificates(self) -> str | None:
        """What `ca_file` holds (PEM); None where there is none.

        Raises:
            StorageError: it cannot be read, or holds no certificate.
        """
        if self.ca_file is None:
            return None
        hint = "It has to begin with -----BEGIN CERTIFICATE-----."
        try:
            text = self.ca_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise StorageError(f"the certificates in {self.ca_file} cannot be read: {why}", hint) from None
        if "BEGIN CERTIFICATE" not in text:
            raise StorageError(f"the certificates in {self.ca_file} cannot be read: there is none", hint)
        return text

    def without_meaning(self, scheme: str) -> tuple[str, ...]:
        """The settings that are not at their default and have no meaning for a kind of store (`s3`, `gs`, `az`)."""
        strange = {
            "s3": ("account", "credentials_file"),
            "gs": (*_S3_ONLY, "account"),
            "az": (*_S3_ONLY, "credentials_file"),
        }
        return tuple(
            name for name in strange.get(scheme, ()) if getattr(self, name) != type(self).model_fields[name].default
        )
