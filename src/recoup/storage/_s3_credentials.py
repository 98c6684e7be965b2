"""Keys for S3: from the settings, the environment, a profile, the machine or a role, renewed when they expire."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from recoup.errors import StorageError
from recoup.storage._object_options import ObjectOptions

if TYPE_CHECKING:
    from botocore.session import Session
    from obstore.store import S3Credential

_RENEWED_WITHIN = timedelta(minutes=5)  # how long a copy of keys that expire is used before they are asked for again


class Secrets(NamedTuple):
    """What requests are signed with; the names are those that botocore's signer asks for."""

    access_key: str
    secret_key: str
    token: str | None


def secrets_of(options: ObjectOptions) -> Callable[[], Secrets]:
    """Who gives the keys, as often as they are needed.

    Raises:
        StorageError: there are none, or the profile does not exist; also later, when they cannot be renewed.
    """
    fixed = _given(options)
    if fixed is not None and options.role is None:
        return lambda: fixed
    found = _of_session(options, fixed)

    def present() -> Secrets:
        return _frozen(found, options)

    present()
    return present


def _given(options: ObjectOptions) -> Secrets | None:
    """Those of the settings, else, where no profile is named, those of the environment."""
    if options.access_key is not None and options.secret_key is not None:
        token = options.session_token.get_secret_value() if options.session_token else None
        return Secrets(options.access_key.get_secret_value(), options.secret_key.get_secret_value(), token)
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if options.profile is None and key and secret:
        return Secrets(key, secret, os.environ.get("AWS_SESSION_TOKEN") or None)
    return None


def _session(options: ObjectOptions) -> "Session":
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session(profile=options.profile)
    try:
        session.get_scoped_config()
    except botocore.exceptions.ProfileNotFound:
        raise StorageError(
            f"there is no AWS profile {options.profile!r}", "`aws configure list-profiles` shows those there are."
        ) from None
    except botocore.exceptions.BotoCoreError as error:
        raise StorageError(f"the AWS configuration cannot be read: {error}") from None
    return session


def _of_session(options: ObjectOptions, fixed: Secrets | None) -> Any:
    """Credentials as botocore keeps them, which renews them by itself."""
    session = _session(options)
    if fixed is not None:
        session.set_credentials(fixed.access_key, fixed.secret_key, fixed.token)  # type: ignore[no-untyped-call,unused-ignore]
    found = session.get_credentials()
    if found is None:
        raise StorageError(
            "there are no keys for S3",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `profile:`, or `access_key:` with `secret_key_file:`.",
        )
    return _of_role(session, found, options) if options.role else found


def _of_role(session: "Session", found: Any, options: ObjectOptions) -> Any:
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    fetcher = AssumeRoleCredentialFetcher(
        partial(session.create_client, region_name=region_of(options)),
        found,
        str(options.role),
        extra_args={"RoleSessionName": "recoup"},
    )
    return DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)


def _frozen(found: Any, options: ObjectOptions) -> Secrets:
    import botocore.exceptions

    try:
        keys = found.get_frozen_credentials()
    except botocore.exceptions.ClientError as error:
        raise StorageError(
            f"the role {options.role} cannot be assumed: {error.response.get('Error', {}).get('Message', '')}",
            "See whether the role trusts these keys (sts:AssumeRole).",
        ) from None
    except botocore.exceptions.BotoCoreError as error:
        raise StorageError(f"the keys for S3 cannot be got: {error}", "See whether they have expired.") from None
    return Secrets(keys.access_key, keys.secret_key, keys.token)


def provider(present: Callable[[], Secrets], now: Callable[[], datetime]) -> "Callable[[], S3Credential]":
    """The same keys as obstore asks for them."""

    def keys() -> "S3Credential":
        secrets = present()
        expires = None if secrets.token is None else now().astimezone(UTC) + _RENEWED_WITHIN
        return {
            "access_key_id": secrets.access_key,
            "secret_access_key": secrets.secret_key,
            "token": secrets.token,
            "expires_at": expires,
        }

    return keys


def region_of(options: ObjectOptions) -> str:
    """The region: of the settings, of the environment, of the profile that has the keys, else `us-east-1`."""
    named = options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if named:
        return named
    if _given(options) is None:
        return str(_session(options).get_config_variable("region") or "us-east-1")
    return "us-east-1"


def endpoint_of(options: ObjectOptions, region: str) -> str:
    """The store's address: of the settings, of the environment, else Amazon's own."""
    named = options.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if named:
        return named.rstrip("/")
    return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
